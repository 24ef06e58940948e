//! How many jobs run, and how many did at most a moment ago: whoever looks every few seconds would
//! miss those that are short.

use exposition::{Kind, Text};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How far back the most is looked for, as documented.
const WINDOW: Duration = Duration::from_secs(5);
/// Ends that are remembered within it.
const MOST_ENDS: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Handlers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    now: usize,
    /// How many there were before each end.
    ends: VecDeque<(Instant, usize)>,
}

impl Handlers {
    pub(super) fn begins(&self) {
        self.lock().now += 1;
    }

    pub(super) fn ends(&self) {
        self.lock().ends_at(Instant::now());
    }

    pub(super) fn now(&self) -> usize {
        self.lock().now
    }

    pub(super) fn write(&self, text: &mut Text, queue: &str) {
        let name = "src_executor_processor_handlers";
        text.family(name, "Jobs that ran at the same time, at most within 5 s.", Kind::Gauge);
        text.sample(name, &[("queue", queue)], self.lock().most_at(Instant::now()) as f64);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ends_at(&mut self, at: Instant) {
        if self.ends.len() == MOST_ENDS {
            self.ends.pop_front();
        }
        self.ends.push_back((at, self.now));
        self.now = self.now.saturating_sub(1);
    }

    fn most_at(&mut self, at: Instant) -> usize {
        self.ends.retain(|(end, _)| at.saturating_duration_since(*end) < WINDOW);
        self.ends.iter().map(|(_, before)| *before).max().unwrap_or_default().max(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_seen_for_a_while() {
        let mut state = State { now: 2, ..State::default() };
        let at = Instant::now();
        state.ends_at(at);
        state.ends_at(at + Duration::from_secs(1));
        assert_eq!(state.most_at(at + Duration::from_secs(4)), 2);
        assert_eq!(state.most_at(at + Duration::from_millis(5_500)), 1);
        assert_eq!(state.most_at(at + Duration::from_secs(6)), 0);
    }
}
