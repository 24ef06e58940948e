//! Removing what root in a container left to an agent that is not root: another container does it.

use super::client::Client;
use super::containers::Created;
use super::labels::Origin;
use super::spec::WORKSPACE;
use crate::RuntimeError;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// How long it may take, whatever there is.
const LIMIT: Duration = Duration::from_mins(10);
/// One name at a time: there may be more than one command line holds.
const SCRIPT: &str = r#"cd "$0" && for name in * .[!.]* ..?*; do rm -rf -- "$name"; done"#;

/// What a workspace can be emptied with. Steps run by a shell, so that their image has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cleaner {
    /// An image that a step ran in, by its id.
    pub(super) image: String,
    /// The workspace, as the engine's host has it.
    pub(super) directory: String,
}

impl Cleaner {
    /// Removes what is in the workspace.
    pub(super) async fn run(&self, client: &Client, origin: &Origin) -> Result<(), RuntimeError> {
        let Created { id, .. } = client.create(None, &self.container(origin)).await?;
        let emptied = async {
            client.start(&id).await?;
            client.wait(&id).await
        };
        let emptied = tokio::time::timeout(LIMIT, emptied).await;
        client.remove(&id).await?;
        match emptied {
            Ok(Ok(0)) => Ok(()),
            Ok(Ok(code)) => Err(RuntimeError::Host(format!(
                "the workspace {} could not be emptied by the image {}: its shell ended with {code}",
                self.directory, self.image
            ))),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(RuntimeError::Host(format!(
                "the workspace {} could not be emptied within {LIMIT:?}",
                self.directory
            ))),
        }
    }

    fn container(&self, origin: &Origin) -> serde_json::Value {
        json!({
            "Image": self.image,
            "User": "0",
            "Entrypoint": ["/bin/sh", "-c", SCRIPT, WORKSPACE],
            "Cmd": [],
            "Labels": origin.labels("cleaner", 0),
            "Healthcheck": { "Test": ["NONE"] },
            "HostConfig": {
                "Mounts": [{ "Type": "bind", "Source": self.directory, "Target": WORKSPACE }],
                "NetworkMode": "none",
                "CapDrop": ["ALL"],
                // It is root there, and nobody's files are its own.
                "CapAdd": ["DAC_OVERRIDE", "FOWNER"],
                "SecurityOpt": ["no-new-privileges"],
                "LogConfig": { "Type": "none" },
            },
        })
    }
}
