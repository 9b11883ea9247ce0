#!/bin/sh
# Installs what the hosts of the tests boot, where it is missing: a container or a fresh Debian may lack systemd.
# With "servers": the programs of the examples.
set -eu
missing=
if [ "${1-}" = servers ]; then
    command -v node > /dev/null || missing="$missing nodejs"
    command -v puma > /dev/null || missing="$missing puma"
    [ -e /usr/share/doc/ruby-sd-notify ] || missing="$missing ruby-sd-notify"  # without it puma never says READY=1
    command -v go > /dev/null || missing="$missing golang-go"
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
