//! Room for files: what is kept, and what is promised to uploads under way.

use super::{FileFault, Files};
use crate::share::{self, Full, Total};
use jobs::Namespace;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::FILE_CHARGE;

/// Bytes that are promised, and whose turn it is to be promised some.
#[derive(Default)]
pub(super) struct Promised {
    bytes: Arc<Mutex<Bytes>>,
    turn: tokio::sync::Mutex<()>,
}

/// Bytes by the keys of namespaces.
type Bytes = BTreeMap<String, u64>;

fn locked(bytes: &Mutex<Bytes>) -> MutexGuard<'_, Bytes> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Room for one upload, given back when this is dropped. By then the file is among those that are kept,
/// or it is nowhere.
pub(super) struct Room {
    bytes: u64,
    beyond: Full,
    of: String,
    promised: Arc<Mutex<Bytes>>,
}

impl Room {
    /// Bytes that fit.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is to be told of more.
    pub(super) fn beyond(&self) -> Full {
        self.beyond.clone()
    }

    /// Gives back what is more than a file of `size` bytes counts for.
    pub(super) fn shrink_to(&mut self, size: u64) {
        self.give_back(self.bytes.saturating_sub(charge(size)));
    }

    fn give_back(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        let mut promised = locked(&self.promised);
        if let Some(of_it) = promised.get_mut(&self.of) {
            *of_it = of_it.saturating_sub(bytes);
            if *of_it == 0 {
                promised.remove(&self.of);
            }
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

impl Files {
    /// Room for an upload of `length` bytes; if nobody knows its length yet, for the largest that fits.
    pub(super) async fn room(&self, of: &Namespace, length: Option<u64>) -> Result<Room, FileFault> {
        if length.is_some_and(|length| length > self.limits.file) {
            return Err(FileFault::TooLarge { limit: self.limits.file });
        }
        let _turn = self.promised.turn.lock().await;
        // Looked at first: an upload that is done meanwhile then counts twice, rather than not at all.
        let (promised, own) = {
            let promised = locked(&self.promised.bytes);
            (promised.values().sum::<u64>(), promised.get(&of.key()).copied().unwrap_or_default())
        };
        let kept = self.store.files_size().await?.saturating_add(promised);
        let total = Total { what: "uploaded files", limit: self.limits.files_total, kept };
        let largest = charge(length.unwrap_or(self.limits.file));
        let own = async { Ok(self.store.files_size_of(of).await?.saturating_add(own)) };
        let share::Room { bytes: left, beyond } = total.room(of, largest, own).await?;
        let bytes = largest.min(left);
        if bytes < length.map_or(FILE_CHARGE, charge) {
            return Err(beyond.into());
        }
        *locked(&self.promised.bytes).entry(of.key()).or_default() += bytes;
        Ok(Room { bytes, beyond, of: of.key(), promised: Arc::clone(&self.promised.bytes) })
    }
}

/// What a file of `size` bytes counts for.
fn charge(size: u64) -> u64 {
    size.max(FILE_CHARGE)
}
