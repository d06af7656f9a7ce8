#
# Holds the reverse SSH tunnel of this device.
# Needs: a POSIX shell, ssh (OpenSSH) or dbclient (dropbear); for createkeypair
# ssh-keygen or dropbearkey, and curl or wget.
#
# Environment:
#   MOORLINE_STATE_DIR   keys and run-time files; default /var/lib/moorline
#   MOORLINE_DEVICE_KEY  private key; default $MOORLINE_STATE_DIR/device_key
#   MOORLINE_SSH         ssh program to use; default: ssh, else dbclient
#   MOORLINE_CA_FILE     certificates to trust for API_URL (PEM)
#   MOORLINE_ROOT        install and uninstall work in this folder instead of /
set -u
umask 077
PATH=${PATH:-/bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

STATE_DIR=${MOORLINE_STATE_DIR:-/var/lib/moorline}
KEY=${MOORLINE_DEVICE_KEY:-$STATE_DIR/device_key}
PID_FILE=$STATE_DIR/client.pid
STATUS_FILE=$STATE_DIR/client.status
LOG_FILE=$STATE_DIR/client.log
FIFO=$STATE_DIR/client.fifo
SERVICE=moorline-client
ROOT=${MOORLINE_ROOT:-}

KEEPALIVE_SECS=15      # between two signs of life
KEEPALIVE_MISSES=2     # unanswered ones until the link counts as dead
CONNECT_SECS=20        # until a connection has to stand
LONGEST_PAUSE=30       # between two attempts, seconds
REFUSAL_PAUSE=60       # after a refusal or a wrong host key
SETTLED_SECS=30        # a tunnel that lived so long starts with short pauses again
LOG_LINES=200          # kept in the log file

# Not for this script, but for agents that read the constants.
: "${GATEWAY_KEY-}"

child=
reader=
waiter=

say() {
    printf 'moorline: %s\n' "$*" >&2
}

fail() {
    say "$*"
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

usage() {
    cat >&2 <<END_OF_USAGE
usage: ${0##*/} [start|stop|status|install|uninstall|createkeypair]
Holds the tunnel of $CLIENT_NAME ($HOST_UUID) to $SERVER_HOST ($REGION).
Without a word it runs in the foreground. Script version $SCRIPT_VERSION.
END_OF_USAGE
    exit 2
}

make_state_dir() {
    mkdir -p "$STATE_DIR" 2>/dev/null
    [ -w "$STATE_DIR" ] || fail "cannot write to $STATE_DIR (set MOORLINE_STATE_DIR)"
}

# --- which ssh -------------------------------------------------------------

find_ssh() {
    if [ -n "${MOORLINE_SSH:-}" ]; then
        SSH=$MOORLINE_SSH
    elif have ssh; then
        SSH=ssh
    elif have dbclient; then
        SSH=dbclient
    else
        fail "neither ssh nor dbclient is installed"
    fi
    case $("$SSH" -V 2>&1 </dev/null) in
    *ropbear*) FLAVOUR=dropbear ;;
    *) FLAVOUR=openssh ;;
    esac
}

# --- keys ------------------------------------------------------------------

# Which program can read the private key in file $1.
key_format() {
    case $(head -n 1 "$1" 2>/dev/null | tr -d '\000') in
    -----BEGIN*) echo openssh ;;
    *) echo dropbear ;;
    esac
}

# Sets IDENTITY to a private key that $FLAVOUR can read.
find_identity() {
    if [ ! -s "$KEY" ]; then
        say "no device key at $KEY; make one with: $0 createkeypair"
        return 1
    fi
    has=$(key_format "$KEY")
    IDENTITY=$KEY
    [ "$has" = "$FLAVOUR" ] && return 0
    IDENTITY=$STATE_DIR/device_key.$FLAVOUR
    # A copy is good as long as it is not older than the key.
    if [ -s "$IDENTITY" ] && [ -z "$(find "$KEY" -newer "$IDENTITY" 2>/dev/null)" ]; then
        return 0
    fi
    have dropbearconvert || {
        say "the key at $KEY is for $has, and dropbearconvert is not installed"
        return 1
    }
    rm -f "$IDENTITY.new"
    if dropbearconvert "$has" "$FLAVOUR" "$KEY" "$IDENTITY.new" >/dev/null 2>&1; then
        mv -f "$IDENTITY.new" "$IDENTITY"
    else
        say "cannot convert the key at $KEY for $FLAVOUR"
        return 1
    fi
}

