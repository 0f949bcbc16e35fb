#!/bin/sh
# Prints the part of lighttpd's configuration that the environment decides; lighttpd.conf includes the output.
# Every start gets socket names of its own: a pool that is just leaving must not be taken for the new one.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/etc/instance.sh"

[ -x "$build/carpool.fcgi" ] || complain "$build/carpool.fcgi is missing; build it with \"make\"."

# Sockets of pools that were killed. The kernel lists those in use.
for old in "$sockets"/*.pool-*; do
    if [ -S "$old" ] && ! grep -qF " $old" /proc/net/unix; then
        rm -f "$old"
    fi
done

# lighttpd splits a command at blanks, whatever quotes it wears; a link in a path without blanks helps.
program=$build/carpool.fcgi
case $program in
*[[:space:]]*)
    link=$(short_dir)/carpool.fcgi
    ln -sfn "$program" "$link"
    program=$link
    ;;
esac

# The pages that exist are served as files; every other path belongs to the workers, 404 included.
pages=
for page in "$root"/web/*.html; do
    [ -f "$page" ] || continue
    name=$(basename "$page" | sed 's/[.]/\\&/g')
    pages="$pages|$name"
done

# Workers run in the directory of their program, so a relative path in the environment has to be spelt out.
worker_env() {
    printf '"CARPOOL_STORAGE_DIR" => "%s", "LIBFCGI_OS_CLOSE_POLL_TIMEOUT" => "0"' "$storage"
    [ -z "$conf" ] || printf ', "CARPOOL_CONF" => "%s"' "$conf"
    for name in $(env | sed -nE 's/^((CARPOOL_[A-Z_]*|[A-Z_]*(API|ADMIN)_KEY|LLM_LOG|REDIS_URL)_FILE|CARPOOL_LOG_DIR|CARPOOL_COORDINATOR_SOCKET)=.*/\1/p'); do
        eval "value=\$$name"
        case $value in
        '' | /*) continue ;;
        esac
        value=$(absolute "$value")
        quotable "$name" "$value"
        printf ', "%s" => "%s"' "$name" "$value"
    done
}
# Apart from the output below, since a failure inside it would go unseen.
worker_env=$(worker_env)

mark=$(date +%s | tail -c 7)-$$
cat <<EOF
server.bind = "$host"
server.port = $port
server.document-root = "$root/web"
server.max-connections = $max_connections
server.max-fds = $max_fds
server.max-request-size = $(((max_body_bytes + 1023) / 1024 + 16384))
var.program = "$program"
var.prompt_socket = "$sockets/p$mark.pool"
var.manage_socket = "$sockets/m$mark.pool"
var.worker_env = ( $worker_env )
var.errors = "$root/etc/errors/"
var.base = "$(printf '%s' "$base_path" | sed 's/[.]/\\./g')"
var.base_path = "$base_path"
var.pages = "(${pages#|})?"
EOF
# A package of its own. The workers' answers have types that are not listed.
for module in /usr/lib*/lighttpd/mod_deflate.so /usr/lib/*/lighttpd/mod_deflate.so /usr/local/lib*/lighttpd/mod_deflate.so; do
    [ -e "$module" ] || continue
    cat <<EOF
server.modules += ( "mod_deflate" )
deflate.mimetypes = ( "text/html", "text/css", "text/javascript", "image/svg+xml" )
deflate.allowed-encodings = ( "gzip" )
EOF
    break
done
