#!/bin/bash
# What the documentation points to has to be there: relative links, files of this repository in backquotes, and
# sections of README.md that a text names (see "Keys"). web/vendor and the like are made later, hence the list of places.
set -u
cd "$(dirname "$0")/../.." || exit 1
status=0

complain() {
    echo "  $1" >&2
    status=1
}

mapfile -t files < <(git ls-files -co --exclude-standard '*.md')
[ "${#files[@]}" -gt 5 ] || complain "There is hardly any documentation here."
for file in "${files[@]}"; do
    [ -f "$file" ] || continue
    while read -r target; do
        [ -e "$(dirname "$file")/$target" ] || complain "$file links to $target, which is not there."
    done < <(grep -oE '\]\([^)#:]+' "$file" | cut -c3-)
    # shellcheck disable=SC2016 # backquotes that are meant
    while read -r name; do
        [ -e "$name" ] || complain "$file names $name, which is not there."
    done < <(grep -oE '`(etc|lib|fcgi_app|tests)/[A-Za-z0-9_./-]+`' "$file" | tr -d '`' | sort -u)
done
while IFS=: read -r file name; do
    grep -qxF "## $name" README.md || complain "$file names the section \"$name\", which README.md does not have."
done < <({
    sed -nE 's/.*see "([A-Z][^"]*)".*/README.md:\1/p' README.md
    grep -noE 'README(\.md)?, "[A-Z][^"]*"' -r etc lib fcgi_app web --include='*.md' --include='*.[ch]' --include='*.conf' |
        sed -E 's/^([^:]*):.*, "([^"]*)"$/\1:\2/'
} | sort -u)
exit $status
