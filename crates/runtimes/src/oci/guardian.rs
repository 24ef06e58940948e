//! Who cleans up when the agent is killed.
//!
//! One small process per agent. When the agent is gone its sandboxes go too.

use super::{Helper, instance};
use crate::RuntimeError;
use crate::cgroup::Hierarchies;
use crate::guardian::{Duty, Guardian, block_on, until_done};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// What guardians call this duty.
pub(crate) const GUARDED: &str = "oci";

/// Has one start of an agent guarded.
pub(super) fn guard(helper: &Helper, state_dir: &Path, owner: &str, id: &str) -> io::Result<Guardian> {
    helper.guardian(&[GUARDED.into(), state_dir.into(), owner.into(), id.into()])
}

/// What the guardian of such a start has to do.
pub(crate) fn duty(args: &[OsString]) -> io::Result<Duty> {
    let [state_dir, owner, id] = args else { return Err(io::ErrorKind::InvalidInput.into()) };
    let (Some(owner), Some(id)) = (owner.to_str(), id.to_str()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let (state_dir, owner, id) = (PathBuf::from(state_dir), owner.to_owned(), id.to_owned());
    // As the agent sees them, whatever is mounted later.
    let host = Hierarchies::detect()?;
    Ok(Box::new(move || block_on(clean_up(&state_dir, &owner, &id, &host))))
}

async fn clean_up(state_dir: &Path, owner: &str, id: &str, host: &Hierarchies) -> Result<(), RuntimeError> {
    let what = format!("what the start {id} left in {}", state_dir.display());
    until_done(&what, || clean(state_dir, owner, id, host)).await
}

/// Whether nothing is left.
async fn clean(state_dir: &Path, owner: &str, id: &str, host: &Hierarchies) -> Result<bool, RuntimeError> {
    if instance::exists(state_dir, id) {
        instance::remove(state_dir, owner, id, host).await?;
    }
    Ok(!instance::exists(state_dir, id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FlockOperation, flock};
    use std::fs::{self, File};
    use std::time::Duration;
    use tokio::time::sleep;

    /// A start that left something, of which something still works on the host.
    fn in_use(state_dir: &Path) -> File {
        let dir = state_dir.join("instances/dead");
        fs::create_dir_all(&dir).unwrap();
        let lock = File::create(dir.join("lock")).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        lock
    }

    async fn clean_up_in(state_dir: PathBuf) -> Result<(), RuntimeError> {
        clean_up(&state_dir, "nobody-at-all", "dead", &Hierarchies::detect().unwrap()).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_works_on_after_its_agent_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let lock = in_use(dir.path());
        let cleaning = tokio::spawn(clean_up_in(dir.path().to_owned()));
        sleep(Duration::from_mins(5)).await;
        assert!(!cleaning.is_finished());
        // Not by closing it: a copy of this process that another test has just made may hold it open a while.
        flock(&lock, FlockOperation::Unlock).unwrap();
        cleaning.await.unwrap().unwrap();
        assert!(!instance::exists(dir.path(), "dead"));
        clean_up_in(dir.path().to_owned()).await.expect("somebody else has done it");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_never_given_back_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let _lock = in_use(dir.path());
        let fault = clean_up_in(dir.path().to_owned()).await.unwrap_err().to_string();
        assert!(fault.contains("dead") && fault.contains("still in use after 10 minutes"), "{fault}");
    }
}
