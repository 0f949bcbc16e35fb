#!/bin/sh
# Fails when etc/carpool.conf and the table of options differ: an option that is missing in either, a default that
# is not the same, another order. Prints the difference ("-" is the table, "+" the file).
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

${CC:-cc} -std=gnu11 -D_GNU_SOURCE -Ilib -o "$work/dump" tests/lint/conf_dump.c \
    lib/base/conf*.c lib/base/err.c lib/base/redact.c lib/base/utf8.c -linih -lsodium
"$work/dump" >"$work/table"

# A default is "#key = value" without a blank behind the #; a line with one is for people. [prices] has no options.
awk '
    /^\[/ { section = $1; next }
    section == "[prices]" { if ($0 !~ /^(#( |$)|$)/) print section, $0; next }
    /^#[a-z_]+ =/ { print section, substr($0, 2); next }
    /^(#( |$)|$)/ { next }
    { print "line " NR " is no default, no comment and no section: " $0 }
' etc/carpool.conf >"$work/file"

if ! diff -u --label "the table in lib/base/conf_table.c" --label etc/carpool.conf "$work/table" "$work/file"; then
    echo "etc/carpool.conf does not say what lib/base/conf_table.c does." >&2
    exit 1
fi

# And the program itself must accept the file, as it is and with every default taken literally.
sed -n 's/^#\([a-z_]* =.*\)/\1/; p' etc/carpool.conf >"$work/carpool.conf"
env -i PATH="$PATH" "$work/dump" etc/carpool.conf "$work/carpool.conf"
