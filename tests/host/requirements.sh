#!/bin/sh
# Installs what the hosts of the tests boot, where it is missing: a container or a fresh Debian may lack systemd.
# With "browser": Chromium alone.
# With "servers": the programs of the examples; with "builds": those that packages are built with; with "load": wrk;
# with "proxies": those in front; with "fleet": sshd, curl, and what gapless is installed with; with "postgres", "redis": that; with "clients": Composer and a browser;
# with "tools": what advice names, and man.
set -eu
[ -n "${ALONE-}" ] || ALONE=1 exec flock "$0" "$0" "$@"  # tests run side by side, and apt waits for nobody
missing=
if [ "${1-}" = servers ]; then
    command -v node > /dev/null || missing="$missing nodejs"
    command -v puma > /dev/null || missing="$missing puma"
    [ -e /usr/share/doc/ruby-sd-notify ] || missing="$missing ruby-sd-notify"  # without it puma never says READY=1
    command -v go > /dev/null || missing="$missing golang-go"
elif [ "${1-}" = browser ]; then
    command -v chromium > /dev/null || missing="$missing chromium"
elif [ "${1-}" = builds ]; then
    /usr/bin/python3 -c "import ensurepip" 2> /dev/null || missing="$missing python3-venv"
    command -v npm > /dev/null || missing="$missing npm"
elif [ "${1-}" = load ]; then
    command -v wrk > /dev/null || missing="$missing wrk"
elif [ "${1-}" = proxies ]; then
    for proxy in caddy nginx haproxy; do
        [ -e "/lib/systemd/system/$proxy.service" ] || missing="$missing $proxy"
    done
elif [ "${1-}" = clients ]; then
    for client in composer unzip chromium; do
        command -v "$client" > /dev/null || missing="$missing $client"
    done
elif [ "${1-}" = tools ]; then
    command -v fuser > /dev/null || missing="$missing psmisc"
    command -v man > /dev/null || missing="$missing man-db"
elif [ "${1-}" = postgres ]; then
    [ -e /usr/lib/postgresql ] || missing="$missing postgresql"
elif [ "${1-}" = redis ]; then
    command -v redis-server > /dev/null || missing="$missing redis-server"
elif [ "${1-}" = fleet ]; then
    [ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
    command -v curl > /dev/null || missing="$missing curl"
    /usr/bin/python3 -c "import ensurepip" 2> /dev/null || missing="$missing python3-venv"
else
    [ -x /lib/systemd/systemd ] || missing="$missing systemd"
    [ -x /usr/bin/sudo ] || missing="$missing sudo"
    [ -x /usr/bin/dbus-daemon ] || missing="$missing dbus"
    [ -e /usr/share/pam-configs/systemd ] || missing="$missing libpam-systemd"  # logind's sessions, linger
fi
[ -z "$missing" ] && exit
export DEBIAN_FRONTEND=noninteractive
if [ ! -e /usr/sbin/policy-rc.d ]; then  # nothing of it is to run on this machine
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
fi
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -qq --no-install-recommends $missing > /dev/null
