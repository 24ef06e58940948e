. /given/words.sh
manage() { systemctl "$@"; }
now up
install -m 0755 /given/executor /usr/local/bin/executor
executor install systemd-unit executor > /etc/systemd/system/executor.service
start_server
make_internet
install -m 0600 /dev/null /etc/systemd/system/executor.env
settings > /etc/systemd/system/executor.env
holds executor image import --data-dir /var/lib/executor busybox /given/busybox.tar
mkdir /etc/systemd/system/executor.service.d
printf '[Service]\nWatchdogSec=10s\n' > /etc/systemd/system/executor.service.d/sooner.conf
systemctl daemon-reload

now start
# It is active once the control plane has answered, and not before.
holds systemctl stop executor-server
holds systemctl start --no-block executor
until_ eval '[ "$(manage show -P StatusText executor)" = "waiting for the control plane to answer" ]'
holds not is_active
holds systemctl start executor-server
until_ is_active

now network
jobs_have_a_network
now limits
limits_hold
a_job_outlives_its_agents
drains restart
now doctor
doctor=$(systemd-run --quiet --wait --pipe --property=Delegate=yes /usr/local/bin/executor doctor 2>&1)
echo "$doctor" | grep -E 'warning  *(oci|cgroup)\.' && broken "the doctor is wrong: $doctor"
drains stop
nothing_is_left /var/lib/executor
now end
echo 'ALL OF IT HOLDS'