# Prints the public key, "type base64".
public_key() {
    if [ "$(key_format "$KEY")" = dropbear ]; then
        dropbearkey -y -f "$KEY" 2>/dev/null | sed -n 's/^\(\(ssh\|ecdsa\)-[^ ]* [^ ]*\).*/\1/p'
    elif have ssh-keygen; then
        ssh-keygen -y -P '' -f "$KEY" 2>/dev/null </dev/null | cut -d ' ' -f 1,2
    else
        FLAVOUR=dropbear
        find_identity >/dev/null 2>&1 &&
            dropbearkey -y -f "$IDENTITY" 2>/dev/null | sed -n 's/^\(\(ssh\|ecdsa\)-[^ ]* [^ ]*\).*/\1/p'
    fi
}

make_key() {
    rm -f "$KEY.new" "$KEY.new.pub"
    if have ssh-keygen; then
        ssh-keygen -q -t ed25519 -N '' -C "$CLIENT_NAME" -f "$KEY.new" </dev/null
    elif have dropbearkey; then
        dropbearkey -t ed25519 -f "$KEY.new" >/dev/null 2>&1 ||
            dropbearkey -t ecdsa -f "$KEY.new" >/dev/null 2>&1 ||
            dropbearkey -t rsa -s 2048 -f "$KEY.new" >/dev/null 2>&1
    else
        fail "neither ssh-keygen nor dropbearkey is installed"
    fi
    [ -s "$KEY.new" ] || fail "cannot make a key at $KEY"
    rm -f "$KEY.new.pub"
    sync
    # A hard link never replaces a key that somebody else made meanwhile.
    ln "$KEY.new" "$KEY" 2>/dev/null || [ -s "$KEY" ] || mv "$KEY.new" "$KEY" ||
        fail "cannot write $KEY"
    rm -f "$KEY.new"
    sync
}

# Percent-encodes what may stand in a public key or a number.
encode() {
    printf '%s' "$1" | sed 's/%/%25/g; s/+/%2B/g; s/ /%20/g; s/&/%26/g; s/=/%3D/g; s:/:%2F:g'
}

# Posts the form in file $1 to the path $2 and prints the answer. No secret stands on a command line.
post() {
    if have curl; then
        set -- "$1" "$2" -sS --max-time 30 --data-binary "@$1"
        [ -n "${MOORLINE_CA_FILE:-}" ] && set -- "$@" --cacert "$MOORLINE_CA_FILE"
        if [ -z "${MOORLINE_CA_FILE:-}" ] && [ -n "${API_PIN:-}" ]; then
            # The pin replaces the chain of trust.
            set -- "$@" --insecure --pinnedpubkey "sha256//${API_PIN#sha256/}"
        fi
        path=$2
        shift 2
        curl "$@" "$API_URL$path"
    elif have wget; then
        case $(wget --help 2>&1) in
        *BusyBox*)
            # It checks no certificate and, as often built, knows no time limit.
            if [ -n "${MOORLINE_CA_FILE:-}${API_PIN:-}" ]; then
                say "this wget cannot check the certificate of $API_URL; install curl"
                return 1
            fi
            wget -q -O - --post-file="$1" "$API_URL$2"
            ;;
        *)
            if [ -n "${MOORLINE_CA_FILE:-}" ]; then
                wget -q -T 30 -t 1 -O - --post-file="$1" --ca-certificate="$MOORLINE_CA_FILE" "$API_URL$2"
            elif [ -n "${API_PIN:-}" ]; then
                say "set MOORLINE_CA_FILE to the certificate of $API_URL, or install curl"
                return 1
            else
                wget -q -T 30 -t 1 -O - --post-file="$1" "$API_URL$2"
            fi
            ;;
        esac
    else
        say "neither curl nor wget is installed"
        return 1
    fi
}

