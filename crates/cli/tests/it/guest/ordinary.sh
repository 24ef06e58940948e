. /given/words.sh
manage() { as_user systemctl --user "$@"; }
as_user() {
    setpriv --reuid worker --regid worker --init-groups env \
        HOME=/home/worker USER=worker XDG_RUNTIME_DIR="/run/user/$(id -u worker)" "$@"
}
now up
install -m 0755 /given/executor /usr/local/bin/executor
start_server
make_internet
useradd --create-home worker
holds loginctl enable-linger worker
until_ test -S "/run/user/$(id -u worker)/systemd/private"
units=/home/worker/.config/systemd/user
config=/home/worker/.config/executor
holds as_user mkdir -p "$units/executor.service.d" "$config"
executor install systemd-unit executor-user > "$units/executor.service"
printf '[Service]\nWatchdogSec=10s\n' > "$units/executor.service.d/sooner.conf"
settings > "$config/executor.env"
chown worker:worker "$config/executor.env"
chmod 0600 "$config/executor.env"
holds as_user executor image import busybox /given/busybox.tar
holds manage daemon-reload

now start
holds manage start executor
until_ is_active
said=$(journalctl --no-pager _UID=1000 -o cat)
echo "$said" | grep -q 'control groups: v2' || broken "it may use none"
echo "$said" | grep -q 'disk limits can.t be enforced' || broken "it does not say what it can't"
echo "$said" | grep -E 'there is no (memory|pids|cpu) controller' && broken "it says more than that"

now network
jobs_have_a_network
now limits
limits_hold
a_job_outlives_its_agents
drains stop
nothing_is_left /home/worker/.local/share/executor
now end
echo 'ALL OF IT HOLDS'
