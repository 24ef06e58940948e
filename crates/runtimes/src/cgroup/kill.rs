//! Ending everything in a group, and removing it.

use super::group::subgroups;
use super::{Controller, Group, Place};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long killed processes may take to go. Processes in uninterruptible sleep go when their
/// disk answers.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How long the kernel may hold on to an empty group: until the processes that were killed in it, which it lists no more,
/// have come to their end, and the last of them unmounts a disk on the way.
const REMOVE_LIMIT: Duration = KILL_LIMIT;
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

impl Group {
    /// Sends `signal` to every process except `spared`, without waiting for any effect.
    pub(crate) fn signal(&self, signal: Signal, spared: Option<u32>) {
        let spared = spared.and_then(|pid| Pid::from_raw(pid.cast_signed()));
        // A descriptor keeps a number from being given to another process meanwhile; what left
        // the group since it was listed is none of ours.
        let open = |pid: &Pid| Some((*pid, pidfd_open(*pid, PidfdFlags::empty()).ok()?));
        let held: Vec<_> =
            self.processes().iter().filter(|pid| Some(**pid) != spared).filter_map(open).collect();
        let still = self.processes();
        for (_, process) in held.iter().filter(|(pid, _)| still.contains(pid)) {
            let _ = pidfd_send_signal(process, signal);
        }
    }

    /// Kills every process and returns when there are none.
    pub(crate) async fn kill(&self) -> io::Result<()> {
        wait_for(KILL_LIMIT, || {
            if self.is_empty() {
                return Ok(());
            }
            self.kill_once();
            Err(io::Error::new(io::ErrorKind::TimedOut, "processes of a sandbox outlive SIGKILL"))
        })
        .await
    }

    /// Removes the empty group.
    pub(crate) async fn remove(&self) -> io::Result<()> {
        wait_for(REMOVE_LIMIT, || self.directories.all().try_for_each(remove_tree)).await
    }

    /// Removes empty groups below, which some runtimes make. What is not empty stays.
    pub(crate) fn remove_below(&self) {
        for below in self.directories.all().flat_map(subgroups) {
            let _ = remove_tree(&below);
        }
    }

    /// Removes a group that nothing has entered yet.
    pub(crate) fn remove_now(&self) {
        let _ = self.directories.all().try_for_each(remove_tree);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.directories.all().all(|path| processes_below(path).is_empty())
    }

    fn kill_once(&self) {
        let killed =
            self.directories.v2.as_ref().is_some_and(|path| fs::write(path.join("cgroup.kill"), "1").is_ok());
        // A process that is in one hierarchy only, because it died or was caught while it entered
        // the group, is reached one by one.
        if !killed || !self.is_empty() {
            self.freeze(true);
            for pid in self.processes() {
                let _ = kill_process(pid, Signal::KILL);
            }
            self.freeze(false);
        }
    }

    /// Frozen processes can't fork between being listed and being killed.
    fn freeze(&self, frozen: bool) {
        let _ = match self.directories.place(Controller::Freezer) {
            Some(Place::V1(path) | Place::V2(path)) => {
                fs::write(path.join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" })
            }
            None => match &self.directories.v2 {
                Some(path) => fs::write(path.join("cgroup.freeze"), if frozen { "1" } else { "0" }),
                None => Ok(()),
            },
        };
    }

    fn processes(&self) -> Vec<Pid> {
        let mut pids: Vec<Pid> = self.directories.all().flat_map(processes_below).collect();
        pids.sort_unstable_by_key(|pid| pid.as_raw_nonzero());
        pids.dedup();
        pids
    }
}

/// Processes of a group and of those below it, which some runtimes make.
fn processes_below(path: &Path) -> Vec<Pid> {
    let listed = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    let own = listed.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?));
    own.chain(subgroups(path).iter().flat_map(|below| processes_below(below))).collect()
}

fn remove_tree(path: &Path) -> io::Result<()> {
    subgroups(path).iter().try_for_each(|below| remove_tree(below))?;
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Tries until it works or `limit` is over, pausing a little longer each time.
async fn wait_for(limit: Duration, mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt() {
            Err(error) if start.elapsed() >= limit => return Err(error),
            Err(_) => tokio::time::sleep(pause).await,
            Ok(()) => return Ok(()),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
