//! What a container used, read from its control group when the engine runs on this host.
//!
//! The group is gone some milliseconds after the container's first process is, long before the engine
//! tells of it. So that process is watched, and the counters are read when it ends.

use super::client::Client;
use crate::cgroup::{Group, Reading};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, OnceLock, PoisonError};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A container's counters, as far as they can be had.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    found: OnceLock<(Group, AsyncFd<OwnedFd>)>,
    reading: Mutex<Option<Reading>>,
}

impl Gauge {
    /// Finds the container's group, unless it was found before, and reads it when its first process ends.
    pub(super) async fn follow(&self, client: &Client, id: &str) {
        if self.found.get().is_none() {
            self.locate(client, id).await;
        }
        self.read();
        if let Some((_, process)) = self.found.get()
            && process.readable().await.is_ok()
        {
            self.read();
        }
    }

    /// Finds the container's group. One that has ended already has none, nor has one on another host.
    pub(super) async fn locate(&self, client: &Client, id: &str) {
        let Ok(state) = client.state(id).await else { return };
        let Some(pid) = i32::try_from(state.pid).ok().and_then(Pid::from_raw) else { return };
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        // Asked after the descriptor was opened, so that both are of one process.
        let Some(group) = Group::of_process(state.pid, id) else { return };
        #[expect(deprecated, reason = "its successor is unsafe for what an owned descriptor keeps to")]
        let watched = AsyncFd::with_interest(process, Interest::READABLE);
        if let Ok(watched) = watched {
            let _ = self.found.set((group, watched));
        }
    }

    pub(super) fn group(&self) -> Option<&Group> {
        self.found.get().map(|(group, _)| group)
    }

    pub(super) fn reading(&self) -> Option<Reading> {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self) {
        let Some(reading) = self.group().map(Group::read) else { return };
        // A group that is gone counts nothing.
        if reading.cpu.is_some() || reading.peak_memory.is_some() {
            *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
        }
    }
}
