//! A job keeps its heartbeat, and so its lease, while its host has no room or no processor left.
//!
//! `docs/benchmarks.md` tells the largest gaps that were measured by these tests.

use crate::forwarder::Forwarder;
use crate::leftovers::nothing_is_left;
use crate::support::{GATE, Process, SOON, System, wait};
use std::time::{Duration, Instant};
use testkit::SmallDisk;

/// A job ends 8 s after the last heartbeat that came through.
const LEASE: &[&str] = &["--lease", "10s"];
/// How long the need lasts: more than one whole lease.
const NEED: Duration = Duration::from_secs(14);
/// Heartbeats are due each 2.5 s. Two that are further apart would have cost a job such a lease.
const LARGEST_GAP: Duration = Duration::from_secs(8);
/// Room for an agent, an image and what a step prints at first.
const DISK: u64 = 96 << 20;

/// An agent whose heartbeats come by `proxy`.
fn agent_behind(proxy: &Forwarder, system: &mut System) -> Process {
    let mut command = system.agent_command();
    command.env("EXECUTOR_FRONTEND_URL", proxy.url());
    Process::start(command, "agent ")
}

/// Has the need last, which `renew` sees to, and then judges the heartbeats since it began.
fn bear(proxy: &Forwarder, what: &str, renew: impl Fn()) {
    let begun = Instant::now();
    wait(SOON, "the need to last for long enough", || {
        renew();
        (begun.elapsed() > NEED).then_some(())
    });
    let end = Instant::now();
    let beats = proxy.heartbeats();
    // The last one before it began is where the first gap begins.
    let first = beats.partition_point(|beat| *beat < begun).saturating_sub(1);
    let marks: Vec<Instant> = beats[first..].iter().copied().chain([end]).collect();
    let gaps = || marks.windows(2).map(|two| two[1] - two[0]);
    let largest = gaps().max().unwrap();
    #[expect(clippy::print_stdout, reason = "for the one who writes the largest gap down")]
    {
        println!("{what} for {:?}: {} heartbeats, largest gap {largest:?}", end - begun, marks.len() - 2);
    }
    assert!(largest < LARGEST_GAP, "{what}: {:?}", gaps().collect::<Vec<_>>());
}

#[test]
fn a_full_disk_costs_a_job_neither_its_heartbeat_nor_its_lease() {
    let test = "a_full_disk_costs_a_job_neither_its_heartbeat_nor_its_lease";
    let Some(disk) = SmallDisk::mount(test, DISK) else { return };
    let floor = [("EXECUTOR_DISK_FLOOR", "16M"), ("EXECUTOR_MAXIMUM_NUM_JOBS", "2")];
    let Some(mut system) = System::with_agents_on(&disk, test, LEASE, &floor) else { return };
    let proxy = Forwarder::to(&system.url());
    let agent = agent_behind(&proxy, &mut system);
    // More than is kept in memory, so that some of it finds no room.
    let printing = "while :; do i=$((i+1)); printf 'line %0250d\\n' $i; usleep 10000; done";
    // It has written to its own disk before the host's has no room for that: what is lost of it would be its end.
    let gate = "while [ -e /data/gate ]; do usleep 20000; done";
    let id = system.submit(&format!(
        "{{ set +x; }} 2>/dev/null; touch /data/gate; sync -f /data; echo begun; ({printing}) & {gate}; kill $!; wait; \
         echo the-end"
    ));
    system.wait_for_log(&id, "begun");

    disk.fill(0);
    // The dequeue that is under way gets it; no other is sent before there is room.
    let waiting = system.submit("echo at-last");
    bear(&proxy, "disk full", || disk.fill_again());
    let job = system.show(&id);
    assert_eq!((&job["state"], &job["attempt"]), (&"processing".into(), &1.into()), "{job}");
    let job = system.show(&waiting);
    assert_eq!((&job["state"], &job["reason"]), (&"errored".into(), &"host_disk_full".into()), "{job}");
    disk.make_room();
    system.open_gates(&agent);
    let job = system.wait_for_state(&id, "completed");
    assert_eq!(job["attempt"], 1, "{job}");
    let log = system.ok(&["job", "logs", &id]);
    assert!(log.contains("left out here; they could not be stored: No space left on device"), "{log}");
    assert!(log.contains("\nthe-end\n"), "{log}");

    system.wait_for_state(&waiting, "completed");
    agent.stop();
    nothing_is_left(&disk.path());
}

#[test]
fn every_core_busy_costs_a_job_neither_its_heartbeat_nor_its_lease() {
    let test = "every_core_busy_costs_a_job_neither_its_heartbeat_nor_its_lease";
    let two = [("EXECUTOR_MAXIMUM_NUM_JOBS", "2")];
    let Some(mut system) = System::serving(test, LEASE, &two) else { return };
    let proxy = Forwarder::to(&system.url());
    let agent = agent_behind(&proxy, &mut system);
    let busy = "for i in 1 2 3 4 5 6 7 8; do (while :; do :; done) & done; echo begun";
    let ids = [1, 2].map(|_| system.submit(&format!("{{ set +x; }} 2>/dev/null; {busy}; {GATE}; echo kept")));
    for id in &ids {
        system.wait_for_log(id, "begun");
    }
    bear(&proxy, "every core busy", || {});
    for id in &ids {
        wait(SOON, "the job to end", || {
            system.open_gates_there_are(&agent);
            let job = system.show(id);
            (job["state"] == "completed").then(|| assert_eq!(job["attempt"], 1, "{job}"))
        });
    }
    agent.stop();
    nothing_is_left(system.dir.path());
}
