# What scenarios are told in. Whatever does not hold ends the guest with what is known then.

export HOME=/root
cd /root || exit 1

# Says where the scenario is, and when.
now() { echo "--- $(cut -d' ' -f1 /proc/uptime) $*"; }

broken() {
    echo "BROKEN: $*"
    journalctl --no-pager --lines=60 _TRANSPORT=journal _TRANSPORT=stdout _TRANSPORT=syslog
    systemd-cgls --no-pager
    # Those that are empty as well, and who is in the others.
    find /sys/fs/cgroup -name 'executor*' -exec sh -c 'echo "$1:" $(cat "$1/cgroup.procs") $(ls "$1" | grep -v "\\.")' - {} \;
    for id in 1 2 3 4 5 6; do executor job show $id && executor job logs $id; done 2>/dev/null
    exit 1
}

# Waits until a command succeeds.
until_() {
    local begun=$SECONDS
    until "$@" >/dev/null 2>&1; do
        [ $((SECONDS - begun)) -lt 60 ] || broken "waited for: $*"
        sleep 0.1
    done
}

holds() { "$@" >/dev/null 2>&1 || broken "does not hold: $*"; }
not() { ! "$@"; }

# state ID STATE, and how often it was tried.
job_is() { executor job show "$1" | grep -q "^state  *$2\$" && executor job show "$1" | grep -q '^attempt  *1$'; }
says() { executor job logs "$1" | grep -q -- "$2"; }

submit() { executor job run --detach --image busybox --step "set +x; $1"; }

# A job that goes on until its gate is opened.
submit_gated() { submit 'touch /data/gate; echo begun; while [ -e /data/gate ]; do usleep 50000; done; echo opened'; }
open_gates() {
    local gates
    gates=$(for process in /proc/[0-9]*; do
        [ -e "$process/root/data/gate" ] && rm "$process/root/data/gate" && echo "$process"
    done)
    [ -n "$gates" ]
}

# Jobs are held to their limits, and those that meet one are told so.
limits_hold() {
    local hog bomb
    hog=$(submit 'dd if=/dev/zero of=/dev/null bs=48M count=1')
    bomb=$(submit 'i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; echo all')
    until_ job_is "$hog" failed
    executor job show "$hog" | grep -q out_of_memory || broken "no limit of memory"
    until_ job_is "$bomb" failed
    says "$bomb" "can't fork" || broken "no limit of processes"
}

# Makes the guest a host with an internet: one address there is whom jobs may reach, and one whom they may not.
make_internet() {
    holds ip netns add internet
    holds ip link add up0 type veth peer name down0 netns internet
    holds ip addr add 192.168.77.2/24 dev up0
    holds ip link set up0 up
    holds ip route add default via 192.168.77.1
    holds ip -n internet link set lo up
    holds ip -n internet addr add 1.1.1.1/32 dev lo
    holds ip -n internet addr add 192.168.77.1/24 dev down0
    holds ip -n internet link set down0 up
    holds systemd-run --unit=internet --property=NetworkNamespacePath=/run/netns/internet \
        systemd-socket-activate --accept --inetd --listen=7777 /bin/echo somebody
    until_ answers 1.1.1.1
    holds answers 192.168.77.1
}
answers() { [ "$(cat < "/dev/tcp/$1/7777")" = somebody ]; }

# Jobs reach the internet, and nothing private.
jobs_have_a_network() {
    local job
    job=$(submit 'nc 1.1.1.1 7777; nc 192.168.77.1 7777 || echo closed; ls /sys/class/net')
    until_ job_is "$job" completed
    says "$job" somebody && says "$job" closed && says "$job" eth0 || broken "jobs have no network"
    [ "$(executor job logs "$job" | grep -c somebody)" = 1 ] || broken "a private address is reached"
}

start_server() {
    executor install systemd-unit executor-server > /etc/systemd/system/executor-server.service
    systemctl daemon-reload
    holds systemctl start executor-server
    export EXECUTOR_SERVER_URL=http://127.0.0.1:7080
    EXECUTOR_API_TOKEN=$(cat /var/lib/executor-server/api-token)
    export EXECUTOR_API_TOKEN
}

settings() {
    echo EXECUTOR_FRONTEND_URL=http://127.0.0.1:7080
    sed -n 's/.*"executors.accessToken": *"\([^"]*\)".*/EXECUTOR_FRONTEND_PASSWORD=\1/p' \
        /var/lib/executor-server/site-config.jsonc
    echo EXECUTOR_QUEUE_NAME=batches
    echo EXECUTOR_MAXIMUM_NUM_JOBS=4
    echo EXECUTOR_JOB_MEMORY=32M
    echo EXECUTOR_JOB_PIDS=32
    echo EXECUTOR_JOB_NUM_CPUS=2
    echo EXECUTOR_FIRECRACKER_DISK_SPACE=64M
    echo EXECUTOR_DISK_FLOOR=1M
}

# Of the agent's service: `manage` is systemctl, as whoever runs it.
main_process() { manage show -P MainPID executor; }
is_active() { [ "$(manage show -P ActiveState executor)" = active ]; }
# One that has left has the number 0 for a moment, while its service still counts as active.
is_another_than() {
    local now_is
    now_is=$(main_process)
    [ "$now_is" -gt 0 ] && [ "$now_is" != "$1" ] && is_active
}
# limit GROUP-FILE VALUE: whether a job that runs has that limit.
has_limit() { grep -qx -- "$2" $(find /sys/fs/cgroup -path "*executor-jobs-*.scope/executor-*/*.0/$1"); }

# The agent is replaced and killed while a job runs, and that job does not notice.
a_job_outlives_its_agents() {
    local job first second third
    job=$(submit_gated)
    until_ says "$job" begun
    has_limit memory.max 33554432 && has_limit cpu.max '200000 100000' || broken "a limit is not set"
    first=$(main_process)
    now reload
    holds manage reload executor
    until_ is_another_than "$first"
    second=$(main_process)
    now kill
    holds kill -s KILL "$second"
    until_ is_another_than "$second"
    third=$(main_process)
    now stop
    # Who stops it for good is systemd's watchdog.
    holds kill -s STOP "$third"
    until_ is_another_than "$third"
    holds job_is "$job" processing
    until_ open_gates
    until_ job_is "$job" completed
}

# To restart or stop the service is to let its jobs finish.
drains() {
    local job before
    before=$(main_process)
    job=$(submit_gated)
    until_ says "$job" begun
    now "$1"
    holds manage "$1" --no-block executor
    until_ eval '[ "$(manage show -P StatusText executor)" = "draining: 1 jobs run" ]'
    open_gates || broken "no gate"
    if [ "$1" = stop ]; then
        until_ eval '[ "$(manage show -P ActiveState executor)" = inactive ]'
    else
        until_ is_another_than "$before"
    fi
    until_ job_is "$job" completed
}

no_groups() { [ -z "$(find /sys/fs/cgroup -name 'executor*' ! -name executor-server.service)" ]; }
no_processes() { not grep -qxE 'supervisor|nursery|guardian' /proc/[0-9]*/comm; }
no_disks() { [ -z "$(losetup --list --noheadings)" ]; }
# What an agent has in that directory for jobs.
no_instances() { [ -z "$(ls "$1/agent/oci/instances")" ]; }

nothing_is_left() {
    until_ no_groups
    until_ no_processes
    until_ no_disks
    until_ no_instances "$1"
    holds not grep executor /proc/1/mountinfo
    holds not manage --quiet is-failed executor
}
