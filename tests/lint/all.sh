#!/bin/bash
# make lint: every check once, whatever the others say. Closes with "N passed, N failed", one a check.
set -u
cd "$(dirname "$0")/../.." || exit 1
passed=0 failed=0

check() {
    local name=$1
    shift
    if "$@"; then
        printf '  ok    %s\n' "$name"
        passed=$((passed + 1))
    else
        printf '  FAIL  %s\n' "$name"
        failed=$((failed + 1))
    fi
}

format() { find lib fcgi_app tests -name '*.[ch]' -print0 | xargs -0 -r clang-format --dry-run -Werror; }

scripts() {
    local list
    mapfile -t list < <(git ls-files -co --exclude-standard | while read -r file; do
        [ -f "$file" ] && head -n 1 "$file" | grep -qE '^#!.*\b(ba)?sh$' && printf '%s\n' "$file"
    done)
    shellcheck -x -P SCRIPTDIR "${list[@]}"
}

javascript() {
    git ls-files -co --exclude-standard '*.js' | while read -r file; do
        [ ! -f "$file" ] || node --check "$file" || exit 1
    done
}

check "layers and fences" tests/lint/includes.sh
check "lengths" tests/lint/lengths.sh
check "paths and notes" tests/lint/paths.sh
for script in tests/lint/*.sh; do
    case $script in
    */all.sh | */includes.sh | */lengths.sh | */paths.sh | */tidy.sh) ;;
    *) check "$(basename "$script" .sh)" "$script" ;;
    esac
done
check "clang-format" format
check "shellcheck" scripts
check "javascript syntax" javascript
check "clang-tidy" tests/lint/tidy.sh
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
