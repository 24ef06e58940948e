#!/bin/busybox sh
# The first process of a guest: finds its disks, leaves out what only takes time, and gives way to systemd, which
# runs what a test wants and turns the guest off.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
for module in $($b cat /modules/order); do $b insmod "/modules/$module"; done
# As udev makes it, which is not there.
$b chmod 0666 /dev/net/tun
$b mount -t ext4 -o noatime /dev/vda /new
$b mkdir -p /new/given
$b mount -t ext4 -o ro /dev/vdb /new/given

units=/new/etc/systemd/system
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer getty.target serial-getty@ttyS0.service dev-hugepages.mount dev-mqueue.mount modprobe@.service \
    proc-sys-fs-binfmt_misc.automount sys-fs-fuse-connections.mount sys-kernel-config.mount \
    sys-kernel-debug.mount sys-kernel-tracing.mount systemd-ask-password-console.path \
    systemd-ask-password-wall.path systemd-binfmt.service systemd-firstboot.service \
    systemd-journal-catalog-update.service systemd-journal-flush.service systemd-machine-id-commit.service \
    systemd-modules-load.service systemd-pcrphase.service systemd-random-seed.service \
    systemd-remount-fs.service systemd-sysctl.service systemd-sysusers.service systemd-timesyncd.service \
    systemd-tmpfiles-clean.timer systemd-tmpfiles-setup-dev.service systemd-tmpfiles-setup.service \
    systemd-update-utmp-runlevel.service systemd-update-utmp.service; do
    $b ln -sf /dev/null "$units/$unit"
done
echo guest > /new/etc/hostname
echo 0123456789abcdef0123456789abcdef > /new/etc/machine-id
$b cat > "$units/guest.service" <<'UNIT'
[Unit]
After=basic.target dbus.service systemd-logind.service
[Service]
Type=oneshot
ExecStart=/bin/bash /given/scenario.sh
StandardInput=null
StandardOutput=file:/dev/ttyS0
StandardError=file:/dev/ttyS0
ExecStopPost=/bin/systemctl poweroff -ff
UNIT
$b cat > "$units/guest.target" <<'UNIT'
[Unit]
Requires=multi-user.target guest.service
AllowIsolate=yes
UNIT

$b umount /proc
$b umount /sys
$b mount --move /dev /new/dev
exec $b switch_root /new /lib/systemd/systemd
