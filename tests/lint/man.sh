#!/bin/bash
# Fails when a manual page does not format without a warning, when carpool.conf(5) lacks an option of the table or its
# default, when a page of a program lacks an option that its --help has or names one that it has not, or when
# etc/UPGRADING.md lacks the version of the store.
set -eu
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

etc/man/conf-page >"$work/carpool.conf.5"
cp etc/man/*.[158] "$work/"
for page in "$work"/*.[158]; do
    if ! groff -mandoc -Tutf8 -ww "$page" 2>&1 >/dev/null | sed "s|$work/||" | awk '{ print; bad = 1 } END { exit bad }'; then
        status=1
    fi
done

${CC:-cc} -std=gnu11 -D_GNU_SOURCE -Ilib -o "$work/dump" tests/lint/conf_dump.c \
    lib/base/conf*.c lib/base/err.c lib/base/redact.c lib/base/utf8.c -linih -lsodium
"$work/dump" | sed 's/ *$//' >"$work/table"
awk '/^\.SS \[/ { section = $2 } section != "" && /^\.B [a-z_]+ =/ { print section, substr($0, 4) } /^\.SH FILES/ { exit }' \
    "$work/carpool.conf.5" | sed 's/\\-/-/g; s/\\e/\\/g; s/ *$//' >"$work/page"
if ! diff -u --label "the table in lib/base/conf_table.c" --label "carpool.conf(5)" "$work/table" "$work/page"; then
    status=1
fi

# options FILE: the long options in it, --help and --version aside.
options() { sed 's/\\-/-/g' "$1" | grep -oE -- '--[a-z]+[a-z-]*' | grep -vE '^--(help|version)$' | sort -u; }
for pair in "carpoold.8 fcgi_app/coordinator/main.c" "carpool.fcgi.8 fcgi_app/worker/main.c"; do
    read -r page source <<<"$pair"
    sed -n '/usage\[\] =/,/;$/p' "$source" >"$work/usage"
    if ! diff -u --label "$source" --label "$page" <(options "$work/usage") <(options "etc/man/$page"); then
        status=1
    fi
done

schema=$(sed -n 's/^#define STORE_SCHEMA_VERSION //p' lib/store/store.h)
if ! grep -q "^| $schema | " etc/UPGRADING.md; then
    echo "etc/UPGRADING.md does not tell of schema $schema of the store (lib/store/store.h)." >&2
    status=1
fi
exit $status
