//! Removing what nobody needs.

use super::Inner;
use super::layers::LOCK;
use super::layout::digests_in;
use super::lock::Lock;
use super::session::Scratch;
use crate::ImageError;
use crate::digest::Digest;
use crate::documents::{Configuration, Document, digest_of};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// What a collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Layers.
    pub layers: u64,
    /// Bytes of file contents in those layers.
    pub bytes: u64,
}

/// Blobs and layers that names lead to.
#[derive(Default)]
struct Needed(HashSet<Digest>);

impl Inner {
    pub(super) fn collect_garbage(&self) -> Result<Collected, ImageError> {
        // What is moved in here vanishes with it, at the next start if we die before.
        let bin = self.scratch()?;
        let collected = self.move_garbage(&bin)?;
        drop(bin);
        Ok(collected)
    }

    /// Deciding is quick and locked, deleting is slow and isn't.
    fn move_garbage(&self, bin: &Scratch) -> Result<Collected, ImageError> {
        let _nobody_publishes = Lock::exclusive(&self.layout.lock())?;
        let needed = self.needed()?;
        for digest in digests_in(&self.layout.blobs())? {
            if !needed.0.contains(&digest) {
                let blob = self.layout.blob(&digest);
                fs::remove_file(&blob).map_err(ImageError::io("remove", &blob))?;
            }
        }
        let mut collected = Collected::default();
        for diff_id in digests_in(&self.layout.layers())? {
            if !needed.0.contains(&diff_id)
                && let Some(bytes) = self.move_layer(&diff_id, bin.path())?
            {
                collected.layers += 1;
                collected.bytes += bytes;
            }
        }
        self.collect_access(&needed.0)?;
        Ok(collected)
    }

    /// Moves a layer away unless someone uses it; gives its bytes.
    fn move_layer(&self, diff_id: &Digest, bin: &Path) -> Result<Option<u64>, ImageError> {
        let layer = self.layout.layer(diff_id);
        let Some(_unused) = Lock::try_exclusive(&layer.join(LOCK))? else { return Ok(None) };
        let bytes = self.counted(diff_id).map_or(0, |counted| counted.bytes);
        fs::rename(&layer, bin.join(diff_id.hex())).map_err(ImageError::io("move away", &layer))?;
        Ok(Some(bytes))
    }

    /// Follows every name. A name whose documents are gone leads nowhere and keeps nothing.
    fn needed(&self) -> Result<Needed, ImageError> {
        let mut needed = Needed::default();
        for info in self.all_names()? {
            if let Some(digest) = Digest::parse(&info.digest)
                && needed.0.insert(digest.clone())
                && let Some(manifest) = self.blob(&digest)?
                && let Ok(Document::Manifest(manifest)) = Document::parse(&manifest, &info.digest)
            {
                let config = digest_of(manifest.config())?;
                if let Some(bytes) = self.blob(&config)? {
                    needed.0.extend(Configuration::parse(&bytes, &info.digest, &self.limits)?.diff_ids);
                }
                needed.0.insert(config);
            }
        }
        Ok(needed)
    }
}
