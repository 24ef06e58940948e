//! Who cleans up when the agent is killed.
//!
//! One small process per agent. When the agent is gone its sandboxes go too.

use super::{Helper, instance};
use crate::RuntimeError;
use crate::cgroup::Hierarchies;
use crate::guardian::{Duty, Guardian, block_on};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What guardians call this duty.
pub(crate) const GUARDED: &str = "oci";
/// What is cleaned may be busy for a moment, so it is tried this often.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(200);

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
    Ok(Box::new(move || block_on(clean(&state_dir, &owner, &id, &host))))
}

async fn clean(state_dir: &Path, owner: &str, id: &str, host: &Hierarchies) -> Result<(), RuntimeError> {
    let mut result: Result<(), RuntimeError> = Ok(());
    for _ in 0..ATTEMPTS {
        result = instance::remove(state_dir, owner, id, host).await.map(drop);
        if result.is_ok() && !instance::exists(state_dir, id) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    result
}
