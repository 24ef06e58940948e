//! Room for files: what is kept, and what is promised to uploads under way.

use super::{FileFault, Files};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::FILE_CHARGE;

/// Bytes that are promised, and whose turn it is to be promised some.
#[derive(Default)]
pub(super) struct Promised {
    bytes: Arc<AtomicU64>,
    turn: tokio::sync::Mutex<()>,
}

/// Room for one upload, given back when this is dropped. By then the file is among those that are kept,
/// or it is nowhere.
pub(super) struct Room {
    bytes: u64,
    promised: Arc<AtomicU64>,
}

impl Room {
    /// Bytes that fit.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back what is more than a file of `size` bytes counts for.
    pub(super) fn shrink_to(&mut self, size: u64) {
        let rest = self.bytes.saturating_sub(charge(size));
        self.bytes -= rest;
        self.promised.fetch_sub(rest, Ordering::Relaxed);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.promised.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Files {
    /// Room for an upload of `length` bytes; if nobody knows its length yet, for the largest that fits.
    pub(super) async fn room(&self, length: Option<u64>) -> Result<Room, FileFault> {
        if length.is_some_and(|length| length > self.limits.file) {
            return Err(FileFault::TooLarge { limit: self.limits.file });
        }
        let _turn = self.promised.turn.lock().await;
        // Looked at first: an upload that is done meanwhile then counts twice, rather than not at all.
        let promised = self.promised.bytes.load(Ordering::Relaxed);
        let kept = self.store.files_size().await?;
        let left = self.limits.files_total.saturating_sub(kept.saturating_add(promised));
        let least = length.map_or(FILE_CHARGE, charge);
        let bytes = charge(length.unwrap_or(self.limits.file)).min(left);
        if bytes < least {
            return Err(FileFault::Full { limit: self.limits.files_total });
        }
        self.promised.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Room { bytes, promised: Arc::clone(&self.promised.bytes) })
    }
}

/// What a file of `size` bytes counts for.
fn charge(size: u64) -> u64 {
    size.max(FILE_CHARGE)
}
