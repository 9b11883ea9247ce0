#!/bin/sh
# A host for tests: this machine's userland with a systemd of its own as PID 1, in namespaces of its own, over a
# throw-away overlay. Python drives it, see host.py. BASE is an empty directory on a tmpfs.
#
#   unshare --mount boot.sh disk BASE PATH...  make the disk, say "ready", hold it until stdin ends, then clear all up
#   nsenter -t HOLDER --mount boot.sh boot BASE PATH...  boot from it; stays until PID 1 has died
#
# LOWER is another userland to boot, see debian.sh; without it, it is this machine's.
# The PATHs, read-only, are the same inside as outside, or as they are in LOWER. All mounts are in the holder's namespace: they end with it.
set -eu
umask 022
verb=$1 base=$2
shift 2
root=$base/disk/root
cgroups=$base/cgroup/${base##*/}

make_disk() {
    unshare --fork --pid --mount --uts --ipc --net --cgroup true  # says what the kernel forbids, if it does
    mount --make-rprivate /
    mkdir "$base/disk" "$base/cgroup"
    mount -t tmpfs -o mode=755 tmpfs "$base/disk"  # its own: a container's /dev/shm may be as small as 64 MB
    mkdir "$root"
    layer "${LOWER:-/}"
    # The layer of / shows one file system of the machine. Disks that are mounted into it get layers of their own.
    [ "${LOWER-}" ] || findmnt --real --raw --noheadings --output TARGET | while read -r target; do
        case $target in
            / | /boot* | /dev* | /etc/* | /media* | /mnt* | /proc* | /run* | /snap* | /sys* | /tmp*) ;;
            *) [ ! -d "$target" ] || layer "$target" ;;
        esac
    done
    for folder in root home srv; do  # what people keep on this machine, a new one does not have
        mkdir "$base/disk/empty-$folder"
        mkdir -p "$root/$folder"
        chmod --reference="$root/$folder" "$base/disk/empty-$folder"
        mount --bind "$base/disk/empty-$folder" "$root/$folder"
    done
    for path; do  # ordinary users inside may reach the interpreter, wherever it is
        while path=$(dirname "$path") && [ "$path" != / ]; do
            [ ! -d "$root$path" ] || chmod a+x "$root$path"
        done
    done
    mount -t cgroup2 cgroup2 "$base/cgroup"
}

layer() {
    number=$((${number:-0} + 1))
    mkdir "$base/disk/upper$number" "$base/disk/work$number"
    mount -t overlay -o "lowerdir=$1,upperdir=$base/disk/upper$number,workdir=$base/disk/work$number" overlay "$root${1#"${LOWER-}"}"
}

# A newly installed machine: nothing of what runs on this one is enabled.
install() {
    rm -rf "$root/etc/systemd/system" "$root/var/log/journal" "$root/var/lib/systemd/linger"
    mkdir -p "$root/etc/systemd/system" "$root/etc/systemd/system-generators" "$root/etc/systemd/journald.conf.d"
    for generator in "$root"/lib/systemd/system-generators/*; do
        ln -sf /dev/null "$root/etc/systemd/system-generators/${generator##*/}"
    done
    for unit in systemd-binfmt systemd-udevd systemd-udev-trigger systemd-timesyncd systemd-modules-load \
        systemd-remount-fs systemd-random-seed systemd-update-utmp systemd-update-utmp-runlevel systemd-resolved \
        systemd-networkd systemd-firstboot systemd-hwdb-update systemd-pstore ldconfig; do
        ln -s /dev/null "$root/etc/systemd/system/$unit.service"
    done
    for unit in proc-sys-fs-binfmt_misc.automount getty.target sys-kernel-debug.mount sys-kernel-tracing.mount \
        sys-kernel-config.mount sys-fs-fuse-connections.mount dev-hugepages.mount; do
        ln -s /dev/null "$root/etc/systemd/system/$unit"
    done
    : > "$root/etc/fstab"
    tr -d - < /proc/sys/kernel/random/uuid > "$root/etc/machine-id"
    echo "${base##*-}" > "$root/etc/hostname"
    # Tests read the journal: keep all of it, on the disk, and leave the kernel's own messages out.
    printf '[Journal]\nStorage=persistent\nReadKMsg=no\nRateLimitIntervalSec=0\nSyncIntervalSec=1s\n' \
        > "$root/etc/systemd/journald.conf.d/host.conf"
    mkdir -p "$root/var/log/journal"
}

