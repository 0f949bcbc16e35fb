#!/bin/sh
# No file may carry a path that exists only on the machine it was written on, or a note to be done later.
set -eu
cd "$(dirname "$0")/../.."
status=0
files() { git ls-files -co --exclude-standard | grep -vE '^tests/lint/paths\.sh$'; }

# The checkout itself, and the usual homes of people and their workspaces.
here=$(pwd | sed 's/[][\.*^$/]/\\&/g')
if files | xargs -d '\n' grep -nIE "(^|[^A-Za-z0-9_.-])(/home/[a-z]|/Users/[A-Za-z]|/root/)|$here/" -- 2>/dev/null; then
    echo "  -> write paths relative to the repository, or make them settings." >&2
    status=1
fi
if files | xargs -d '\n' grep -nIwE 'TODO|FIXME|XXX' -- 2>/dev/null; then
    echo "  -> do it, or open an issue." >&2
    status=1
fi
exit $status
