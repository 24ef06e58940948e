#!/bin/busybox sh
# The first process of a guest: mounts what tests need, the control groups as wanted, and runs tests.
b=/bin/busybox
for program in sh cat chroot insmod ls mkdir mount poweroff read sleep truncate; do $b ln -sf busybox "/bin/$program"; done
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

if [ "$1" != inside ]; then
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t devtmpfs dev /dev
    mkdir -p /dev/shm
    insmod /modules/loop.ko
    insmod /modules/overlay.ko
    read -r layout < /layout
    case $layout in
        v2) mount -t cgroup2 none /sys/fs/cgroup ;;
        v1)
            mount -t tmpfs none /sys/fs/cgroup
            for controller in cpu cpuacct memory pids freezer devices; do
                mkdir "/sys/fs/cgroup/$controller"
                mount -t cgroup -o "$controller" none "/sys/fs/cgroup/$controller"
            done
            ;;
    esac
    # The root that a kernel starts with can't be changed for another, which every container does.
    mount --bind / /new
    mount --move /proc /new/proc
    mount --move /sys /new/sys
    mount --move /dev /new/dev
    cd /new
    mount --move . /
    exec chroot . /init inside
fi

# Not /tmp: what is tested may have been built below it. And no tmpfs, which shows files with other owners from Linux
# 6.3 on only.
mount -t tmpfs disk /disk
truncate -s 512M /disk/scratch
mkfs.ext4 -q -O ^has_journal /disk/scratch
mount -o loop /disk/scratch /scratch

read -r EXECUTOR_TEST_LAYOUT < /layout
# What is missing here is a failure.
export EXECUTOR_TEST_LAYOUT CI=true RUST_BACKTRACE=0 TMPDIR=/scratch
# shellcheck disable=SC2046 # one argument a word
/it --test-threads 1 --exact $(cat /tests)
poweroff -f
