#!/bin/sh
# Installs what the hosts of the tests boot, where it is missing: a container or a fresh Debian may lack systemd.
set -eu
missing=
[ -x /lib/systemd/systemd ] || missing="$missing systemd"
[ -x /usr/bin/dbus-daemon ] || missing="$missing dbus"
[ -e /usr/share/pam-configs/systemd ] || missing="$missing libpam-systemd"  # logind's sessions, linger
[ -z "$missing" ] && exit
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -qq --no-install-recommends $missing > /dev/null
