#!/bin/sh
# The layers of the house and the fences around third-party headers: fails on an #include that breaks one.
# Inside lib: provider, store, sink, shared, client -> json, wire, batch -> base; nothing in lib knows fcgi_app.
set -eu
cd "$(dirname "$0")/../.."
status=0

# Every include as "file:line: header".
includes=$(grep -rnE '^[[:space:]]*#[[:space:]]*include' --include='*.c' --include='*.h' lib fcgi_app |
    sed -E 's/^([^:]*:[0-9]+):[^<"]*[<"]([^>"]*)[>"].*/\1: \2/')

# refuse WHERE HEADERS EXCEPT SENTENCE: extended regular expressions over path, header and allowed path.
refuse() {
    found=$(printf '%s\n' "$includes" | grep -E "^($1)[^ ]*: ($2)" | grep -vE "^($3)" || :)
    if [ -n "$found" ]; then
        printf '%s\n' "$found" "  -> $4" >&2
        status=1
    fi
}
nowhere='^$'

refuse 'lib/' '(worker|coordinator|ctl)/' "$nowhere" 'lib must not include from fcgi_app.'
refuse 'lib/base/' '(json|wire|batch|provider|store|sink|shared|client)/' "$nowhere" 'lib/base stands on nothing else of ours.'
refuse 'lib/(json|wire|batch)/' '(provider|store|sink|shared|client)/' "$nowhere" 'json, wire and batch stand on base only.'
refuse 'lib/json/' '(wire|batch)/' "$nowhere" 'json stands on base only.'
refuse 'lib/wire/' '(json|batch)/' "$nowhere" 'wire stands on base only.'
refuse 'lib/batch/' '(json|wire)/' "$nowhere" 'batch stands on base only.'
strangers='provider, store, sink, shared and client do not know each other.'
refuse 'lib/provider/' '(store|sink|shared|client)/' "$nowhere" "$strangers"
refuse 'lib/store/' '(provider|sink|shared|client)/' "$nowhere" "$strangers"
refuse 'lib/sink/' '(provider|store|shared|client)/' "$nowhere" "$strangers"
refuse 'lib/shared/' '(provider|store|sink|client)/' "$nowhere" "$strangers"
refuse 'lib/client/' '(provider|store|sink|shared|json|batch)/' "$nowhere" "lib/client stands on wire and base only."
refuse 'fcgi_app/worker/' '(coordinator|ctl)/' "$nowhere" 'the programs share only lib.'
refuse 'fcgi_app/coordinator/' '(worker|ctl)/' "$nowhere" 'the programs share only lib.'
refuse 'fcgi_app/ctl/' '(worker|coordinator)/' "$nowhere" 'the programs share only lib.'

refuse '' 'lmdb\.h' 'lib/store/' 'lmdb belongs to lib/store.'
refuse '' 'curl/' 'fcgi_app/coordinator/upstream' 'curl belongs to fcgi_app/coordinator/upstream*.'
refuse '' 'fcgi(app|_stdio|_config)\.h' 'fcgi_app/worker/(main|pool|request|response)[._]' \
    'libfcgi belongs to the main, pool, request and response of the worker.'
refuse '' 'uv\.h' '(fcgi_app/coordinator|lib/shared)/' 'libuv belongs to the coordinator and lib/shared.'
refuse '' 'hiredis/' 'lib/shared/' 'hiredis belongs to lib/shared.'
refuse '' 'librdkafka/' 'lib/sink/' 'rdkafka belongs to lib/sink.'
refuse '' '(cjson/)?cJSON\.h' '(lib/(json|provider|store)|fcgi_app)/' 'cJSON belongs to lib/json, provider, store and the programs.'
refuse '' 'seccomp\.h' 'lib/base/filter' 'libseccomp belongs to lib/base/filter.'
refuse '' 'ini\.h' 'lib/base/conf' 'inih belongs to lib/base/conf*.'

# A .c file includes its own header as "room/name.h": relative and bare includes hide which room they come from.
refuse '' '\.\.?/' "$nowhere" 'write includes as "room/name.h".'
exit $status
