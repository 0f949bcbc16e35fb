#!/bin/sh
# web/openapi.json by the recommended rules of redocly (redocly.yaml); a warning counts.
set -eu
cd "$(dirname "$0")/../.."
export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true
status=0
out=$(timeout 120 node_modules/.bin/redocly lint carpool --format=stylish 2>&1) || status=$?
if [ "$status" -ne 0 ] || printf '%s\n' "$out" | grep -qi warning; then
    printf '%s\n' "$out" >&2
    exit 1
fi
