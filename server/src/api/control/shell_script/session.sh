#!/usr/bin/env bash
# What both scripts do alike: ask a person, call the server, and log in by ssh with its host key checked strictly. The
# server puts it into them.
# shellcheck disable=SC2034 # what is set here is used there

# Nothing that is typed gets into the environment of a program, or is told as it is done.
set -u +ax
unset -v answer secret password

DEFAULT_API='@API@'
PIN='@PIN@' # of the server's certificate, where it is self-signed
API=$DEFAULT_API
ALIAS=moorline-proxy

folder=
echo_before= # what the terminal was like while it shows nothing
answer=
status=
secret=
ssh_command=()

say() {
    printf 'moorline: %s\n' "$*" >&2
}

# Ends with status $1.
quit() {
    local status=$1
    shift
    say "$*"
    exit "$status"
}

# shellcheck disable=SC2317,SC2329 # the trap calls it
clean_up() {
    if [ -n "$echo_before" ]; then
        { stty "$echo_before" </dev/tty; } 2>/dev/null
    fi
    if [ -n "$folder" ]; then
        rm -rf -- "$folder"
    fi
}

have() {
    command -v "$1" >/dev/null 2>&1
}

prepare() {
    have curl || quit 1 "curl is not installed"
    have ssh || quit 1 "ssh is not installed"
    umask 077
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 131' QUIT
    trap 'exit 143' TERM HUP
    # The script itself comes by standard input when it is piped into bash.
    { : </dev/tty; } 2>/dev/null || quit 1 "there is no terminal to ask on"
}

# A JSON string of what is given.
json_string() {
    local LC_ALL=C text=$1 out='' char code i
    for ((i = 0; i < ${#text}; i++)); do
        char=${text:i:1}
        case $char in
        \\ | '"') out+="\\$char" ;;
        [[:cntrl:]])
            printf -v code '\\u%04x' "'$char"
            out+=$code
            ;;
        *) out+=$char ;;
        esac
    done
    printf '"%s"' "$out"
}

# The text member $1 of the answer, as far as it holds nothing that is escaped.
member() {
    local pattern="\"$1\":\"([^\"\\\\]*)\""
    if [[ $answer =~ $pattern ]]; then
        printf '%s' "${BASH_REMATCH[1]}"
    fi
}

# The number member $1 of the answer.
number() {
    local pattern="\"$1\":([0-9]+)"
    if [[ $answer =~ $pattern ]]; then
        printf '%s' "${BASH_REMATCH[1]}"
    fi
}

# Asks $1; the answer, which is not shown, is in `secret` then.
ask_secret() {
    # Before the prompt, so that whoever types at once is not seen either.
    echo_before=$(stty -g </dev/tty)
    stty -echo </dev/tty
    printf '%s' "$1" >/dev/tty
    local read=0
    IFS= read -r secret </dev/tty || read=1
    stty "$echo_before" </dev/tty
    echo_before=
    printf '\n' >/dev/tty
    return $read
}

# Gets $1 from the server, or posts $2 there. Leaves the body of what it answers in `answer`, and the HTTP status in
# `status`.
call() {
    local trust=() sent=()
    # A pin is that of the server this script came from.
    if [ -n "$PIN" ] && [ "$API" = "$DEFAULT_API" ]; then
        trust=(--insecure --pinnedpubkey "$PIN")
    fi
    if [ $# -gt 1 ]; then
        # By standard input: a command line can be read by others.
        sent=(--header 'Content-Type: application/json' --data-binary @-)
    fi
    answer=$(printf '%s' "${2-}" | curl --silent --show-error --max-time 30 \
        "${trust[@]+"${trust[@]}"}" "${sent[@]+"${sent[@]}"}" \
        --write-out '\n%{http_code}' "$API$1") || quit 2 "$API does not answer"
    status=${answer##*$'\n'}
    answer=${answer%$'\n'*}
}

# Makes `ssh_command` and the folder it needs from an answer whose members begin with $1; further arguments are options.
prepare_ssh() {
    local user host port key
    user=$(member "$1user")
    host=$(member "$1host")
    port=$(number "$1port")
    key=$(member "$1host_key")
    shift
    # What does not look as it should goes into no command.
    [[ $user =~ ^[a-z0-9]+$ && $port =~ ^[0-9]+$ ]] || quit 1 "the server's answer cannot be used"
    [[ $host =~ ^[A-Za-z0-9][A-Za-z0-9._:-]*$ ]] || quit 1 "the server's answer names no host"
    [[ $key =~ ^ssh-ed25519\ [A-Za-z0-9+/=]+$ ]] || quit 1 "the server's answer has no SSH host key"
    folder=$(mktemp -d) || quit 1 "no temporary folder can be made"
    printf '%s %s\n' "$ALIAS" "$key" >"$folder/known_hosts"
    ssh_command=(ssh -t -p "$port" -l "$user"
        -o "HostKeyAlias=$ALIAS" -o "UserKnownHostsFile=\"$folder/known_hosts\""
        -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes -o VerifyHostKeyDNS=no
        -o UpdateHostKeys=no -o CheckHostIP=no -o ControlMaster=no -o ControlPath=none
        -o ForwardAgent=no -o LogLevel=ERROR ${1+"$@"} "$host")
}
