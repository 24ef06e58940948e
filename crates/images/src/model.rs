//! Plain data in and out of the image store.

use crate::Reference;
use crate::store::Hold;
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

/// Hears how a pull goes on.
pub trait Progress: Send + Sync {
    /// One line for people, without a newline.
    fn line(&self, text: &str);
}
