# The options part of carpool.conf(5) from etc/carpool.conf; etc/man/conf-page runs it. A default
# ("#key = value") is a heading, the comment before it its text; keys that follow each other share one.
function escape(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    gsub(/…/, "...", text)
    sub(/^[.']/, "\\\\\\&&", text)
    return text
}
function flush(  i) {
    if (keys) {
        for (i = 1; i <= keys; i++)
            printf "%s\n.B %s\n", i == 1 ? ".TP" : ".TQ", escape(heading[i])
        for (i = 1; i <= lines; i++)
            print escape(comment[i])
        if (!lines)
            print "As in the section above."
    } else if (lines && section != "") {
        print ".PP"
        for (i = 1; i <= lines; i++)
            print escape(comment[i])
    }
    keys = lines = 0
}
section == "" && !/^\[/ { next }
/^\[/ {
    flush()
    section = $1
    printf ".SS %s\n", section
    next
}
section == "[prices]" && /^# [a-z0-9.-]+ = [0-9.]+ [0-9.]+$/ { next }
/^#[a-z_]+ =/ { heading[++keys] = substr($0, 2); next }
/^# / {
    if (keys)
        flush()
    comment[++lines] = substr($0, 3)
    next
}
/^$/ { flush() }
END { flush() }
