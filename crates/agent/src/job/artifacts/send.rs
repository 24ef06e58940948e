//! Delivering files that a job leaves.

use super::find::{Found, open_found};
use crate::api::{Api, ApiError, JobAuth, retry};
use crate::error::chain;
use crate::job::Failure;
use http::StatusCode;
use jobs::EndReason;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;
use wire::additions::KeptArtifact;

/// How long one file is tried before the job ends in error.
const PATIENCE: Duration = Duration::from_mins(30);

/// Delivers one file: whole, or again.
pub(super) async fn send(
    api: &Api,
    auth: &JobAuth,
    name: &str,
    workspace: &Path,
    file: &Found,
) -> Result<KeptArtifact, Failure> {
    let Found { path, .. } = file;
    let once = || async {
        let (content, size) = match open_found(workspace, path) {
            Ok(opened) => opened,
            Err(failure) => return Ok(Err(failure)),
        };
        match api.put_artifact(auth, (name, path), content, size).await {
            // It will not have more room for being asked again and again.
            Err(ApiError::Status { status: StatusCode::INSUFFICIENT_STORAGE, .. }) => {
                Ok(Err(not_kept(name, path, "the control plane has no room for it")))
            }
            sent => sent.map(Ok),
        }
    };
    match timeout(PATIENCE, retry("deliver an artifact", once)).await {
        Ok(Ok(kept)) => kept,
        Ok(Err(fault @ ApiError::Status { status: StatusCode::PAYLOAD_TOO_LARGE, .. })) => Err(Failure::new(
            EndReason::BadJob,
            format!(
                "artifact {name:?}: the control plane takes no file as large as {path:?}: {}",
                chain(&fault)
            ),
        )),
        Ok(Err(fault)) => Err(not_kept(name, path, &chain(&fault))),
        Err(_) => Err(not_kept(name, path, "it could not be delivered in half an hour")),
    }
}

fn not_kept(name: &str, path: &str, why: &str) -> Failure {
    let message = format!("artifact {name:?}: {path:?} could not be kept: {why}");
    Failure::new(EndReason::ArtifactNotKept { artifact: name.to_owned() }, message)
}
