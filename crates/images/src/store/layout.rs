//! Where everything is on disk.

use crate::digest::Digest;
use crate::{ImageError, Reference};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The directories of a store.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

/// Layers hold setuid programs of strangers, which no user of this machine may reach by a path.
const PRIVATE: u32 = 0o700;

impl Layout {
    /// Makes the directories that are missing.
    pub(super) fn create(root: PathBuf) -> Result<Self, ImageError> {
        let layout = Self { root };
        for directory in [
            layout.root.clone(),
            layout.blobs(),
            layout.layers(),
            layout.names(),
            layout.access(),
            layout.tmp(),
        ] {
            DirBuilder::new()
                .recursive(true)
                .mode(PRIVATE)
                .create(&directory)
                .map_err(ImageError::io("create the directory", &directory))?;
        }
        Ok(layout)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(super) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(super) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers().join(diff_id.hex())
    }

    pub(super) fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    /// References have characters and lengths that file names can't have, so they are digested.
    pub(super) fn name(&self, reference: &Reference) -> PathBuf {
        self.names().join(Digest::of(reference.to_string().as_bytes()).hex())
    }

    pub(super) fn access(&self) -> PathBuf {
        self.root.join("access")
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
}

/// Names in a directory, in no order.
pub(super) fn names_in(directory: &Path) -> Result<Vec<String>, ImageError> {
    fs::read_dir(directory)
        .and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned())).collect()
        })
        .map_err(ImageError::io("list", directory))
}

/// The digests among the names in a directory.
pub(super) fn digests_in(directory: &Path) -> Result<Vec<Digest>, ImageError> {
    Ok(names_in(directory)?.iter().filter_map(|name| Digest::from_hex(name)).collect())
}
