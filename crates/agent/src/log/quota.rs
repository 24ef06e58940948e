//! How much of the host's disk the log of one job may take, all its entries together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that all texts of a job share. Clones share them too.
#[derive(Debug, Clone)]
pub(super) struct Quota {
    limit: u64,
    free: Arc<AtomicU64>,
}

/// Bytes that one text has of a quota, until it is gone.
#[derive(Debug)]
pub(super) struct Share {
    quota: Quota,
    has: u64,
}

impl Quota {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, free: Arc::new(AtomicU64::new(limit)) }
    }

    /// All of it, free or not.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// A share that has nothing yet.
    pub(super) fn share(&self) -> Share {
        Share { quota: self.clone(), has: 0 }
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Takes what it needs to have `wanted` bytes, or what there is of that, and tells how many it has.
    pub(super) fn grow_to(&mut self, wanted: u64) -> u64 {
        let more = wanted.saturating_sub(self.has);
        let less = |free: u64| Some(free - more.min(free));
        // It gives back what is there.
        let (Ok(free) | Err(free)) = self.quota.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.has += more.min(free);
        self.has
    }

    pub(super) fn quota(&self) -> &Quota {
        &self.quota
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.quota.free.fetch_add(self.has, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_get_what_there_is_and_give_it_back() {
        let quota = Quota::new(100);
        let (mut one, mut two) = (quota.share(), quota.share());
        assert_eq!((one.grow_to(60), one.grow_to(50), quota.free()), (60, 60, 40));
        assert_eq!((two.grow_to(70), two.grow_to(70), quota.free()), (40, 40, 0));
        drop(one);
        assert_eq!((two.grow_to(70), quota.free()), (70, 30));
        drop(two);
        assert_eq!(quota.free(), quota.limit());
    }
}
