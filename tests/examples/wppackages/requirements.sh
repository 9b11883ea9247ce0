#!/bin/sh
# Installs the clients of the example wppackages, where they are missing: Composer and a browser.
set -eu
missing=
command -v composer > /dev/null || missing="$missing composer"
command -v unzip > /dev/null || missing="$missing unzip"
command -v chromium > /dev/null || missing="$missing chromium"
[ -z "$missing" ] && exit
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -qq --no-install-recommends $missing > /dev/null
