# shellcheck shell=sh disable=SC2154,SC2174
# Where one instance of carpool lives: address, state, programs, sockets. Read (".") by etc/run and by
# etc/lighttpd-env.sh with $root set to the directory of lighttpd.conf, so that both always agree.
# The environment decides; [storage] dir, [log] dir and file, and [server] base_path and max_body_bytes may also stand
# in carpool.conf.
# Sets: host port build storage logs log_file sockets conf base_path max_body_bytes max_connections max_fds. Makes
# nothing but directories.

complain() {
    printf 'carpool: %s\n' "$*" >&2
    exit 1
}

# conf_value SECTION KEY: the value in carpool.conf, empty when there is none.
conf_value() {
    [ -n "$conf" ] || return 0
    awk -v section="$1" -v key="$2" '
        /^[ \t]*[#;]/ { next }
        /^[ \t]*\[/ { sub(/^[ \t]*\[[ \t]*/, ""); sub(/[ \t]*\].*/, ""); here = $0; next }
        here == section && match($0, /^[ \t]*[A-Za-z_]+[ \t]*[=:]/) {
            name = substr($0, 1, RLENGTH - 1); gsub(/[ \t]/, "", name)
            if (name != key) next
            value = substr($0, RLENGTH + 1 + RSTART - 1)
            sub(/[ \t]+;.*/, "", value); gsub(/^[ \t]+|[ \t\r]+$/, "", value); print value
        }' "$conf" | tail -n 1
}

absolute() {
    case $1 in
    /*) printf '%s' "$1" ;;
    *) printf '%s/%s' "$PWD" "$1" ;;
    esac
}

# positive NAME VALUE MAX: refuses what is not a whole number of 1 .. MAX.
positive() {
    case $2 in
    '' | *[!0-9]* | ???????????*) complain "$1 must be a whole number from 1 to $3, not \"$2\"." ;;
    esac
    if [ "$2" -lt 1 ] || [ "$2" -gt "$3" ]; then
        complain "$1 must be a whole number from 1 to $3, not \"$2\"."
    fi
}

# What ends up between quotes in lighttpd's configuration must not end them.
quotable() {
    case $2 in
    *[\"\\\$]* | *'
'*) complain "$1 must not contain a quote, a backslash, a dollar sign or a line break: $2" ;;
    esac
}

# A private directory with a short name that every start of this instance finds again.
short_dir() {
    id=$(printf '%s' "$storage" | cksum | tr ' ' '-')
    dir=/tmp/carpool-$(id -u)-$id
    mkdir -m 700 "$dir" 2>/dev/null || :
    if [ -h "$dir" ] || [ ! -d "$dir" ] || [ "$(stat -c %u:%a "$dir")" != "$(id -u):700" ]; then
        complain "$dir must be a directory of this user with mode 0700; remove it and start again."
    fi
    printf '%s' "$dir"
}

host=${HOST:-${LLM_HOST:-127.0.0.1}}
port=${PORT:-${LLM_PORT:-8000}}
positive PORT "$port" 65535
case $host in
*[!A-Za-z0-9.:_%\[\]-]*) complain "HOST must be an address or a name, not \"$host\"." ;;
\[*) ;;
*:*) host="[$host]" ;;
esac

conf=${CARPOOL_CONF:-}
if [ -z "$conf" ] && [ -f "$root/carpool.conf" ]; then
    conf=$root/carpool.conf
fi
if [ -n "$conf" ]; then
    conf=$(absolute "$conf")
    [ -r "$conf" ] || complain "CARPOOL_CONF names $conf, which cannot be read."
fi

build=${CARPOOL_BUILD:-}
if [ -z "$build" ]; then
    build=$root
    [ -e "$root/carpool.fcgi" ] || build=$root/build/release
fi
build=$(absolute "$build")

storage=${CARPOOL_STORAGE_DIR:-$(conf_value storage dir)}
storage=$(absolute "${storage:-$root/var}")
mkdir -p -m 700 "$storage" || complain "The storage directory $storage cannot be made; set CARPOOL_STORAGE_DIR."
[ -w "$storage" ] || complain "The storage directory $storage is not writable; set CARPOOL_STORAGE_DIR."

logs=${CARPOOL_LOG_DIR:-$(conf_value log dir)}
logs=$(absolute "${logs:-$storage/logs}")
log_file=${CARPOOL_LOG_FILE:-${LLM_LOG_FILE:-$(conf_value log file)}}
log_file=$(absolute "${log_file:-$logs/coordinator.log}")

# A Unix socket's path holds 107 bytes; the longest name below takes 30 of them.
if [ "$(printf '%s' "$storage" | wc -c)" -gt 75 ]; then
    sockets=$(short_dir) || exit 1
else
    sockets=$storage/run
    mkdir -p -m 700 "$sockets" || complain "The directory $sockets cannot be made."
    chmod 700 "$sockets"
fi

base_path=${CARPOOL_SERVER_BASE_PATH:-$(conf_value server base_path)}
base_path=${base_path%/}
max_body_bytes=${CARPOOL_SERVER_MAX_BODY_BYTES:-$(conf_value server max_body_bytes)}
max_body_bytes=${max_body_bytes:-1048576}
positive CARPOOL_SERVER_MAX_BODY_BYTES "$max_body_bytes" 8388608

# Above limits.waiting_max (512), so that health and settings get through when every prompt waits.
max_connections=${LIGHTTPD_MAX_CONNECTIONS:-656}
positive LIGHTTPD_MAX_CONNECTIONS "$max_connections" 100000
# lighttpd takes two descriptors a request and keeps some; without enough it queues clients silently.
max_fds=$((max_connections * 3 + 256))
[ "$max_fds" -ge 16384 ] || max_fds=16384
hard=$(sh -c 'ulimit -Hn')
if [ "$hard" != unlimited ] && [ "$hard" -lt "$max_fds" ]; then
    max_fds=$hard
fi

quotable "The path of the checkout" "$root"
quotable CARPOOL_BUILD "$build"
quotable CARPOOL_STORAGE_DIR "$storage"
quotable CARPOOL_CONF "$conf"
case $base_path in
'' | /*) ;;
*) complain "[server] base_path must begin with a slash: $base_path" ;;
esac
case $base_path in
*[!A-Za-z0-9/._~-]*) complain "[server] base_path may contain letters, digits and / . _ ~ - only: $base_path" ;;
esac
