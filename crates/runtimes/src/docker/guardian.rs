//! Who cleans up when the agent is killed.
//!
//! One small process per agent. When the agent is gone its containers go too.

use super::client::Client;
use super::incarnation::{self, Dead};
use super::reap;
use super::{Endpoint, Origin};
use crate::RuntimeError;
use crate::guardian::{stand_by, wait_for_end_of_file};
use crate::oci::Helper;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};
use std::time::{Duration, Instant};

/// What [`crate::helper_main`] calls this.
pub(crate) const ROLE: &str = "guard-docker";
/// How long an engine that is out of reach is waited for. After that the agent's next start cleans up.
const WAIT_LIMIT: Duration = Duration::from_mins(10);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The engine may still be making what the agent asked for when it died, so one looks again.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// Keeps the guardian waiting.
#[derive(Debug)]
pub(super) struct Guardian {
    child: Child,
}

impl Guardian {
    pub(super) fn spawn(
        helper: &Helper,
        endpoint: &Endpoint,
        state_dir: &Path,
        origin: &Origin,
    ) -> io::Result<Self> {
        let endpoint = endpoint.to_string();
        let (owner, incarnation) = (origin.owner.as_ref(), origin.incarnation.as_ref());
        let args = [endpoint.as_ref(), owner, incarnation, state_dir.as_os_str()];
        Ok(Self { child: helper.guardian(ROLE, &args)? })
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// The guardian's own life.
pub(crate) fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let [endpoint, owner, id, state_dir] = args.as_slice() else { return ExitCode::FAILURE };
    let endpoint = endpoint.to_str().and_then(|text| text.parse().ok());
    let (Some(endpoint), Some(owner), Some(id)) = (endpoint, owner.to_str(), id.to_str()) else {
        return ExitCode::FAILURE;
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let guarded = runtime.block_on(guard(&Client::new(endpoint), owner, id, &PathBuf::from(state_dir)));
    if guarded.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn guard(client: &Client, owner: &str, id: &str, state_dir: &Path) -> Result<(), RuntimeError> {
    stand_by().map_err(RuntimeError::io("get ready"))?;
    wait_for_end_of_file().map_err(RuntimeError::io("wait for the agent"))?;
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match clean(client, owner, id, state_dir).await {
            Ok(true) => return Ok(()),
            Err(error) if begun.elapsed() > WAIT_LIMIT => return Err(error),
            Ok(false) if begun.elapsed() > WAIT_LIMIT => return Ok(()),
            Ok(false) | Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether nothing is left.
async fn clean(client: &Client, owner: &str, id: &str, state_dir: &Path) -> Result<bool, RuntimeError> {
    let locked = RuntimeError::io(format!("lock {}", state_dir.display()));
    let Some(dead) = Dead::find(state_dir, id).map_err(locked)? else {
        // The kernel closes an agent's pipes and locks one after the other, so it may still be about to die.
        // Or its next start is cleaning up.
        return Ok(!incarnation::exists(state_dir, id));
    };
    if !incarnation::exists(state_dir, id) {
        return Ok(true);
    }
    if dead.had_jobs() {
        reap::remove_containers(client, owner, id).await?;
        tokio::time::sleep(SECOND_LOOK).await;
        reap::bury(client, owner, id, &dead).await?;
    } else {
        dead.bury()?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::incarnation::Incarnation;
    use super::*;

    #[tokio::test]
    async fn an_agent_that_is_about_to_die_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let nobody = Client::new("unix:///nowhere".parse().unwrap());
        let dying = Incarnation::create(dir.path()).unwrap();
        let id = dying.id.clone();
        assert!(!clean(&nobody, "owner", &id, dir.path()).await.unwrap());
        drop(dying);
        assert!(clean(&nobody, "owner", &id, dir.path()).await.unwrap());
        assert!(!incarnation::exists(dir.path(), &id));
        assert!(clean(&nobody, "owner", &id, dir.path()).await.unwrap(), "somebody else has done it");
    }
}
