//! Unpacked layers: added whole, held while in use.

use super::Inner;
use super::lock::Lock;
use super::session::Scratch;
use crate::ImageError;
use crate::digest::{Digest, Hashing};
use crate::unpack::{Budget, Unpacked, unpack};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The unpacked files.
const FILES: &str = "fs";
/// [`Unpacked`] as JSON.
const COUNTED: &str = "counted.json";
/// Shared by who uses the layer, exclusive to who collects it.
pub(super) const LOCK: &str = "lock";

/// Collections that may come between before something else is wrong.
const SETTLE_ATTEMPTS: u32 = 10;

/// Keeps layers from being collected, by this process and by others.
#[derive(Debug)]
pub(crate) struct Hold {
    #[expect(dead_code, reason = "held for its Drop")]
    layers: Vec<LayerHold>,
}

impl Hold {
    pub(super) fn new(layers: Vec<LayerHold>) -> Self {
        Self { layers }
    }
}

/// One layer in use.
#[derive(Debug)]
pub(crate) struct LayerHold {
    pub(crate) diff_id: Digest,
    pub(crate) counted: Unpacked,
    #[expect(dead_code, reason = "held for its Drop")]
    lock: Lock,
}

/// A layer's archive and what is known of it beforehand.
pub(crate) struct LayerSource<R> {
    pub(crate) archive: R,
    /// What the archive must be, as it comes; none for archives on this machine that don't say.
    pub(crate) blob: Option<Digest>,
    /// What it must be when decompressed; none when nothing says so.
    pub(crate) diff_id: Option<Digest>,
}

impl Inner {
    /// Holds a layer of the store; none when it isn't there.
    pub(crate) fn hold_layer(&self, diff_id: &Digest) -> Result<Option<LayerHold>, ImageError> {
        let path = self.layout.layer(diff_id).join(LOCK);
        let Some(lock) = Lock::shared_if_exists(&path)? else { return Ok(None) };
        if !is_still_at(&path, &lock)? {
            // It was collected while we waited for the lock.
            return Ok(None);
        }
        let counted = self.counted(diff_id)?;
        Ok(Some(LayerHold { diff_id: diff_id.clone(), counted, lock }))
    }

    /// What a layer holds.
    pub(super) fn counted(&self, diff_id: &Digest) -> Result<Unpacked, ImageError> {
        let path = self.layout.layer(diff_id).join(COUNTED);
        fs::read(&path)
            .and_then(|json| serde_json::from_slice(&json).map_err(io::Error::from))
            .map_err(ImageError::io("read", &path))
    }

    /// Where overlayfs finds a layer.
    pub(crate) fn layer_files(&self, diff_id: &Digest) -> PathBuf {
        self.layout.layer(diff_id).join(FILES)
    }

    /// Unpacks a layer, checks its digests and adds it to the store. Blocking.
    pub(crate) fn add_layer<R: Read>(
        &self,
        source: LayerSource<R>,
        budget: &Budget,
    ) -> Result<LayerHold, ImageError> {
        let scratch = self.session.scratch()?;
        let files = scratch.path().join(FILES);
        fs::create_dir(&files).map_err(ImageError::io("create the directory", &files))?;
        let mut archive = Hashing::new(source.archive);
        let (diff_id, counted) = unpack(&mut archive, &files, budget, &self.limits)?;
        if let Some(expected) = &source.blob {
            check("a layer as it was sent", expected, &archive.finish())?;
        }
        if let Some(expected) = &source.diff_id {
            check("a layer when decompressed", expected, &diff_id)?;
        }
        self.settle(&scratch, diff_id, counted)
    }

    /// Moves a finished layer to its place. Whoever was faster wins: both are the same.
    fn settle(&self, scratch: &Scratch, diff_id: Digest, counted: Unpacked) -> Result<LayerHold, ImageError> {
        let record = scratch.path().join(COUNTED);
        let json = serde_json::to_vec(&counted).map_err(io::Error::other);
        json.and_then(|json| fs::write(&record, json)).map_err(ImageError::io("write", &record))?;
        // Held before anyone can see the layer, so that it can't be collected before it is used.
        let lock = Lock::shared(&scratch.path().join(LOCK))?;
        sync(scratch.path())?;
        let place = self.layout.layer(&diff_id);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let Err(error) = fs::rename(scratch.path(), &place) else {
                return Ok(LayerHold { diff_id, counted, lock });
            };
            if !is_taken(&error) || attempt == SETTLE_ATTEMPTS {
                return Err(ImageError::io("move a layer to", &place)(error));
            }
            // None when it was collected in this very moment, and the place is free again.
            if let Some(hold) = self.hold_layer(&diff_id)? {
                return Ok(hold);
            }
        }
    }
}

/// File systems differ in how they say it.
fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists)
}

fn check(what: &str, expected: &Digest, actual: &Digest) -> Result<(), ImageError> {
    crate::documents::check_digest(what, expected, actual)
}

/// A layer that survives a power cut with holes in it would be used for ever.
fn sync(directory: &Path) -> Result<(), ImageError> {
    let failed = ImageError::io("write to disk", directory);
    fs::File::open(directory).and_then(|open| rustix::fs::syncfs(open).map_err(Into::into)).map_err(failed)
}

fn is_still_at(path: &Path, lock: &Lock) -> Result<bool, ImageError> {
    let held = lock.file().metadata().map_err(ImageError::io("look at", path))?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(ImageError::io("look at", path)(error)),
    }
}