create_key_pair() {
    make_state_dir
    [ -s "$KEY" ] || make_key
    public=$(public_key)
    [ -n "$public" ] || fail "cannot read the public key of $KEY"
    printf '%s\n' "$public" >"$KEY.pub"
    [ -n "$DB_SERVER_KEY" ] || fail "this script has no DB_SERVER_KEY: fetch it with an API key that may modify devices"
    form=$STATE_DIR/upload.$$
    printf 'dbid=%s&host_uuid=%s&ports_id=%s&user_id=%s&public_key=%s' "$DB_SERVER_KEY" \
        "$HOST_UUID" "$PORTS_ID" "$USER_ID" "$(encode "$public")" >"$form" || fail "cannot write to $STATE_DIR"
    answer=$(post "$form" /init/api/upload_public_key)
    rm -f "$form"
    case $answer in
    *'"error_code":0,'*) say "device key is $KEY, the server knows it" ;;
    '') fail "no answer from $API_URL" ;;
    *) fail "$API_URL answered: $answer" ;;
    esac
}

# --- the tunnel ------------------------------------------------------------

# A number from 0 to 65535.
random() {
    number=$(od -An -N2 -tu2 /dev/urandom 2>/dev/null | tr -dc 0-9)
    [ -n "$number" ] || number=$(hexdump -n 2 -e '1/2 "%u"' /dev/urandom 2>/dev/null)
    [ -n "$number" ] || number=$(($(date +%s) * 7919 % 65536 ^ $$ % 65536))
    echo "$number"
}

# A number from $1 to $2.
between() {
    echo $(($1 + $(random) % ($2 - $1 + 1)))
}

now() {
    # Seconds since boot do not jump when the clock is set.
    if read -r uptime _ 2>/dev/null </proc/uptime; then
        echo "${uptime%%.*}"
    else
        date +%s
    fi
}

# Sleeps so that a signal ends it.
pause() {
    sleep "$1" &
    waiter=$!
    wait "$waiter"
    waiter=
}

trim_log() {
    [ -f "$LOG_FILE" ] && [ "$(wc -l <"$LOG_FILE")" -gt $((LOG_LINES * 2)) ] || return 0
    # Written in place: the file stays open.
    kept=$(tail -n "$LOG_LINES" "$LOG_FILE") && printf '%s\n' "$kept" >"$LOG_FILE"
}

openssh() {
    printf 'moorline %s\n' "$SERVER_HOST_KEY" >"$STATE_DIR/known_hosts" || return 1
    # The words of -v tell when the forward stands; nothing else does.
    exec "$SSH" -v -F /dev/null -N -T -i "$IDENTITY" -p "$SERVER_PORT" \
        -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none \
        -o PreferredAuthentications=publickey -o PasswordAuthentication=no \
        -o StrictHostKeyChecking=yes -o "UserKnownHostsFile=$STATE_DIR/known_hosts" \
        -o GlobalKnownHostsFile=/dev/null -o HostKeyAlias=moorline -o CheckHostIP=no \
        -o UpdateHostKeys=no -o VerifyHostKeyDNS=no \
        -o ExitOnForwardFailure=yes -o "ConnectTimeout=$CONNECT_SECS" -o TCPKeepAlive=yes \
        -o "ServerAliveInterval=$KEEPALIVE_SECS" -o "ServerAliveCountMax=$KEEPALIVE_MISSES" \
        -o ControlMaster=no -o ControlPath=none -o ForwardAgent=no -o ForwardX11=no \
        -o PermitLocalCommand=no \
        -R "$REMOTE_PORT:localhost:$FORWARD_PORT" "$SSH_USER@$SERVER_HOST"
}

