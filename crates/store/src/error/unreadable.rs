//! Stored values that can't be read.

use super::StoreError;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often this process met one.
static UNREADABLE: AtomicU64 = AtomicU64::new(0);

/// That a value which can't be read was counted.
#[derive(Debug)]
pub struct Counted(());

impl StoreError {
    /// A stored value can't be read. Each is counted, whatever becomes of the call: see [`Self::unreadable`].
    pub(crate) fn corrupt(row: String, what: &'static str) -> Self {
        UNREADABLE.fetch_add(1, Ordering::Relaxed);
        Self::Corrupt { row, what, counted: Counted(()) }
    }

    /// How often this process met a stored value that it could not read; the same one counts each time.
    pub fn unreadable() -> u64 {
        UNREADABLE.load(Ordering::Relaxed)
    }
}
