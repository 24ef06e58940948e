//! Who cleans up when the agent is killed.
//!
//! One small process per agent. When the agent is gone its sandboxes go too.

use super::{Helper, instance};
use crate::RuntimeError;
use crate::cgroup::Hierarchies;
use crate::guardian::{stand_by, wait_for_end_of_file};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};
use std::time::Duration;

/// What [`super::helper_main`] calls this.
pub(super) const ROLE: &str = "guard";
/// What is cleaned may be busy for a moment, so it is tried this often.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Keeps the guardian waiting.
#[derive(Debug)]
pub(super) struct Guardian {
    child: Child,
}

impl Guardian {
    pub(super) fn spawn(helper: &Helper, state_dir: &Path, owner: &str, id: &str) -> io::Result<Self> {
        let args = [state_dir.as_os_str(), owner.as_ref(), id.as_ref()];
        Ok(Self { child: helper.guardian(ROLE, &args)? })
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// The guardian's own life.
pub(super) fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let (Some(state_dir), Some(owner), Some(id)) = (args.next(), args.next(), args.next()) else {
        return ExitCode::FAILURE;
    };
    let (Ok(owner), Ok(id)) = (owner.into_string(), id.into_string()) else { return ExitCode::FAILURE };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    match runtime.block_on(guard(&PathBuf::from(state_dir), &owner, &id)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

async fn guard(state_dir: &Path, owner: &str, id: &str) -> io::Result<()> {
    // As the agent sees them, whatever is mounted later.
    let host = Hierarchies::detect()?;
    stand_by()?;
    wait_for_end_of_file()?;
    let mut result: Result<(), RuntimeError> = Ok(());
    for _ in 0..ATTEMPTS {
        result = instance::remove(state_dir, owner, id, &host).await.map(drop);
        if result.is_ok() && !instance::exists(state_dir, id) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    result.map_err(io::Error::other)
}
