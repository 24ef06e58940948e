//! Names and the manifests they stand for.

use super::Inner;
use super::layout::digests_in;
use super::lock::Lock;
use super::{Access, LayerHold};
use crate::digest::Digest;
use crate::{ImageError, ImageInfo, Reference};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// One name, as its file has it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) reference: String,
    pub(super) digest: Digest,
    size: u64,
    created_at: i64,
    /// Whether a registry has it. Names of older versions don't say.
    pub(super) pulled: Option<bool>,
}

/// An image that is about to get a name.
pub(crate) struct Publication<'a> {
    pub(crate) reference: &'a Reference,
    pub(crate) manifest: &'a [u8],
    pub(crate) config: &'a [u8],
    /// Held until it has its name.
    pub(crate) layers: &'a [LayerHold],
    /// Whose it is, with its layers.
    pub(crate) access: Access,
    /// Whether a registry has it.
    pub(crate) pulled: bool,
}

impl Inner {
    /// Gives an image a name, in place of any other that had it.
    pub(crate) fn publish(&self, image: &Publication<'_>) -> Result<ImageInfo, ImageError> {
        let digest = Digest::of(image.manifest);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        let record = Record {
            reference: image.reference.to_string(),
            digest: digest.clone(),
            size: image.layers.iter().map(|layer| layer.counted.bytes).sum(),
            created_at: now,
            pulled: Some(image.pulled),
        };
        let path = self.layout.name(image.reference);
        // Shared with other writers, so that no collection comes between blobs and name.
        let _no_collection = Lock::shared(&self.layout.lock())?;
        for content in image.layers.iter().map(|layer| &layer.diff_id).chain([&digest]) {
            self.grant(content, &image.access)?;
        }
        self.write_whole(&self.layout.blob(&Digest::of(image.config)), image.config)?;
        self.write_whole(&self.layout.blob(&digest), image.manifest)?;
        self.write_record(&path, &record)?;
        Ok(record.info(image.reference.clone()))
    }

    /// The manifest that a name stands for.
    pub(crate) fn named(&self, reference: &Reference) -> Result<Option<Digest>, ImageError> {
        Ok(read(&self.layout.name(reference))?.map(|record| record.digest))
    }

    /// All names, sorted.
    pub(super) fn all_names(&self) -> Result<Vec<ImageInfo>, ImageError> {
        let mut all = Vec::new();
        for (_, record) in self.records()? {
            let reference = record.reference.parse()?;
            all.push(record.info(reference));
        }
        all.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok(all)
    }

    /// All names with their files, in no order.
    pub(super) fn records(&self) -> Result<Vec<(PathBuf, Record)>, ImageError> {
        let directory = self.layout.names();
        let mut all = Vec::new();
        for file in digests_in(&directory)? {
            let path = directory.join(file.hex());
            // One that is gone was removed in the meantime.
            if let Some(record) = read(&path)? {
                all.push((path, record));
            }
        }
        Ok(all)
    }

    /// Takes a name away; whether it was there.
    pub(super) fn forget(&self, reference: &Reference) -> Result<bool, ImageError> {
        let path = self.layout.name(reference);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(ImageError::io("remove", &path)(error)),
        }
    }

    pub(super) fn write_record(&self, path: &Path, record: &Record) -> Result<(), ImageError> {
        let json = serde_json::to_vec(record).map_err(io::Error::other);
        self.write_whole(path, &json.map_err(ImageError::io("write", path))?)
    }

    /// Writes a file that others see whole or not at all, also after a power cut.
    fn write_whole(&self, path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
        let scratch = self.session.scratch()?;
        let unfinished = scratch.path().join("file");
        fs::File::create(&unfinished)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&unfinished, path))
            .map_err(ImageError::io("write", path))
    }
}

impl Record {
    pub(super) fn info(self, reference: Reference) -> ImageInfo {
        ImageInfo { reference, digest: self.digest.to_string(), size: self.size, created_at: self.created_at }
    }
}

pub(super) fn read(path: &Path) -> Result<Option<Record>, ImageError> {
    match fs::read(path) {
        Ok(json) => serde_json::from_slice(&json).map(Some).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
    .map_err(ImageError::io("read", path))
}
