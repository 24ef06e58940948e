//! Whether the engine has a directory of this host where it looks for it.

use super::DockerOptions;
use super::client::{Ask, Client};
use super::error::{EngineError, told};
use super::spec::WORKSPACE;
use serde::Deserialize;
use serde_json::json;
use std::path::Path;

/// What containers that are only made are known by, should one be left.
const LABEL: &str = "executor.doctor";

/// What came of showing the engine a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// It is there for the engine, at this path of the engine's host.
    Seen(String),
    /// It is not there for the engine.
    Unseen(String),
    /// That can't be told; why.
    Unknown(String),
}

/// Has the engine of `options` make a container with a new directory among the workspaces, which is neither
/// started nor kept. That needs an image, whatever it is.
pub async fn sees_workspaces(options: &DockerOptions) -> Sight {
    let marker = tempfile::Builder::new().prefix("executor-doctor-").tempdir_in(&options.workspaces);
    let marker = match &marker {
        Ok(marker) => marker.path(),
        Err(fault) => return Sight::Unknown(format!("no directory could be made to try it with: {fault}")),
    };
    let Some(name) = marker.file_name() else { return Sight::Unknown("it has no name".to_owned()) };
    let parent = options.host_mount_path.as_deref().map_or(options.workspaces.as_path(), Path::new);
    let there = parent.join(name);
    let client = Client::new(options.endpoint.clone());
    look(&client, &there).await.unwrap_or_else(|error| Sight::Unknown(told(&error)))
}

async fn look(client: &Client, there: &Path) -> Result<Sight, EngineError> {
    if client.engine().await?.is_podman() {
        return Ok(Sight::Unknown("Podman looks for a directory when a container starts".to_owned()));
    }
    let Some(image) = any_image(client).await? else {
        return Ok(Sight::Unknown("the engine has no image to try it with".to_owned()));
    };
    let path = there.display().to_string();
    match takes(client, &image, &path).await {
        // An engine that takes anything has shown nothing.
        Ok(()) => Ok(match takes(client, &image, &format!("{path}-that-is-not-there")).await {
            Ok(()) => Sight::Unknown("the engine takes directories that are not there as well".to_owned()),
            Err(error) if is_about_path(&error) => Sight::Seen(path),
            Err(error) => Sight::Unknown(told(&error)),
        }),
        Err(error) if is_about_path(&error) => Ok(Sight::Unseen(path)),
        Err(error) => Err(error),
    }
}

fn is_about_path(error: &EngineError) -> bool {
    let about = |said: &str| said.contains("does not exist") || said.contains("no such file or directory");
    matches!(error, EngineError::Refused { said, .. } if about(said))
}

async fn any_image(client: &Client) -> Result<Option<String>, EngineError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Image {
        id: String,
    }
    let images: Vec<Image> = client.read(Ask::get("/images/json", "list its images")).await?;
    Ok(images.into_iter().next().map(|image| image.id))
}

/// Makes a container with `source` in it, and removes it.
async fn takes(client: &Client, image: &str, source: &str) -> Result<(), EngineError> {
    let container = json!({
        "Image": image,
        "Cmd": ["true"],
        "Labels": { LABEL: "true" },
        "HostConfig": {
            "Mounts": [{ "Type": "bind", "Source": source, "Target": WORKSPACE }],
            "NetworkMode": "none",
        },
    });
    let made = client.create(None, &container).await?;
    client.remove(&made.id).await
}
