//! An image that the engine has.

use super::client::{Ask, Client};
use super::error::EngineError;
use images::Reference;
use serde::Deserialize;

/// What the engine knows of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Stored {
    pub(super) id: String,
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
}

/// Looks for an image by a whole name.
pub(super) async fn find(client: &Client, name: &str) -> Result<Option<Stored>, EngineError> {
    // A reference has nothing in it that a path could take for something else.
    let ask = Ask::get(format!("/images/{name}/json"), "look for an image");
    match client.read::<Stored>(ask).await {
        Ok(image) => Ok(Some(image)),
        Err(error) if error.status() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Stored {
    /// The digests that it has in a repository: Docker knows them of what was pulled from there or pushed to
    /// there; Podman, and Docker where containerd keeps its images, of whatever has a name in it.
    pub(super) fn digests_in(&self, repository: &str) -> Vec<String> {
        let all = self.repo_digests.iter().flatten().filter_map(|name| name.parse::<Reference>().ok());
        let here = all.filter(|name| format!("{}/{}", name.registry(), name.repository()) == repository);
        here.filter_map(|name| name.digest().map(str::to_owned)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_one_repository_however_it_is_written() {
        let [one, two] = ["a", "b"].map(|letter| format!("sha256:{}", letter.repeat(64)));
        let text = format!(
            r#"{{"Id":"sha256:1","RepoDigests":["busybox@{one}","r.example/busybox@{two}","<none>@<none>"],"Other":1}}"#
        );
        let stored: Stored = serde_json::from_str(&text).unwrap();
        assert_eq!(stored.digests_in("docker.io/library/busybox"), [one]);
        assert_eq!(stored.digests_in("r.example/busybox"), [two]);
        assert!(stored.digests_in("r.example/busy").is_empty());
        let bare: Stored = serde_json::from_str(r#"{"Id":"sha256:1","RepoDigests":null}"#).unwrap();
        assert!(bare.digests_in("docker.io/library/busybox").is_empty());
    }
}
