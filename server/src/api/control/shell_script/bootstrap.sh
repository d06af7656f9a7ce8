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

# The server puts that file in here.
. ./session.sh

API=${BOOTSTRAP_API:-$DEFAULT_API}
API=${API%/}
POLL_INTERVAL=${POLL_INTERVAL:-3}
POLL_TIMEOUT=${POLL_TIMEOUT:-120}

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

# Calls the server as `call` does; ends with what went wrong.
ask_server() {
    local code
    call "$@"
    if [ "$status" = 200 ]; then
        return
    fi
    code=$(member error_code)
    [ -n "$code" ] || quit 2 "$API answers with HTTP $status"
    quit_for "$code" "$(member message)"
}

sign_in() {
    local username
    printf 'Username: ' >/dev/tty
    IFS= read -r username </dev/tty || quit 1 "no username was given"
    ask_secret 'Password: ' || quit 1 "no password was given"
    ask_server /v1/bootstrap/sessions "$(printf '{"username":%s,"password":%s}' \
        "$(json_string "$username")" "$(json_string "$secret")")"
    secret=
}

wait_until_ready() {
    local path=/v1/bootstrap/tasks/$1 stage='' now
    local end=$((SECONDS + 10#$POLL_TIMEOUT))
    while :; do
        ask_server "$path"
        now=$(member stage_text)
        if [ "$now" != "$stage" ]; then
            stage=$now
            say "$stage"
        fi
        case $(member task_status) in
        succeeded) return ;;
        failed) quit_for "$(member error_code)" "$(member error_message)" ;;
        canceled) quit 1 "the start was canceled" ;;
        esac
        ((SECONDS < end)) || quit 15 "SSH is not ready yet, try again later"
        sleep "$POLL_INTERVAL"
    done
}

main() {
    local task
    [[ $POLL_INTERVAL =~ ^[0-9]{1,6}$ && $POLL_TIMEOUT =~ ^[0-9]{1,6}$ ]] ||
        quit 1 "POLL_INTERVAL and POLL_TIMEOUT are seconds"
    prepare
    sign_in
    task=$(member task_id)
    [[ $task =~ ^[0-9a-f-]+$ ]] || quit 1 "the server's answer cannot be used"
    say "$(member stage_text)"
    wait_until_ready "$task"
    ask_server "/v1/bootstrap/tasks/$task/handoff"
    prepare_ssh ''
    say "log in with the password of the host, or with your key"
    "${ssh_command[@]}" </dev/tty
}

# Nothing runs before the last line is there.
main "$@"