dropbear() {
    # dropbear reads $HOME/.ssh/known_hosts and no other file; the name there is without the port.
    HOME=$STATE_DIR/dropbear
    export HOME
    mkdir -p "$HOME/.ssh" && printf '%s %s\n' "$SERVER_HOST" "$SERVER_HOST_KEY" >"$HOME/.ssh/known_hosts" || return 1
    # Without a terminal it cannot ask anything, and with this it need not ask for a password.
    DROPBEAR_PASSWORD=-
    export DROPBEAR_PASSWORD
    detach=
    have setsid && detach=setsid
    # shellcheck disable=SC2086 # empty, or one word
    exec $detach "$SSH" -N -T -i "$IDENTITY" -p "$SERVER_PORT" -K "$KEEPALIVE_SECS" \
        -o ExitOnForwardFailure=yes \
        -R "$REMOTE_PORT:localhost:$FORWARD_PORT" "$SSH_USER@$SERVER_HOST"
}

# Reads what ssh says and keeps in the status file what it means.
read_messages() {
    while IFS= read -r line; do
        case $line in
        debug1:*"remote forward success"*)
            echo connected >"$STATUS_FILE"
            say "connected to $SERVER_HOST, port $REMOTE_PORT leads here"
            ;;
        debug[123]:* | OpenSSH_* | Authenticated* | '' | 'Transferred: '* | 'Bytes per second: '*) ;;
        *"ost key verification failed"* | *"ost key mismatch"* | *"idn't validate host key"*)
            echo mismatch >"$STATUS_FILE"
            say "HOST KEY MISMATCH: $SERVER_HOST does not have the host key this script knows; not connecting"
            ;;
        *"not in the trusted hosts file"*)
            echo mismatch >"$STATUS_FILE"
            say "HOST KEY MISMATCH: $SERVER_HOST has no host key of the kind this script knows; not connecting"
            # dropbear would ask whether to go on, and wait.
            kill "$child" 2>/dev/null
            ;;
        *"ermission denied"* | *"o auth methods could be used"* | *"oo many authentication failures"*)
            echo refused >"$STATUS_FILE"
            say "$SERVER_HOST refuses the key of this device"
            ;;
        *"remote port forwarding failed"* | *"emote TCP forward request failed"*)
            echo refused >"$STATUS_FILE"
            say "$SERVER_HOST refuses the forward of port $REMOTE_PORT"
            ;;
        *) say "ssh: $line" ;;
        esac
    done
}

# Whether a TCP connection to the server's port stands.
established() {
    hex=$(printf '%04X' "$SERVER_PORT")
    grep -q "^ *[0-9]*: [0-9A-F:]* [0-9A-F]*:$hex 01 " /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

# dropbear says nothing when it is connected and knows no time limit: looks from outside, beside it.
watch_dropbear() {
    waited=0
    while [ "$waited" -lt "$CONNECT_SECS" ]; do
        sleep 5
        waited=$((waited + 5))
        kill -0 "$1" 2>/dev/null || return 0
        if established; then
            # Refusals come at once; what stands for so long is granted.
            sleep 5
            kill -0 "$1" 2>/dev/null || return 0
            echo connected >"$STATUS_FILE"
            say "connected to $SERVER_HOST, port $REMOTE_PORT leads here"
            return 0
        fi
    done
    say "no connection to $SERVER_HOST within $CONNECT_SECS s"
    kill "$1" 2>/dev/null
}

# One connection, from its beginning to its end. Sets ended to the last thing known of it.
tunnel() {
    echo connecting >"$STATUS_FILE"
    find_identity || { ended=refused; return; }
    rm -f "$FIFO"
    mkfifo "$FIFO" || { ended=lost; return; }
    # Opening the pipe waits for its other end, so the order does not matter; the reader has to know the child.
    "$FLAVOUR" </dev/null >"$FIFO" 2>&1 &
    child=$!
    read_messages <"$FIFO" &
    reader=$!
    watcher=
    if [ "$FLAVOUR" = dropbear ]; then
        watch_dropbear "$child" &
        watcher=$!
    fi
    wait "$child"
    child=
    [ -z "$watcher" ] || kill "$watcher" 2>/dev/null
    wait "$reader"
    reader=
    read -r ended <"$STATUS_FILE" || ended=lost
    echo waiting >"$STATUS_FILE"
    rm -f "$FIFO"
}

hold() {
    longest=1
    while :; do
        began=$(now)
        tunnel
        lived=$(($(now) - began))
        case $ended in
        refused | mismatch)
            seconds=$REFUSAL_PAUSE
            longest=$LONGEST_PAUSE
            ;;
        *)
            if [ "$ended" = connected ]; then
                say "connection lost after $lived s"
                [ "$lived" -ge "$SETTLED_SECS" ] && longest=1
            fi
            seconds=$(between 1 "$longest")
            longest=$((longest * 2))
            [ "$longest" -le "$LONGEST_PAUSE" ] || longest=$LONGEST_PAUSE
            ;;
        esac
        say "next attempt in $seconds s"
        trim_log
        pause "$seconds"
    done
}

