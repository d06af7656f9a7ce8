#!/usr/bin/env bash
# Signs in to Moorline, waits until the host runs, and opens a shell there. The server's SSH key is checked strictly.
# Needs bash, curl and ssh, and a terminal.
#
# Environment:
#   BOOTSTRAP_API   base URL of the server; default: where this script came from
#   POLL_INTERVAL   seconds between two looks, default 3
#   POLL_TIMEOUT    seconds to wait in all, default 120
#
# Exit status: that of ssh once it ran, else
#   1   failed              12  account has expired     15  SSH is not ready
#   2   no answer           13  no host is assigned     16  no egress IP is bound
#   10  wrong password      14  the host did not start
#   11  account is disabled
set -u

DEFAULT_API='@API@'
PIN='@PIN@' # of the server's certificate, where it is self-signed
API=${BOOTSTRAP_API:-$DEFAULT_API}
API=${API%/}
POLL_INTERVAL=${POLL_INTERVAL:-3}
POLL_TIMEOUT=${POLL_TIMEOUT:-120}
ALIAS=moorline-proxy

folder=
echo_before= # what the terminal was like while it shows nothing
answer=
secret=

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

clean_up() {
    if [ -n "$echo_before" ]; then
        stty "$echo_before" </dev/tty
    fi
    if [ -n "$folder" ]; then
        rm -rf -- "$folder"
    fi
}

have() {
    command -v "$1" >/dev/null 2>&1
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

# The text member $2 of the JSON object $1, as far as it holds nothing that is escaped.
member() {
    local pattern="\"$2\":\"([^\"\\\\]*)\""
    if [[ $1 =~ $pattern ]]; then
        printf '%s' "${BASH_REMATCH[1]}"
    fi
}

# The number member $2 of the JSON object $1.
number() {
    local pattern="\"$2\":([0-9]+)"
    if [[ $1 =~ $pattern ]]; then
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

# Ends with what an error code means.
quit_for() {
    local code=$1 message=$2 status
    case $code in
    auth_invalid) status=10 ;;
    account_disabled) status=11 ;;
    account_expired) status=12 ;;
    host_not_found) status=13 ;;
    start_failed) status=14 ;;
    ssh_not_ready) status=15 ;;
    egress_binding_missing) status=16 ;;
    *) status=1 ;;
    esac
    quit "$status" "${message:-failed} ($code)"
}

# Calls $1; further arguments are curl's. Leaves the answer in `answer`; ends with what went wrong.
call() {
    local path=$1 trust=() status code
    shift
    # A pin is that of the server this script came from.
    if [ -n "$PIN" ] && [ "$API" = "$DEFAULT_API" ]; then
        trust=(--insecure --pinnedpubkey "$PIN")
    fi
    answer=$(curl --silent --show-error --max-time 30 "${trust[@]+"${trust[@]}"}" "$@" \
        --write-out '\n%{http_code}' "$API$path") || quit 2 "$API does not answer"
    status=${answer##*$'\n'}
    answer=${answer%$'\n'*}
    if [ "$status" = 200 ]; then
        return
    fi
    code=$(member "$answer" error_code)
    [ -n "$code" ] || quit 2 "$API answers with HTTP $status"
    quit_for "$code" "$(member "$answer" message)"
}

sign_in() {
    local username body
    printf 'Username: ' >/dev/tty
    IFS= read -r username </dev/tty || quit 1 "no username was given"
    ask_secret 'Password: ' || quit 1 "no password was given"
    printf -v body '{"username":%s,"password":%s}' \
        "$(json_string "$username")" "$(json_string "$secret")"
    secret=
    # By standard input: a command line can be read by others.
    call /v1/bootstrap/sessions --header 'Content-Type: application/json' --data-binary @- <<<"$body"
}

wait_until_ready() {
    local path=/v1/bootstrap/tasks/$1 stage='' now
    local end=$((SECONDS + POLL_TIMEOUT))
    while :; do
        call "$path"
        now=$(member "$answer" stage_text)
        if [ "$now" != "$stage" ]; then
            stage=$now
            say "$stage"
        fi
        case $(member "$answer" task_status) in
        succeeded) return ;;
        failed) quit_for "$(member "$answer" error_code)" "$(member "$answer" error_message)" ;;
        canceled) quit 1 "the start was canceled" ;;
        esac
        ((SECONDS < end)) || quit 15 "SSH is not ready yet, try again later"
        sleep "$POLL_INTERVAL"
    done
}

log_in() {
    local user host port key
    user=$(member "$answer" user)
    host=$(member "$answer" host)
    port=$(number "$answer" port)
    key=$(member "$answer" host_key)
    # What does not look as it should goes into no command.
    [[ $user =~ ^[a-z0-9]+$ && $port =~ ^[0-9]+$ ]] || quit 1 "the server's answer cannot be used"
    [[ $host =~ ^[A-Za-z0-9][A-Za-z0-9._:-]*$ ]] || quit 1 "the server's answer names no host"
    [[ $key =~ ^ssh-ed25519\ [A-Za-z0-9+/=]+$ ]] || quit 1 "the server's answer has no SSH host key"
    folder=$(mktemp -d) || quit 1 "no temporary folder can be made"
    printf '%s %s\n' "$ALIAS" "$key" >"$folder/known_hosts"
    say "log in with the password of the host, or with your key"
    ssh -t -p "$port" -l "$user" \
        -o "HostKeyAlias=$ALIAS" -o "UserKnownHostsFile=$folder/known_hosts" \
        -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes -o VerifyHostKeyDNS=no \
        -o UpdateHostKeys=no -o CheckHostIP=no -o ControlMaster=no -o ControlPath=none \
        -o ForwardAgent=no -o LogLevel=ERROR "$host" </dev/tty
}

main() {
    local task
    have curl || quit 1 "curl is not installed"
    have ssh || quit 1 "ssh is not installed"
    [[ $POLL_INTERVAL =~ ^[0-9]+$ && $POLL_TIMEOUT =~ ^[0-9]+$ ]] ||
        quit 1 "POLL_INTERVAL and POLL_TIMEOUT are seconds"
    umask 077
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    # The script itself comes by standard input when it is piped into bash.
    { : </dev/tty; } 2>/dev/null || quit 1 "there is no terminal to ask on"
    sign_in
    task=$(member "$answer" task_id)
    [[ $task =~ ^[0-9a-f-]+$ ]] || quit 1 "the server's answer cannot be used"
    say "$(member "$answer" stage_text)"
    wait_until_ready "$task"
    call "/v1/bootstrap/tasks/$task/handoff"
    log_in
}

# Nothing runs before the last line is there.
main "$@"
