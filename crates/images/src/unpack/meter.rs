//! Counting what an archive makes us read and write.

use crate::ImageError;
use crate::limits::ENTRY_HEADER_BYTES;
use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes that an image may still unpack to, shared by its layers.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    left: Arc<AtomicU64>,
    /// By this one and its clones alone.
    spent: Arc<AtomicU64>,
    limit: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self { left: Arc::new(AtomicU64::new(limit)), spent: Arc::default(), limit }
    }

    /// The same budget, for one try of something that may be tried again.
    pub(crate) fn part(&self) -> Self {
        Self { spent: Arc::default(), ..self.clone() }
    }

    /// What this one has spent was for nothing.
    pub(crate) fn give_back(&self) {
        self.left.fetch_add(self.spent.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Takes `bytes` off, or says that they are not there.
    pub(crate) fn spend(&self, bytes: u64) -> Result<(), ImageError> {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes))
            .map(|_| {
                self.spent.fetch_add(bytes, Ordering::Relaxed);
            })
            .map_err(|_| {
                ImageError::too_large("the size of the image, unpacked,", format!("{} bytes", self.limit))
            })
    }
}

/// Bounds what a reader of archives takes in between two entries.
///
/// Archivers put long names and attributes before an entry, and the reader keeps them in memory:
/// without this a few compressed kilobytes would fill it.
pub(crate) struct Metered<R> {
    inner: R,
    allowance: Allowance,
}

/// The other end of a [`Metered`].
#[derive(Clone)]
pub(crate) struct Allowance(Rc<Readings>);

struct Readings {
    left: Cell<u64>,
    at_end: Cell<bool>,
}

impl<R> Metered<R> {
    pub(crate) fn new(inner: R) -> (Self, Allowance) {
        let allowance =
            Allowance(Rc::new(Readings { left: Cell::new(ENTRY_HEADER_BYTES), at_end: Cell::new(false) }));
        (Self { inner, allowance: allowance.clone() }, allowance)
    }
}

impl Allowance {
    /// From here on headers are read. Call it before asking for the next entry.
    pub(crate) fn headers(&self) {
        self.0.left.set(ENTRY_HEADER_BYTES);
    }

    /// From here on contents are read. Returns the bytes of headers since the last call.
    pub(crate) fn contents(&self) -> u64 {
        ENTRY_HEADER_BYTES.saturating_sub(self.0.left.replace(u64::MAX))
    }

    /// Whether the last read found nothing more.
    pub(crate) fn at_end(&self) -> bool {
        self.0.at_end.get()
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Readings { left, at_end } = &*self.allowance.0;
        if left.get() == 0 && !buffer.is_empty() {
            let limit = format!("{ENTRY_HEADER_BYTES} bytes");
            return Err(io::Error::other(ImageError::too_large(
                "the headers of one entry of an archive",
                limit,
            )));
        }
        let fits = usize::try_from(left.get()).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..fits])?;
        left.set(left.get().saturating_sub(read as u64));
        at_end.set(read == 0);
        Ok(read)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_and_not_overdrawn() {
        let budget = Budget::new(10);
        budget.clone().spend(6).expect("6 of 10");
        budget.spend(5).expect_err("4 are left");
        budget.spend(4).expect("4 are left");
    }

    #[test]
    fn what_a_try_has_spent_can_be_given_back() {
        let budget = Budget::new(10);
        budget.spend(4).expect("4 of 10");
        let first = budget.part();
        first.clone().spend(6).expect("6 are left");
        budget.spend(1).expect_err("nothing is left");
        first.give_back();
        first.give_back();
        budget.part().spend(7).expect_err("6 are left");
        budget.part().spend(6).expect("6 are left");
    }

    #[test]
    fn headers_are_bounded_and_contents_are_not() {
        let (mut metered, allowance) = Metered::new(io::repeat(7));
        let mut take = |bytes| io::copy(&mut metered.by_ref().take(bytes), &mut io::sink());
        take(ENTRY_HEADER_BYTES).expect("within the bound");
        take(1).expect_err("beyond the bound");
        assert_eq!(allowance.contents(), ENTRY_HEADER_BYTES);
        take(3 * ENTRY_HEADER_BYTES).expect("contents have their own budget");
        allowance.headers();
        take(ENTRY_HEADER_BYTES).expect("a new entry");
    }
}
