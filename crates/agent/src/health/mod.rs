//! Whether the agent lives, and whether it can take jobs.

mod listener;
mod silent;

pub(crate) use listener::listen;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wire::additions::TakesNone;

/// An agent whose heartbeat has not moved for so long, whether or not it was answered, is stuck: each
/// may take 10 s.
const STUCK: Duration = Duration::from_mins(1);
/// How many heartbeats may be missing.
const MISSED: u32 = 4;

/// What is known of it.
#[derive(Debug)]
pub(crate) struct Health {
    beats: Mutex<Beats>,
    /// No more jobs are taken.
    draining: AtomicBool,
    /// Less room is on the disk than is to stay free.
    below_floor: AtomicBool,
    /// Dequeues in a row that failed.
    failed_dequeues: AtomicUsize,
}

#[derive(Debug)]
struct Beats {
    /// When a ping or heartbeat last came to an end, whichever.
    moved: Instant,
    /// When the control plane last answered one.
    answered: Option<Instant>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            beats: Mutex::new(Beats { moved: Instant::now(), answered: None }),
            draining: AtomicBool::new(false),
            below_floor: AtomicBool::new(false),
            failed_dequeues: AtomicUsize::new(0),
        }
    }
}

impl Health {
    /// A ping or a heartbeat is over.
    pub(crate) fn beat(&self, answered: bool) {
        let now = Instant::now();
        let mut beats = self.lock();
        beats.moved = now;
        if answered {
            beats.answered = Some(now);
        }
    }

    /// No more jobs are taken.
    pub(crate) fn drains(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Why no jobs are asked for, though all goes well otherwise.
    pub(crate) fn takes_none(&self) -> Option<TakesNone> {
        let is_below = self.below_floor.load(Ordering::Relaxed);
        // Room may come again; a drain is for good.
        self.is_draining().then_some(TakesNone::Draining).or(is_below.then_some(TakesNone::DiskFloor))
    }

    /// Whether there is room on the disk.
    pub(crate) fn has_room(&self, room: bool) {
        self.below_floor.store(!room, Ordering::Relaxed);
    }

    /// A dequeue was answered, or not.
    pub(crate) fn dequeued(&self, answered: bool) {
        if answered {
            self.failed_dequeues.store(0, Ordering::Relaxed);
        } else {
            self.failed_dequeues.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// For how long the heartbeat has not moved, answered or not.
    pub(crate) fn still_for(&self) -> Duration {
        self.lock().moved.elapsed()
    }

    /// Since when none was answered; `None` when none ever was.
    pub(crate) fn unanswered_for(&self) -> Option<Duration> {
        self.lock().answered.map(|at| at.elapsed())
    }

    /// Why it does not live; nothing when it does.
    pub(crate) fn dead(&self) -> Option<String> {
        let still = self.still_for();
        (still > STUCK).then(|| format!("heartbeat: it has not moved for {} s", still.as_secs()))
    }

    /// Why no job can be taken; nothing when one can. `interval` is the heartbeats'.
    pub(crate) fn not_ready(&self, interval: Duration) -> Vec<String> {
        let mut why = Vec::new();
        match self.unanswered_for() {
            None => why.push("server: it has not answered yet".to_owned()),
            Some(age) if age > interval * MISSED => {
                why.push(format!("heartbeat: the last one was answered {} s ago", age.as_secs()));
            }
            Some(_) => {}
        }
        match self.failed_dequeues.load(Ordering::Relaxed) {
            0 | 1 => {}
            count => why.push(format!("dequeue: the last {count} failed")),
        }
        if self.below_floor.load(Ordering::Relaxed) {
            why.push("disk: less room is free than the floor that is to be kept".to_owned());
        }
        if self.is_draining() {
            why.push("draining: no more jobs are taken".to_owned());
        }
        why
    }

    fn lock(&self) -> MutexGuard<'_, Beats> {
        // Two instants can't be left half done.
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_mins(1);

    #[test]
    fn every_reason_not_to_be_ready_is_told() {
        let health = Health::default();
        let why = || health.not_ready(INTERVAL).join("\n");
        assert_eq!(why(), "server: it has not answered yet");
        health.beat(false);
        assert_eq!(why(), "server: it has not answered yet");
        health.beat(true);
        assert_eq!(why(), "");
        health.dequeued(false);
        assert_eq!(why(), "", "one may fail");
        health.dequeued(false);
        assert_eq!(health.takes_none(), None, "it asks for them");
        health.has_room(false);
        assert_eq!(health.takes_none(), Some(TakesNone::DiskFloor));
        health.drains();
        assert_eq!(health.takes_none(), Some(TakesNone::Draining));
        assert_eq!(
            why(),
            "dequeue: the last 2 failed\ndisk: less room is free than the floor that is to be kept\n\
             draining: no more jobs are taken"
        );
        health.dequeued(true);
        health.has_room(true);
        assert_eq!(why(), "draining: no more jobs are taken");
        assert_eq!(health.dead(), None);
    }

    #[test]
    fn an_old_heartbeat_is_told_with_its_age() {
        let health = Health::default();
        health.beat(true);
        assert_eq!(health.not_ready(Duration::ZERO), ["heartbeat: the last one was answered 0 s ago"]);
        let Some(long_ago) = Instant::now().checked_sub(STUCK * 2) else { return };
        health.lock().moved = long_ago;
        assert_eq!(health.dead().as_deref(), Some("heartbeat: it has not moved for 120 s"));
    }
}
