#!/usr/bin/env bash
# Opens a shell on a Moorline host: asks for the password, gets one that is good for a single login, and runs ssh with
# it. The server's SSH key is checked strictly.
# Needs bash, curl and ssh (OpenSSH 8.4 or later, or sshpass beside an older one), and a terminal.
set -u

API='@API@'
PIN='@PIN@' # of the server's certificate, where it is self-signed
ID='@ID@'
TRIES=3
ALIAS=moorline-proxy

folder=
secret=
echo_before= # what the terminal was like while it shows nothing

say() {
    printf 'moorline: %s\n' "$*" >&2
}

fail() {
    say "$*"
    exit 1
}

# shellcheck disable=SC2317 # the trap calls it
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

# Posts its input to $1; prints the answer and, on a line of its own, the status.
post() {
    local trust=()
    if [ -n "$PIN" ]; then
        trust=(--insecure --pinnedpubkey "$PIN")
    fi
    curl --silent --show-error --max-time 30 "${trust[@]+"${trust[@]}"}" \
        --header 'Content-Type: application/json' --data-binary @- \
        --write-out '\n%{http_code}' "$API$1"
}

# ssh 8.4 and later ask a program for the password.
ssh_asks() {
    local version major minor
    version=$(ssh -V 2>&1)
    [[ $version =~ OpenSSH_([0-9]+)\.([0-9]+) ]] || return 1
    major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
    ((major > 8 || (major == 8 && minor >= 4)))
}

log_in() {
    local answer=$1 user password host port key
    user=$(member "$answer" ssh_user)
    password=$(member "$answer" ssh_pass)
    host=$(member "$answer" ssh_host)
    port=$(number "$answer" ssh_port)
    key=$(member "$answer" ssh_host_key)
    # What does not look as it should goes into no command.
    [[ $user =~ ^[a-z0-9]+$ && $password =~ ^[A-Za-z0-9]+$ && $port =~ ^[0-9]+$ ]] ||
        fail "the server's answer cannot be used"
    [[ $host =~ ^[A-Za-z0-9][A-Za-z0-9._:-]*$ ]] || fail "the server's answer names no host"
    [[ $key =~ ^ssh-ed25519\ [A-Za-z0-9+/=]+$ ]] || fail "the server's answer has no SSH host key"

    folder=$(mktemp -d) || fail "no temporary folder can be made"
    printf '%s %s\n' "$ALIAS" "$key" >"$folder/known_hosts"
    local command=(ssh -t -p "$port" -l "$user"
        -o "HostKeyAlias=$ALIAS" -o "UserKnownHostsFile=$folder/known_hosts"
        -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes -o VerifyHostKeyDNS=no
        -o UpdateHostKeys=no -o CheckHostIP=no
        -o PreferredAuthentications=password -o PubkeyAuthentication=no -o NumberOfPasswordPrompts=1
        -o ControlMaster=no -o ControlPath=none -o ForwardAgent=no -o LogLevel=ERROR "$host")
    if ssh_asks; then
        printf '%s\n' "$password" >"$folder/password"
        # The program is gone with the folder; the password is good for one login.
        # shellcheck disable=SC2016
        printf '#!/bin/sh\ncat -- "${0%%/*}/password"\n' >"$folder/askpass"
        chmod 700 "$folder/askpass"
        SSH_ASKPASS=$folder/askpass SSH_ASKPASS_REQUIRE=force "${command[@]}" </dev/tty
    elif have sshpass; then
        SSHPASS=$password sshpass -e "${command[@]}" </dev/tty
    else
        fail "ssh is older than 8.4: install a newer one, or sshpass"
    fi
}

main() {
    local try answer status
    have curl || fail "curl is not installed"
    have ssh || fail "ssh is not installed"
    umask 077
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    # The script itself comes by standard input when it is piped into bash.
    { : </dev/tty; } 2>/dev/null || fail "there is no terminal to ask on"
    for ((try = 1; try <= TRIES; try++)); do
        ask_secret 'Password: ' || fail "no password was given"
        answer=$(printf '{"password":%s}' "$(json_string "$secret")" | post "/v1/entry/$ID/auth") ||
            fail "$API cannot be reached"
        secret=
        status=${answer##*$'\n'}
        answer=${answer%$'\n'*}
        case $status in
        200)
            if [ "$(member "$answer" status)" = ready ]; then
                log_in "$answer"
                exit
            fi
            fail "$(member "$answer" message)"
            ;;
        401) say "wrong password" ;;
        *) fail "$(member "$answer" error) (HTTP $status)" ;;
        esac
    done
    fail "too many wrong passwords"
}

# Nothing runs before the last line is there.
main "$@"
