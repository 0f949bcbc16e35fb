# Completion of carpoolctl for bash: source it, or put it into /usr/share/bash-completion/completions/carpoolctl.
# Needs nothing else, and asks no running carpool.

_carpoolctl_offer() { # WORDS: those that begin with what is typed
    mapfile -t COMPREPLY < <(compgen -W "$1" -- "$2")
}

_carpoolctl_files() {
    mapfile -t COMPREPLY < <(compgen -f -- "$1")
    compopt -o filenames 2>/dev/null || : # outside of a completion
}

_carpoolctl_settings() { # SUFFIX TYPED
    local names="provider model base_url" priority
    for priority in high_priority medium_priority low_priority; do
        names+=" $priority.tokens $priority.latency_ms $priority.window_ms $priority.max_batch $priority.policy"
    done
    local words=()
    read -ra words <<<"$names"
    _carpoolctl_offer "${words[*]/%/$1}" "$2"
    [ -z "$1" ] || compopt -o nospace 2>/dev/null || :
}

# Values of the option before the cursor; false: it takes none.
_carpoolctl_value() {
    case $1 in
    --role) _carpoolctl_offer "client admin" "$2" ;;
    --format) _carpoolctl_offer "jsonl csv text" "$2" ;;
    --priority) _carpoolctl_offer "high medium low" "$2" ;;
    --config | --api-key-file | --output) _carpoolctl_files "$2" ;;
    --label | --requests-per-minute | --tokens-per-minute | --budget | --grace | --limit | --timeout | --from | --to | \
        --username | --concurrency | --id-prefix | --key) COMPREPLY=() ;;
    *) return 1 ;;
    esac
}

# Options of a command.
_carpoolctl_options() {
    local limits="--label --requests-per-minute --tokens-per-minute --budget"
    case $1 in
    "key create") echo "--role $limits" ;;
    "key set") echo "$limits" ;;
    "key rotate") echo "--grace" ;;
    ensure | drain) echo "--timeout" ;;
    "settings set") echo "--api-key-file" ;;
    backup) echo "--with-provider-key" ;;
    export) echo "--format --from --to --username --priority" ;;
    audit) echo "--limit" ;;
    submit) echo "--output --format --priority --username --concurrency --id-prefix --key" ;;
    esac
}

_carpoolctl() {
    local typed=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} i
    local groups="status ensure drain key settings backup restore export audit submit doctor help"
    local words=() command
    # Bash takes --option=value apart into three words.
    [ "$before" != = ] || before=${COMP_WORDS[COMP_CWORD - 2]}
    if [ "$typed" = = ]; then
        before=${COMP_WORDS[COMP_CWORD - 1]} typed=
    fi
    COMPREPLY=()
    _carpoolctl_value "$before" "$typed" && return
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        =) i=$((i + 1)) ;;
        --json | --help | --version | --with-provider-key) ;;
        --*) [ "${COMP_WORDS[i + 1]}" = = ] || i=$((i + 1)) ;;
        *) words+=("${COMP_WORDS[i]}") ;;
        esac
    done
    command=${words[0]-}
    case $command in
    key | settings) command+=" ${words[1]-}" ;;
    esac
    if [[ $typed == -* ]]; then
        _carpoolctl_offer "$(_carpoolctl_options "$command") --config --json --help --version" "$typed"
        return
    fi
    case $command in
    "") _carpoolctl_offer "$groups" "$typed" ;;
    help) _carpoolctl_offer "$groups" "$typed" ;;
    "key ") _carpoolctl_offer "create list set rotate revoke export import" "$typed" ;;
    "settings ") _carpoolctl_offer "get set" "$typed" ;;
    "settings get") _carpoolctl_settings "" "$typed" ;;
    "settings set") _carpoolctl_settings "=" "$typed" ;;
    "key import" | backup | restore | submit) _carpoolctl_files "$typed" ;;
    export) _carpoolctl_offer "chats audit" "$typed" ;;
    esac
}

complete -F _carpoolctl carpoolctl
