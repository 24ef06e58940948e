//! Plain data in and out of the image store.

use crate::Reference;
use crate::store::Hold;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// An image that is ready to be a root file system.
#[derive(Debug, Clone)]
pub struct Image {
    /// The reference that was asked for.
    pub reference: Reference,
    /// The manifest's digest, `sha256:…`: what was asked for is pinned to this.
    pub digest: String,
    /// How the image wants to be run.
    pub config: ImageConfig,
    /// Unpacked layers, the lowest first; each a directory in overlayfs' own form.
    pub layers: Vec<PathBuf>,
    /// While this lives, garbage collection leaves the layers alone.
    #[expect(dead_code, reason = "held for its Drop")]
    pub(crate) hold: Arc<Hold>,
}

/// How an image wants to be run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `NAME=value` pairs.
    pub env: Vec<String>,
    /// Working directory; empty means `/`.
    pub working_dir: String,
    /// `user[:group]`, by name or number; empty means root.
    pub user: String,
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its name and tag.
    pub reference: Reference,
    /// The manifest's digest.
    pub digest: String,
    /// Bytes of its layers, unpacked.
    pub size: u64,
    /// When it was imported or pulled, in seconds since 1970.
    pub created_at: i64,
}

/// Credentials by registry host, as a Docker configuration names them.
#[derive(Debug, Clone, Default)]
pub struct RegistryCredentials {
    /// User and password by registry host.
    pub by_host: BTreeMap<String, (String, SecretString)>,
}

impl RegistryCredentials {
    /// What there is for `registry`. Keys may be hosts or old API addresses.
    pub fn for_registry(&self, registry: &str) -> Option<&(String, SecretString)> {
        let is_meant = |key: &str| host_of(key) == registry;
        self.by_host
            .get(registry)
            .or_else(|| self.by_host.iter().find(|(key, _)| is_meant(key)).map(|(_, pair)| pair))
    }
}

fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    match rest.split('/').next().unwrap_or(rest) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

/// Hears how a pull goes on.
pub trait Progress: Send + Sync {
    /// One line for people, without a newline.
    fn line(&self, text: &str);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_under_any_spelling() {
        let pair = |user: &str| (user.to_owned(), SecretString::from("secret"));
        let by_host =
            [("https://index.docker.io/v1/", "hub"), ("ghcr.io", "gh"), ("http://127.0.0.1:5000", "local")];
        let all = RegistryCredentials {
            by_host: by_host.iter().map(|(key, user)| ((*key).to_owned(), pair(user))).collect(),
        };
        let user = |registry: &str| all.for_registry(registry).map(|(user, _)| user.as_str());
        assert_eq!(
            (user("docker.io"), user("ghcr.io"), user("127.0.0.1:5000")),
            (Some("hub"), Some("gh"), Some("local"))
        );
        assert_eq!((user("quay.io"), user("127.0.0.1:5001"), user("io")), (None, None, None));
    }
}
