//! A process that is not this one's child, but is known for sure.
#![expect(unsafe_code, reason = "a descriptor can't show the reactor that it stays the same")]

use rustix::process::{Signal, pidfd_send_signal};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The process of a supervisor.
pub(super) struct Process {
    pid: String,
    held: AsyncFd<OwnedFd>,
}

impl Process {
    /// The one that `held`, a pidfd, names; its number is for people.
    pub(super) fn new(pid: String, held: OwnedFd) -> io::Result<Self> {
        // SAFETY: the descriptor is owned by what is registered, which never gives it away.
        let held = unsafe { AsyncFd::register_with_interest(held, Interest::READABLE) }?;
        Ok(Self { pid, held })
    }

    pub(super) fn pid(&self) -> &str {
        &self.pid
    }

    /// Waits until it has ended.
    pub(super) async fn wait(&self) {
        // Fails only where nothing can be waited for any more.
        let _ = self.held.readable().await;
    }

    /// Ends it, and waits until it has.
    pub(super) async fn kill(&self) {
        let _ = pidfd_send_signal(self.held.get_ref(), Signal::KILL);
        self.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::process::Command;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn it_is_waited_for_and_can_be_ended() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let held = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let process = Process::new(child.id().to_string(), held).unwrap();
        assert!(timeout(Duration::from_millis(1), process.wait()).await.is_err(), "it lives");
        timeout(Duration::from_secs(30), process.kill()).await.unwrap();
        process.wait().await;
        assert!(!child.wait().unwrap().success());
    }
}
