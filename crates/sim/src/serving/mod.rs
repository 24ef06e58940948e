//! The server, as far as it is more than its store: what it knows in memory, its janitor, its death. What it decides with
//! is the real thing: [`jobs::attention`], [`jobs::claims`], and the store.

mod life;
mod requests;

pub(crate) use requests::LONG_POLL;

use crate::event::{Asked, Doom, Party};
use jobs::attention::Attention;
use jobs::claims::OpenClaims;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::Change;
use tokio::sync::broadcast::Receiver;

/// The server, up or down.
pub(crate) struct Server {
    /// How long leases are from its next start on.
    pub(crate) lease: Duration,
    /// Counted up with each start.
    pub(crate) start: u32,
    up: Option<Up>,
    /// Executors that its database knows.
    known: BTreeSet<String>,
    /// Until when it stands still.
    still_until: Duration,
    /// When it dies, and for how long it is away then.
    pub(crate) doom: Option<(Doom, Duration)>,
}

/// What a server that runs knows.
struct Up {
    lease: Duration,
    attention: Attention,
    /// Attention was called off since it started.
    was_absent: bool,
    claims: OpenClaims,
    changes: Receiver<Change>,
    /// Dequeues that are held open, by a number of theirs.
    waiting: BTreeMap<u64, Waiting>,
    next_waiting: u64,
}

/// A dequeue that is held open.
struct Waiting {
    call: u64,
    from: Party,
    asked: Asked,
    arrived: Duration,
}

impl Server {
    pub(crate) const fn new(lease: Duration) -> Self {
        Self { lease, start: 0, up: None, known: BTreeSet::new(), still_until: Duration::ZERO, doom: None }
    }

    /// Until when it stands still, if it does.
    pub(crate) fn still_until(&self, now: Duration) -> Option<Duration> {
        (self.still_until > now).then_some(self.still_until)
    }

    /// Whether an executor was not heard of before.
    fn introduce(&mut self, executor: &str) -> bool {
        self.known.insert(executor.to_owned())
    }

    /// Whether it runs.
    pub(crate) const fn is_up(&self) -> bool {
        self.up.is_some()
    }

    /// What it knows, of this start.
    const fn up(&mut self, start: u32) -> Option<&mut Up> {
        if self.start == start { self.up.as_mut() } else { None }
    }
}
