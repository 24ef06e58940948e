//! Removing what an agent that died has left: containers by their labels, workspaces by their links.

use super::client::Client;
use super::error::EngineError;
use super::incarnation::{self, Dead};
use super::labels::{INCARNATION, OWNER, Origin};
use super::workspace;
use crate::{Reaped, RuntimeError};
use std::collections::BTreeSet;
use std::path::Path;

/// Removes what all dead starts of `owner` left. Those that live, and `own`, are left alone.
pub(super) async fn reap(
    client: &Client,
    state_dir: &Path,
    owner: &str,
    own: &str,
) -> Result<Reaped, RuntimeError> {
    let listed = client.list(&[(OWNER, owner)]).await?;
    let label = |listed: &super::containers::Listed| listed.labels.as_ref()?.get(INCARNATION).cloned();
    let named = listed.iter().filter_map(label).filter(|id| is_name(id));
    let ids: BTreeSet<String> = named.chain(incarnation::all(state_dir)).filter(|id| id != own).collect();
    let mut reaped = Reaped::default();
    for id in ids {
        let found = Dead::find(state_dir, &id);
        let found = found.map_err(RuntimeError::io(format!("lock {}", state_dir.display())))?;
        if let Some(dead) = found {
            reaped.sandboxes += bury(client, owner, &id, &dead).await?;
        }
    }
    Ok(reaped)
}

/// Removes everything of one dead start. Returns how many sandboxes there were.
pub(super) async fn bury(client: &Client, owner: &str, id: &str, dead: &Dead) -> Result<usize, RuntimeError> {
    let containers = remove_containers(client, owner, id).await?;
    let origin = Origin { owner: owner.to_owned(), incarnation: id.to_owned(), executor: String::new() };
    let workspaces = dead.workspaces();
    for (workspace, cleaner) in &workspaces {
        workspace::remove(workspace, cleaner.as_ref(), client, &origin).await?;
    }
    dead.bury()?;
    Ok(workspaces.len().max(containers))
}

/// Removes a start's containers. Returns how many there were.
pub(super) async fn remove_containers(client: &Client, owner: &str, id: &str) -> Result<usize, EngineError> {
    let listed = client.list(&[(OWNER, owner), (INCARNATION, id)]).await?;
    for container in &listed {
        client.remove(&container.id).await?;
    }
    Ok(listed.len())
}

/// A label that became part of a path must not lead anywhere else.
fn is_name(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}
