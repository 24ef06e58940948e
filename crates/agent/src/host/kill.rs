//! Ends a supervisor that does not end by itself.

use crate::supervisor::JobDir;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// How long connecting to it may take; it has nothing to do for that.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Kills the supervisor in `dir`, if it lives. What it has of a sandbox goes with it, by its guardian.
pub(super) async fn kill(dir: &JobDir) -> io::Result<()> {
    let connected = timeout(CONNECT_LIMIT, dir.connect()).await.unwrap_or_else(|late| Err(late.into()))?;
    // The kernel knows who began to listen there, even if that one takes no connections any more.
    let listener = connected.peer_cred()?.pid().and_then(Pid::from_raw).filter(|pid| *pid != getpid());
    let listener = listener.ok_or_else(|| io::Error::other("its process can't be told"))?;
    let process = pidfd_open(listener, PidfdFlags::empty())?;
    // Whoever still holds the lock has lived all the time, so its number can't be another's.
    if dir.is_held() {
        pidfd_send_signal(&process, Signal::KILL)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_kills_itself_or_somebody_who_is_not_there() {
        let jobs = tempfile::tempdir().unwrap();
        let dir = JobDir::create(jobs.path()).unwrap();
        assert!(kill(&dir).await.is_err());
        let (_held, _listener) = (dir.hold().unwrap(), dir.listen().unwrap());
        let fault = kill(&dir).await.unwrap_err();
        assert_eq!(fault.to_string(), "its process can't be told");
    }
}
