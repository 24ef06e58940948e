# enter ROOT SHARED…: makes ROOT the root of this mount namespace, but for what the kernel tells and for the directories that
# are shared. What is written there is forgotten: others are in the same system.
enter() {
    system=$(readlink -f "$1") && mount -t tmpfs system "$system/mnt" && cd "$system/mnt" || exit 1
    shift
    mkdir upper work root
    mount -t overlay -o "lowerdir=$system,upperdir=$PWD/upper,workdir=$PWD/work" system root || exit 1
    for shared in /proc /sys /dev "$@"; do
        mkdir -p "root$shared" && mount --rbind "$shared" "root$shared" || exit 1
    done
    cd root && pivot_root . mnt && umount -l /mnt || exit 1
}
