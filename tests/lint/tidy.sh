#!/bin/sh
# clang-tidy over lib and fcgi_app with the checks of .clang-tidy, one process a processor.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck disable=SC2016 # the inner shell expands
find lib fcgi_app -name '*.c' | sort |
    xargs -P "$(nproc)" -n 4 sh -c 'clang-tidy --quiet "$@" -- -std=gnu11 -D_GNU_SOURCE -Ilib -Ifcgi_app 2>/dev/null' tidy
