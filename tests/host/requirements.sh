#!/bin/sh
# Installs what the hosts of the tests boot, where it is missing: a container or a fresh Debian may lack systemd.
# With "servers": the programs of the examples; with "builds": those that packages are built with; with "load": wrk;
# with "proxies": those in front.
set -eu
[ -n "${ALONE-}" ] || ALONE=1 exec flock "$0" "$0" "$@"  # tests run side by side, and apt waits for nobody
missing=
if [ "${1-}" = servers ]; then
    command -v node > /dev/null || missing="$missing nodejs"
    command -v puma > /dev/null || missing="$missing puma"
    [ -e /usr/share/doc/ruby-sd-notify ] || missing="$missing ruby-sd-notify"  # without it puma never says READY=1
    command -v go > /dev/null || missing="$missing golang-go"
elif [ "${1-}" = builds ]; then
    /usr/bin/python3 -c "import ensurepip" 2> /dev/null || missing="$missing python3-venv"
    command -v npm > /dev/null || missing="$missing npm"
elif [ "${1-}" = load ]; then
    command -v wrk > /dev/null || missing="$missing wrk"
elif [ "${1-}" = proxies ]; then
    for proxy in caddy nginx haproxy; do
        [ -e "/lib/systemd/system/$proxy.service" ] && continue
        missing="$missing $proxy"
        mkdir -p /etc/systemd/system
        [ -e "/etc/systemd/system/$proxy.service" ] || ln -s /dev/null "/etc/systemd/system/$proxy.service"  # not on this machine
    done
else
    [ -x /lib/systemd/systemd ] || missing="$missing systemd"
    [ -x /usr/bin/sudo ] || missing="$missing sudo"
    [ -x /usr/bin/dbus-daemon ] || missing="$missing dbus"
    [ -e /usr/share/pam-configs/systemd ] || missing="$missing libpam-systemd"  # logind's sessions, linger
fi
[ -z "$missing" ] && exit
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -qq --no-install-recommends $missing > /dev/null