# --- one process at a time -------------------------------------------------

# What tells the process $1 from another that got its number later.
birth() {
    boot=
    read -r boot 2>/dev/null </proc/sys/kernel/random/boot_id
    stat=
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
    # After the name, which may hold blanks: the state, and as 20th field the start time.
    # shellcheck disable=SC2086 # split on purpose
    set -- ${stat##*) }
    [ "$1" != Z ] && [ $# -ge 20 ] && shift 19 && echo "$boot/$1"
}

# Whether file $1 names a process that runs; sets pid.
runs() {
    pid=
    born=
    read -r pid born 2>/dev/null <"$1" || return 1
    case $pid in
    '' | *[!0-9]*) return 1 ;;
    esac
    alive "$pid" "$born"
}

# Whether process $1 is the one born at $2.
alive() {
    kill -0 "$1" 2>/dev/null && [ "$(birth "$1")" = "$2" ]
}

# Puts our number into the pid file; fails when another of us runs.
claim() {
    mine=$PID_FILE.$$
    printf '%s %s\n' "$$" "$(birth $$)" >"$mine" || fail "cannot write to $STATE_DIR"
    tries=0
    while ! ln "$mine" "$PID_FILE" 2>/dev/null; do
        if runs "$PID_FILE" || [ "$tries" -ge 5 ]; then
            rm -f "$mine"
            return 1
        fi
        # Left behind. Renaming has one winner; should it have caught a fresh one, that goes back.
        old=$PID_FILE.old.$$
        if mv "$PID_FILE" "$old" 2>/dev/null; then
            runs "$old" && ln "$old" "$PID_FILE" 2>/dev/null
            rm -f "$old"
        fi
        tries=$((tries + 1))
    done
    rm -f "$mine"
}

# Ends everything this process started.
# shellcheck disable=SC2317,SC2329 # called by trap
finish() {
    trap '' TERM INT HUP
    [ -z "$child" ] || kill "$child" 2>/dev/null
    [ -z "$waiter" ] || kill "$waiter" 2>/dev/null
    [ -z "${watcher:-}" ] || kill "$watcher" 2>/dev/null
    [ -z "$child" ] || wait "$child" 2>/dev/null
    [ -z "$reader" ] || kill "$reader" 2>/dev/null
    rm -f "$PID_FILE" "$STATUS_FILE" "$FIFO"
    say "stopped"
    exit 0
}

foreground() {
    make_state_dir
    find_ssh
    claim || fail "already running (process $pid)"
    trap finish TERM INT HUP
    say "holding the tunnel of $CLIENT_NAME to $SERVER_HOST port $SERVER_PORT ($FLAVOUR)"
    hold
}

start() {
    make_state_dir
    find_ssh
    if runs "$PID_FILE"; then
        say "already running (process $pid)"
        return 0
    fi
    detach=
    have setsid && detach=setsid
    # shellcheck disable=SC2086 # empty, or one word
    nohup $detach /bin/sh "$0" </dev/null >>"$LOG_FILE" 2>&1 &
    tries=0
    while [ "$tries" -lt 10 ]; do
        if runs "$PID_FILE"; then
            say "started (process $pid), log in $LOG_FILE"
            return 0
        fi
        sleep 1
        tries=$((tries + 1))
    done
    fail "did not start; see $LOG_FILE"
}

stop() {
    if ! runs "$PID_FILE"; then
        say "not running"
        return 0
    fi
    kill "$pid" 2>/dev/null
    tries=0
    while alive "$pid" "$born"; do
        if [ "$tries" -ge 10 ]; then
            fail "process $pid does not end"
        fi
        sleep 1
        tries=$((tries + 1))
    done
    say "stopped"
}

status() {
    if ! runs "$PID_FILE"; then
        echo "not running"
        exit 3
    fi
    state=
    read -r state 2>/dev/null <"$STATUS_FILE"
    if [ "$state" = connected ]; then
        echo "connected"
        exit 0
    fi
    echo "not connected"
    exit 1
}

# --- start at boot ---------------------------------------------------------

init_system() {
    if [ -d "$ROOT/run/systemd/system" ] || [ -n "$ROOT" ] && [ -d "$ROOT/lib/systemd/system" ]; then
        echo systemd
    elif [ -x "$ROOT/sbin/procd" ] || [ -f "$ROOT/etc/rc.common" ]; then
        echo procd
    elif [ -x "$ROOT/sbin/openrc-run" ]; then
        echo openrc
    elif [ -d "$ROOT/etc/rc2.d" ] || [ -d "$ROOT/etc/rc.d/rc2.d" ]; then
        echo sysvinit
    elif [ -d "$ROOT/etc/init.d" ]; then
        echo busybox
    elif [ -f "$ROOT/etc/rc.local" ]; then
        echo rclocal
    else
        echo none
    fi
}

# Puts this script where it stays, and sets home to it.
settle() {
    home=$STATE_DIR/client.sh
    mkdir -p "$ROOT$STATE_DIR" || return 1
    [ "$ROOT$home" -ef "$0" ] 2>/dev/null && return 0
    cp "$0" "$ROOT$home.new" && chmod 700 "$ROOT$home.new" && mv -f "$ROOT$home.new" "$ROOT$home"
}

systemd_unit() {
    cat <<END_OF_UNIT
[Unit]
Description=Moorline tunnel of $CLIENT_NAME
After=network.target

[Service]
Environment=MOORLINE_STATE_DIR=$STATE_DIR
ExecStart=/bin/sh $home
Restart=on-failure
RestartSec=10

[Install]
WantedBy=multi-user.target
END_OF_UNIT
}

procd_script() {
    cat <<END_OF_SCRIPT
#!/bin/sh /etc/rc.common
START=95
STOP=10
export MOORLINE_STATE_DIR=$STATE_DIR
start() { /bin/sh $home start; }
stop() { /bin/sh $home stop; }
END_OF_SCRIPT
}

openrc_script() {
    cat <<END_OF_SCRIPT
#!/sbin/openrc-run
description="Moorline tunnel of $CLIENT_NAME"
export MOORLINE_STATE_DIR=$STATE_DIR
depend() { after net; }
start() { ebegin "Starting moorline-client"; /bin/sh $home start; eend \$?; }
stop() { ebegin "Stopping moorline-client"; /bin/sh $home stop; eend \$?; }
status() { /bin/sh $home status; }
END_OF_SCRIPT
}

sysv_script() {
    cat <<END_OF_SCRIPT
#!/bin/sh
### BEGIN INIT INFO
# Provides:          moorline-client
# Required-Start:    \$remote_fs
# Required-Stop:     \$remote_fs
# Should-Start:      \$network
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: Moorline tunnel
### END INIT INFO
export MOORLINE_STATE_DIR=$STATE_DIR
case \${1:-start} in
start | stop | status) exec /bin/sh $home "\$1" ;;
restart | force-reload) /bin/sh $home stop; exec /bin/sh $home start ;;
*) echo "usage: \$0 {start|stop|restart|status}" >&2; exit 2 ;;
esac
END_OF_SCRIPT
}

