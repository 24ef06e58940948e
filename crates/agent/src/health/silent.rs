//! Connections on which no question has come yet. When all places are taken the oldest of them gives way,
//! so that those who only hold one do not keep out who wants to know something.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// All of them, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Silent(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    waiting: BTreeMap<u64, CancellationToken>,
}

impl Silent {
    /// Another connection. It counts as silent until it has asked, or this is dropped.
    pub(super) fn join(self: &Arc<Self>) -> Place {
        let leave = CancellationToken::new();
        let mut entries = self.entries();
        let id = entries.next;
        entries.next += 1;
        entries.waiting.insert(id, leave.clone());
        drop(entries);
        Place { id, all: Arc::clone(self), leave }
    }

    /// Has the oldest one leave, if there is any.
    pub(super) fn send_one_away(&self) {
        if let Some((_, leave)) = self.entries().waiting.pop_first() {
            leave.cancel();
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    all: Arc<Silent>,
    leave: CancellationToken,
}

impl Place {
    /// A question has come: the connection is left alone from now on.
    pub(super) fn has_asked(&self) {
        self.all.entries().waiting.remove(&self.id);
    }

    /// Returns when the connection must leave.
    pub(super) async fn gives_way(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.has_asked();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_has_not_asked_goes_first() {
        let all = Arc::new(Silent::default());
        let [asked, gone, older, younger] = [(); 4].map(|()| all.join());
        asked.has_asked();
        drop(gone);
        all.send_one_away();
        assert!(older.leave.is_cancelled() && !younger.leave.is_cancelled());
        all.send_one_away();
        all.send_one_away();
        assert!(younger.leave.is_cancelled() && !asked.leave.is_cancelled());
    }
}