clear_up() {
    for cgroup in "$cgroups".*; do
        end_cgroup "$cgroup"
    done
    umount --lazy --recursive "$base/disk"
    umount --lazy "$base/cgroup"
    rm -rf --one-file-system "$base"
}

# Whatever is still in the cgroup of a boot ends with it. The holder and the boot may both be at it.
end_cgroup() {
    tries=200
    while [ -d "$1" ]; do
        [ $tries -gt 0 ] || { echo "cannot remove $1"; return 1; }
        tries=$((tries - 1))
        { echo 1 > "$1/cgroup.kill"; } 2> /dev/null || :  # the loop sees whether it helped
        find "$1" -depth -type d -exec rmdir {} + 2> /dev/null || sleep 0.05
    done
}

boot() {
    cgroup=$cgroups.$$
    mkdir "$cgroup"
    # Controllers are there if whoever owns our cgroup delegates them; a host may lack memory and cpu.
    mkdir "$cgroup/tests.scope"  # for the commands that tests run: see host.py
    trap 'end_cgroup "$cgroup"' EXIT
    (
        exec 3> "$cgroup/cgroup.procs"
        # shellcheck disable=SC2016
        exec unshare --fork --kill-child --pid --mount --uts --ipc --net \
            sh -c 'echo 0 >&3; exec 3>&-; exec unshare --cgroup "$@"' sh "$0" init "$base" "$@"
    ) || echo "PID 1 ended with status $?"
}

init() {
    read -r pid _ < /proc/self/stat  # as the machine numbers it: its /proc is still there
    mount --make-rprivate /
    mount -t proc proc "$root/proc"
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount -o remount,bind,ro "$root/proc/sys"  # the machine's settings, but for the network, which is ours
    mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
    mount -o remount,bind,rw "$root/proc/sys/net"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    for dir in run tmp; do
        mount -t tmpfs tmpfs "$root/$dir"
    done
    chmod 755 "$root/run"
    make_dev
    for path; do
        mkdir -p "$root$path"
        mount --bind "${LOWER-}$path" "$root$path"
        mount -o remount,bind,ro "$root$path"
    done
    hostname "${base##*-}"
    cd "$root"
    mkdir -p .old
    pivot_root . .old
    cd "/.old$base"  # who enters from here on must find the host's root; a reader must not see half a number
    echo "$pid" > pid.new
    mv pid.new pid
    cd /
    umount --lazy .old
    mount --make-rshared /  # as systemd does by itself where it is not in a container: what is mounted later, services see
    exec env -i container=gapless-host PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --unit=multi-user.target --log-target=journal-or-kmsg --show-status=no
}

# The machine's /dev stays as it is: journald puts a link to its socket there.
make_dev() {
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for node in null zero full random urandom tty; do
        : > "$root/dev/$node"
        mount --bind "/dev/$node" "$root/dev/$node"
    done
    : > "$root/dev/kmsg"
    : > "$base/kmsg"
    mount --bind "$base/kmsg" "$root/dev/kmsg"  # where systemd writes until journald runs
    mkdir -m 1777 "$root/dev/shm"
    mount -t tmpfs tmpfs "$root/dev/shm"
    mkdir "$root/dev/pts"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s fd/0 "$root/dev/stdin"
    ln -s fd/1 "$root/dev/stdout"
    ln -s fd/2 "$root/dev/stderr"
}

case $verb in
    disk)
        trap clear_up EXIT
        make_disk "$@"
        install
        echo ready
        cat > /dev/null
        ;;
    boot) boot "$@" ;;
    init) init "$@" ;;
esac
