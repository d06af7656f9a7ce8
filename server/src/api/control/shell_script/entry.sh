#!/usr/bin/env bash
# Opens a shell on a Moorline host: asks for the password, gets one that is good for a single login, and runs ssh with
# it. The server's SSH key is checked strictly.
# Needs bash, curl and ssh (OpenSSH 8.4 or later, or sshpass beside an older one), and a terminal.
#
# Exit status: that of ssh once it ran, 2 when the server does not answer as it should, else 1.

# The server puts that file in here.
. ./session.sh

ID='@ID@'
TRIES=3

# ssh 8.4 and later ask a program for the password.
ssh_asks() {
    local version major minor
    version=$(ssh -V 2>&1)
    [[ $version =~ OpenSSH_([0-9]+)\.([0-9]+) ]] || return 1
    major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
    ((major > 8 || (major == 8 && minor >= 4)))
}

log_in() {
    local password
    password=$(member ssh_pass)
    [[ $password =~ ^[A-Za-z0-9]+$ ]] || quit 1 "the server's answer cannot be used"
    prepare_ssh ssh_ -o PreferredAuthentications=password -o PubkeyAuthentication=no \
        -o NumberOfPasswordPrompts=1
    # Gone with the folder, and of no use after one login.
    printf '%s\n' "$password" >"$folder/password"
    if ssh_asks; then
        # shellcheck disable=SC2016
        printf '#!/bin/sh\ncat -- "${0%%/*}/password" && rm -f -- "${0%%/*}/password"\n' >"$folder/askpass"
        chmod 700 "$folder/askpass"
        SSH_ASKPASS=$folder/askpass SSH_ASKPASS_REQUIRE=force "${ssh_command[@]}" </dev/tty
    elif have sshpass; then
        sshpass -f "$folder/password" "${ssh_command[@]}" </dev/tty
    else
        quit 1 "ssh is older than 8.4: install a newer one, or sshpass"
    fi
}

main() {
    local try text
    prepare
    for ((try = 1; try <= TRIES; try++)); do
        ask_secret 'Password: ' || quit 1 "no password was given"
        call "/v1/entry/$ID/auth" "{\"password\":$(json_string "$secret")}"
        secret=
        case $status in
        200)
            if [ "$(member status)" = ready ]; then
                log_in
                exit
            fi
            text=$(member message)
            quit 1 "${text:-the answer of the server cannot be used}"
            ;;
        401) say "wrong password" ;;
        *)
            text=$(member error)
            [ -n "$text" ] || quit 2 "$API answers with HTTP $status"
            quit 1 "$text (HTTP $status)"
            ;;
        esac
    done
    quit 1 "too many wrong passwords"
}

# Nothing runs before the last line is there.
main "$@"
