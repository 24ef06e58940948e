//! Who cleans up when the agent is killed.
//!
//! One small process per agent. When the agent is gone its containers go too.

use super::client::Client;
use super::incarnation::{self, Dead};
use super::reap;
use super::{Endpoint, Origin};
use crate::RuntimeError;
use crate::guardian::{Duty, Guardian, block_on, until_done};
use crate::oci::Helper;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What guardians call this duty.
pub(crate) const GUARDED: &str = "docker";
/// The engine may still be making what the agent asked for when it died, so one looks again.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// Has one start of an agent guarded.
pub(super) fn guard(
    helper: &Helper,
    endpoint: &Endpoint,
    state_dir: &Path,
    origin: &Origin,
) -> io::Result<Guardian> {
    let (owner, incarnation) = (origin.owner.as_str(), origin.incarnation.as_str());
    let endpoint = endpoint.to_string();
    helper.guardian(&[GUARDED.into(), endpoint.into(), owner.into(), incarnation.into(), state_dir.into()])
}

/// What the guardian of such a start has to do.
pub(crate) fn duty(args: &[OsString]) -> io::Result<Duty> {
    let [endpoint, owner, id, state_dir] = args else { return Err(io::ErrorKind::InvalidInput.into()) };
    let endpoint = endpoint.to_str().and_then(|text| text.parse().ok());
    let (Some(endpoint), Some(owner), Some(id)) = (endpoint, owner.to_str(), id.to_str()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let (owner, id, state_dir) = (owner.to_owned(), id.to_owned(), PathBuf::from(state_dir));
    Ok(Box::new(move || block_on(clean_up(&Client::new(endpoint), &owner, &id, &state_dir))))
}

async fn clean_up(client: &Client, owner: &str, id: &str, state_dir: &Path) -> Result<(), RuntimeError> {
    let what = format!("what the start {id} left in {}", state_dir.display());
    until_done(&what, || clean(client, owner, id, state_dir)).await
}

/// Whether nothing is left.
async fn clean(client: &Client, owner: &str, id: &str, state_dir: &Path) -> Result<bool, RuntimeError> {
    let locked = RuntimeError::io(format!("lock {}", state_dir.display()));
    let Some(dead) = Dead::find(state_dir, id).map_err(locked)? else {
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
        let dying = Incarnation::create(dir.path(), Incarnation::new_id().unwrap()).unwrap();
        let id = dying.id.clone();
        assert!(!clean(&nobody, "owner", &id, dir.path()).await.unwrap());
        drop(dying);
        assert!(clean(&nobody, "owner", &id, dir.path()).await.unwrap());
        assert!(!incarnation::exists(dir.path(), &id));
        assert!(clean(&nobody, "owner", &id, dir.path()).await.unwrap(), "somebody else has done it");
    }
}
