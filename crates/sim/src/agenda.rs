//! What happens next: events in the order of virtual time, those of one moment in the order in which they were planned.

use crate::event::Event;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

/// Everything that is to happen.
#[derive(Default)]
pub(crate) struct Agenda {
    order: BinaryHeap<Reverse<(Duration, u64)>>,
    events: BTreeMap<u64, Event>,
    planned: u64,
}

impl Agenda {
    /// Plans `event` for `at`, since the beginning of the schedule.
    pub(crate) fn plan(&mut self, at: Duration, event: Event) {
        self.planned += 1;
        self.order.push(Reverse((at, self.planned)));
        self.events.insert(self.planned, event);
    }

    /// The next event, and when it is.
    pub(crate) fn next(&mut self) -> Option<(Duration, Event)> {
        let Reverse((at, number)) = self.order.pop()?;
        self.events.remove(&number).map(|event| (at, event))
    }

    /// Whether a request is still to arrive.
    pub(crate) fn has_requests(&self) -> bool {
        self.events.values().any(|event| matches!(event, Event::Arrives(_)))
    }
}
