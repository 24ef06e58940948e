//! Letting go of pulled images that nobody used for long, or that used the disk for longest.
//!
//! When a name was last used is the modification time of its file: noting that changes nothing else.
//! What was imported is nobody's to fetch again, so it stays until somebody removes it.

use super::layers::LOCK;
use super::lock::Lock;
use super::{Access, Collected, Inner};
use crate::digest::Digest;
use crate::{ImageError, ImageInfo, Reference};
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A use is noted when the last one that was is this long ago.
const NOTED_EVERY: Duration = Duration::from_mins(1);

/// Which pulled images to keep.
pub struct Keep<'a> {
    /// What time it is.
    pub now: SystemTime,
    /// Those that were used within this time, while there is room.
    pub used_within: Duration,
    /// Those that were used within this time, whether there is room or not.
    pub always_within: Duration,
    /// Whether the disk is short of room, asked again after each image.
    pub is_short: &'a dyn Fn() -> bool,
}

/// What was let go of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetGo {
    /// The images, the least recently used first.
    pub images: Vec<ImageInfo>,
    /// What that freed.
    pub collected: Collected,
}

/// A pulled image, by the file of its name.
struct Pulled {
    path: PathBuf,
    used: SystemTime,
}

impl Inner {
    /// Notes that a name was used. Not worth failing for: at worst the image is pulled again.
    pub(super) fn note_use(&self, reference: &Reference) {
        let path = self.layout.name(reference);
        let is_noted = last_use(&path).is_none_or(|used| used.elapsed().is_ok_and(|ago| ago < NOTED_EVERY));
        if !is_noted {
            touch(&path, SystemTime::now());
        }
    }

    pub(super) fn let_go_of_unused(&self, keep: &Keep<'_>) -> Result<LetGo, ImageError> {
        let mut gone = LetGo::default();
        if (keep.is_short)() {
            // Left by a pull that failed, perhaps.
            gone.add(self.collect_garbage()?);
        }
        for pulled in self.pulled_by_last_use(keep.now)? {
            let idle = keep.now.duration_since(pulled.used).unwrap_or_default();
            let is_wanted = idle < keep.used_within;
            if is_wanted && (idle < keep.always_within || !(keep.is_short)()) {
                // All that follow were used later.
                break;
            }
            if let Some(image) = self.let_go(&pulled, keep.now)? {
                gone.images.push(image);
                gone.add(self.collect_garbage()?);
            }
        }
        Ok(gone)
    }

    fn pulled_by_last_use(&self, now: SystemTime) -> Result<Vec<Pulled>, ImageError> {
        let mut all = Vec::new();
        for (path, record) in self.records()? {
            let is_pulled = match record.pulled {
                Some(known) => known,
                None => self.judge_older(&path, now)?,
            };
            if let (true, Some(used)) = (is_pulled, last_use(&path)) {
                all.push(Pulled { path, used });
            }
        }
        all.sort_by_key(|pulled| pulled.used);
        Ok(all)
    }

    /// Notes whether a name of an older version was pulled, and that it was used now: when it really was, nobody
    /// knows. What everyone may use could have been imported; what only some may, or nobody, is fetched anew.
    fn judge_older(&self, path: &Path, now: SystemTime) -> Result<bool, ImageError> {
        let _nobody_publishes = Lock::exclusive(&self.layout.lock())?;
        let Some(mut record) = super::names::read(path)? else { return Ok(false) };
        let is_pulled = record.pulled.unwrap_or_else(|| !self.is_granted(&record.digest, &Access::Everyone));
        record.pulled = Some(is_pulled);
        self.write_record(path, &record)?;
        touch(path, now);
        Ok(is_pulled)
    }

    /// Takes the name away, unless the image is in use, or the name was given anew or used since.
    fn let_go(&self, pulled: &Pulled, now: SystemTime) -> Result<Option<ImageInfo>, ImageError> {
        let _nobody_publishes = Lock::exclusive(&self.layout.lock())?;
        let Some(record) = super::names::read(&pulled.path)? else { return Ok(None) };
        if record.pulled != Some(true) || last_use(&pulled.path) != Some(pulled.used) {
            return Ok(None);
        }
        if self.is_in_use(&record.digest)? {
            touch(&pulled.path, now);
            return Ok(None);
        }
        let reference: Reference = record.reference.parse()?;
        let gone = self.forget(&reference)?;
        Ok(gone.then(|| record.info(reference)))
    }

    /// Whether somebody may hold the image, in this process or another. Whoever does holds all its layers;
    /// where all of them are held for other images, nothing would be gained by letting go of this one.
    fn is_in_use(&self, digest: &Digest) -> Result<bool, ImageError> {
        let Some(layers) = self.diff_ids(digest)? else { return Ok(false) };
        for layer in layers.iter() {
            let path = self.layout.layer(layer).join(LOCK);
            if !path.exists() || Lock::try_exclusive(&path)?.is_some() {
                return Ok(false);
            }
        }
        Ok(!layers.is_empty())
    }
}

impl LetGo {
    fn add(&mut self, more: Collected) {
        self.collected.layers += more.layers;
        self.collected.bytes += more.bytes;
    }
}

/// None when the file is gone.
fn last_use(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

fn touch(path: &Path, now: SystemTime) {
    let touched = OpenOptions::new().write(true).open(path).and_then(|file| file.set_modified(now));
    if let Err(error) = touched {
        tracing::debug!(path = %path.display(), %error, "can't note the use of an image");
    }
}
