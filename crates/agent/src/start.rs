//! What tells this start of the agent from earlier ones, and what it may say of those to a control plane of ours; see
//! `jobs::claims` for what is concluded.

use crate::boot_time::BootTime;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wire::additions::{Incarnation, LostDequeues};

/// For how long a dequeue that failed is told of: its request may still be on its way, and longer than proxies keep one.
const TELL_LOST_FOR: Duration = Duration::from_mins(2);
/// How many of them are told of.
const MOST_LOST: usize = 32;

/// One start of an agent that has its state directory for itself. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Start(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    place: String,
    number: u64,
    dequeues: AtomicU64,
    lost: Mutex<VecDeque<(u64, BootTime)>>,
    /// What of earlier starts is still to be cleared up.
    unsettled: AtomicUsize,
    /// Something of theirs can't be.
    spoiled: AtomicBool,
}

/// Something of an earlier start that may still run. Dropped before it is [`Unsettled::done`], it stays unsettled.
#[derive(Debug)]
pub(crate) struct Unsettled(Option<Start>);

/// A dequeue. Its answer counts as lost unless it was [`Asked::answered`].
#[derive(Debug)]
pub(crate) struct Asked {
    start: Start,
    pub(crate) number: u64,
    answered: bool,
}

impl Start {
    pub(crate) fn new(place: String, number: u64) -> Self {
        Self(Arc::new(Inner {
            place,
            number,
            dequeues: AtomicU64::new(0),
            lost: Mutex::default(),
            unsettled: AtomicUsize::new(0),
            spoiled: AtomicBool::new(false),
        }))
    }

    /// There is something of an earlier start to be cleared up.
    pub(crate) fn unsettled(&self) -> Unsettled {
        self.0.unsettled.fetch_add(1, Ordering::AcqRel);
        Unsettled(Some(self.clone()))
    }

    /// Something of an earlier start may go on without being named: nothing is ever said of those.
    pub(crate) fn spoil(&self) {
        self.0.spoiled.store(true, Ordering::Release);
    }

    fn is_settled(&self) -> bool {
        !self.0.spoiled.load(Ordering::Acquire) && self.0.unsettled.load(Ordering::Acquire) == 0
    }

    /// What a heartbeat says of this start; `names_all`: it names all jobs that run here.
    pub(crate) fn incarnation(&self, names_all: bool) -> Incarnation {
        let settled = names_all && self.is_settled();
        Incarnation { place: self.0.place.clone(), start: self.0.number, settled }
    }

    /// Begins another dequeue.
    pub(crate) fn ask(&self) -> Asked {
        let number = self.0.dequeues.fetch_add(1, Ordering::Relaxed);
        Asked { start: self.clone(), number, answered: false }
    }

    /// The dequeues whose answers nobody reads any more, as far as that is worth telling.
    pub(crate) fn lost(&self) -> LostDequeues {
        let mut lost = self.list();
        let now = BootTime::now();
        lost.retain(|(_, since)| now.since(*since) < TELL_LOST_FOR);
        LostDequeues(lost.iter().map(|(number, _)| *number).collect())
    }

    fn list(&self) -> MutexGuard<'_, VecDeque<(u64, BootTime)>> {
        // Each entry is whole by itself.
        self.0.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unsettled {
    /// Nothing of it is left.
    pub(crate) fn done(mut self) {
        if let Some(start) = self.0.take() {
            start.0.unsettled.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Asked {
    /// Its answer is here.
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let mut lost = self.start.list();
        if lost.len() == MOST_LOST {
            lost.pop_front();
        }
        lost.push_back((self.number, BootTime::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_of_earlier_starts_before_all_of_them_is_cleared_up() {
        let start = Start::new("p".to_owned(), 3);
        let is_settled = || start.incarnation(true).settled;
        assert!(is_settled() && !start.incarnation(false).settled);
        let (one, two) = (start.unsettled(), start.unsettled());
        one.done();
        assert!(!is_settled());
        two.done();
        assert!(is_settled());
        drop(start.unsettled());
        assert!(!is_settled(), "nobody knows what became of it");
        let spoiled = Start::new("p".to_owned(), 4);
        spoiled.spoil();
        assert!(!spoiled.incarnation(true).settled);
    }

    #[test]
    fn only_dequeues_without_an_answer_are_lost() {
        let start = Start::new("p".to_owned(), 1);
        let (first, second, third) = (start.ask(), start.ask(), start.ask());
        second.answered();
        assert_eq!(start.lost(), LostDequeues(Vec::new()), "the others are under way");
        drop((third, first));
        let lost = start.lost();
        assert_eq!(lost, LostDequeues(vec![2, 0]));
        for _ in 0..MOST_LOST {
            drop(start.ask());
        }
        assert_eq!(start.lost().0.first(), Some(&3), "the oldest are forgotten");
    }
}