# Writes an executable file $1 from standard input, whole or not at all.
put() {
    mkdir -p "${1%/*}" && cat >"$1.new" && chmod "$2" "$1.new" && mv -f "$1.new" "$1"
}

install_service() {
    [ -f "$0" ] || fail "save this script to a file first"
    settle || fail "cannot write to $ROOT$STATE_DIR"
    init=$(init_system)
    script=$ROOT/etc/init.d/$SERVICE
    case $init in
    systemd)
        systemd_unit | put "$ROOT/etc/systemd/system/$SERVICE.service" 644 &&
            mkdir -p "$ROOT/etc/systemd/system/multi-user.target.wants" &&
            ln -sf "../$SERVICE.service" "$ROOT/etc/systemd/system/multi-user.target.wants/$SERVICE.service" &&
            { [ -n "$ROOT" ] || systemctl daemon-reload; }
        ;;
    procd)
        procd_script | put "$script" 755 && mkdir -p "$ROOT/etc/rc.d" &&
            ln -sf "../init.d/$SERVICE" "$ROOT/etc/rc.d/S95$SERVICE" &&
            ln -sf "../init.d/$SERVICE" "$ROOT/etc/rc.d/K10$SERVICE"
        ;;
    openrc)
        openrc_script | put "$script" 755 && mkdir -p "$ROOT/etc/runlevels/default" &&
            ln -sf "/etc/init.d/$SERVICE" "$ROOT/etc/runlevels/default/$SERVICE"
        ;;
    sysvinit)
        sysv_script | put "$script" 755 && sysv_links add
        ;;
    busybox)
        sysv_script | put "$ROOT/etc/init.d/S95$SERVICE" 755
        ;;
    rclocal)
        rc_local_without_us >"$ROOT/etc/rc.local.new" &&
            { sed '/^exit 0$/d' "$ROOT/etc/rc.local.new" &&
                echo "MOORLINE_STATE_DIR=$STATE_DIR /bin/sh $home start # $SERVICE" && echo 'exit 0'; } |
            put "$ROOT/etc/rc.local" 755
        ;;
    none) fail "no init system found that this script knows" ;;
    esac || fail "cannot install for $init"
    [ "$init" != rclocal ] || rm -f "$ROOT/etc/rc.local.new"
    say "installed for $init; it starts at the next boot, or now with: $home start"
}

