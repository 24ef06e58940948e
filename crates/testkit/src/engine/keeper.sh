# Runs a container engine as long as somebody uses it: keeper.sh DIR COMMAND…
#
# Who uses it holds a lock on DIR/users, which the kernel drops with its holder, whoever killed it. Who
# starts or stops it holds one on DIR.gate. An engine that is killed is started again when DIR/again is
# there. Runs in a network and a mount namespace of its own, which end with it. Where DIR/system names the root of
# another system, everything is of that one, but for temporary files and what the kernel tells.
set -u
dir=$1
shift
cd "$dir"
exec 8>>"$dir.gate" 9>>"$dir/users" </dev/null >>"$dir/keeper.log" 2>&1
ip link set lo up
if [ -e data.img ]; then mkdir data && mount -o loop data.img data; fi
cgroups=/sys/fs/cgroup

if [ -e system ]; then
    enter system "${dir%/*}"
    for own in /dev/shm /run; do mount -t tmpfs engine "$own"; done
    cd "$dir" || exit 1
fi

start() {
    rm -f "$dir/again" "$dir/docker.sock" "$dir/pid"
    "$@" 8>&- 9>&- >>"$dir/log" 2>&1 &
    engine=$!
}

start "$@"
free=0
while [ "$free" -lt 3 ]; do
    sleep 0.5
    if [ -e "$dir/again" ] && ! kill -0 "$engine" 2>/dev/null; then start "$@"; fi
    flock -n 8 || { free=0; continue; }
    if flock -n 9; then free=$((free + 1)); flock -u 9; else free=0; fi
    [ "$free" -ge 3 ] || flock -u 8
done

kill "$engine" 2>/dev/null
wait "$engine"
# Whatever a killed engine has left running.
for process in /proc/[0-9]*; do
    grep -qs "$dir/exec/" "$process/cmdline" && kill -9 "${process#/proc/}"
done
own=$(basename "$dir")
find $cgroups -depth -type d -path "*/$own/*" 2>/dev/null | while read -r group; do
    for pid in $(cat "$group/cgroup.procs" 2>/dev/null); do kill -9 "$pid"; done
done
grep -o " $dir/[^ ]*" /proc/self/mounts | sort -r | while read -r mount; do umount -l "$mount"; done
# Podman makes groups of its own name; what is not empty stays.
groups() { find $cgroups -depth -type d \( -path "*/$own/*" -o -name "$own" -o -path '*/libpod*' \) "$@" 2>/dev/null; }
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    groups -exec rmdir {} \;
    rm -rf "$dir"
    [ -z "$(groups)" ] && [ ! -e "$dir" ] && break
    sleep 0.2
done
rm -f "$dir.gate"