sysv_links() {
    for level in 2 3 4 5; do
        for folder in "$ROOT/etc/rc$level.d" "$ROOT/etc/rc.d/rc$level.d"; do
            [ -d "$folder" ] || continue
            if [ "$1" = add ]; then
                ln -sf "/etc/init.d/$SERVICE" "$folder/S95$SERVICE" || return 1
            else
                rm -f "$folder/S95$SERVICE"
            fi
        done
    done
}

rc_local_without_us() {
    sed "/# $SERVICE\$/d" "$ROOT/etc/rc.local"
}

uninstall_service() {
    [ -n "$ROOT" ] || stop
    unit=$ROOT/etc/systemd/system/$SERVICE.service
    if [ -f "$unit" ]; then
        rm -f "$unit" "$ROOT/etc/systemd/system/multi-user.target.wants/$SERVICE.service" ||
            fail "cannot remove $unit"
        [ -n "$ROOT" ] || systemctl daemon-reload
    fi
    sysv_links remove
    rm -f "$ROOT/etc/init.d/$SERVICE" "$ROOT/etc/init.d/S95$SERVICE" "$ROOT/etc/rc.d/S95$SERVICE" \
        "$ROOT/etc/rc.d/K10$SERVICE" "$ROOT/etc/runlevels/default/$SERVICE" || fail "cannot remove the init script"
    if [ -f "$ROOT/etc/rc.local" ] && grep -q "# $SERVICE\$" "$ROOT/etc/rc.local"; then
        rc_local_without_us | put "$ROOT/etc/rc.local" 755 || fail "cannot change $ROOT/etc/rc.local"
    fi
    say "uninstalled; keys and state stay in $STATE_DIR"
}

[ $# -le 1 ] || usage
case ${1-foreground} in
foreground) foreground ;;
start) start ;;
stop) stop ;;
status) status ;;
install) install_service ;;
uninstall) uninstall_service ;;
createkeypair) create_key_pair ;;
*) usage ;;
esac
