//! How long the queues are, for whoever starts and stops executors by it.
//!
//! A queue that can't be looked at costs no other one its numbers, and a row that can't be read costs none at all.

use crate::app::App;
use exposition::{Kind, Text};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{QueueRow, StoreError};
use tokio::sync::Mutex;
use wire::paths::QUEUES;

/// How long to wait for the database. A scrape asks it four times, two of them at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// The queues at a moment that is not long gone.
#[derive(Default)]
pub(crate) struct Depths(Mutex<Option<(Instant, Arc<Seen>)>>);

/// What was seen of the queues.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Those that could be looked at.
    pub(crate) queues: Vec<Depth>,
    /// The names of the others.
    pub(crate) failed: Vec<&'static str>,
}

/// A queue.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Depth {
    pub(crate) row: QueueRow,
    /// For how long the job has waited that waits longest for an executor alone.
    pub(crate) oldest: Duration,
}

/// The same for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    size: u64,
    queued: u64,
    held: u64,
    running: u64,
    errored: u64,
    oldest_seconds: f64,
    paused: bool,
}

impl Depth {
    fn of(row: QueueRow, now: Timestamp) -> Self {
        let waits = row.oldest_queued_at.map(|at| now.duration_since(at));
        Self { row, oldest: waits.and_then(|waits| waits.try_into().ok()).unwrap_or_default() }
    }

    /// What executors have to do: jobs that run, that could, and that will be tried again. Those that wait for their time
    /// or for one another are nobody's work yet.
    pub(crate) const fn size(&self) -> u64 {
        let QueueRow { queued, held, running, errored, .. } = self.row;
        queued.saturating_sub(held) + running + errored
    }

    fn told(&self) -> Told {
        let QueueRow { queued, held, running, errored, ref rules, .. } = self.row;
        let (size, oldest_seconds) = (self.size(), self.oldest.as_secs_f64());
        Told { size, queued, held, running, errored, oldest_seconds, paused: rules.paused_at.is_some() }
    }
}

impl Depths {
    /// The queues as they are, or were a moment ago: counting a long one takes a while, and several may ask at once.
    pub(crate) async fn look(&self, app: &App) -> Arc<Seen> {
        let mut known = self.0.lock().await;
        if let Some((at, seen)) = &*known
            && at.elapsed() < app.limits.depths_kept
        {
            return Arc::clone(seen);
        }
        let mut seen = Seen::default();
        for queue in QUEUES {
            match in_time(app.store.queue(queue, u64::MAX)).await {
                Some(row) => seen.queues.push(Depth::of(row, app.clock.now())),
                None => seen.failed.push(queue),
            }
        }
        let seen = Arc::new(seen);
        *known = Some((Instant::now(), Arc::clone(&seen)));
        seen
    }
}

/// What the store says within a time that scrapers wait for: a call would wait longer for a database that is away.
pub(super) async fn in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(told)) => return Some(told),
        Ok(Err(fault)) => {
            let error = &fault as &dyn std::error::Error;
            tracing::error!(error, "can't look at the database for metrics");
        }
        Err(_) => tracing::error!("the database does not answer for metrics within {PATIENCE:?}"),
    }
    None
}

impl Seen {
    /// All queues together, under their documented name; none where one could not be looked at.
    pub(crate) fn together(&self) -> Option<(String, u64)> {
        if !self.failed.is_empty() {
            return None;
        }
        let mut names: Vec<&str> = self.queues.iter().map(|depth| depth.row.name.as_str()).collect();
        names.sort_unstable();
        Some((names.join("_"), self.queues.iter().map(Depth::size).sum()))
    }

    /// What of them can't be read: rows, or whole queues.
    pub(crate) fn unreadable(&self) -> u64 {
        self.failed.len() as u64 + self.queues.iter().map(|depth| depth.row.unreadable).sum::<u64>()
    }

    /// For scalers that read a number out of JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let told = self.queues.iter().map(|depth| (depth.row.name.as_str(), depth.told()));
        let queues: BTreeMap<_, _> = told.collect();
        let together = self.together().map(|(name, size)| serde_json::json!({ "name": name, "size": size }));
        serde_json::json!({ "queues": queues, "together": together, "unreadable": self.unreadable() })
    }

    /// For scrapers.
    pub(crate) fn write(&self, text: &mut Text) {
        let mut gauge = |name, help, value: &dyn Fn(&Depth) -> f64| {
            if self.queues.is_empty() {
                return;
            }
            text.family(name, help, Kind::Gauge);
            for depth in &self.queues {
                text.sample(name, &[("queue", &depth.row.name)], value(depth));
            }
        };
        let documented = "Jobs that wait, for an executor or for another try.";
        gauge("src_executor_total", documented, &|depth| (depth.row.queued + depth.row.errored) as f64);
        gauge(
            "src_executor_queued_duration_seconds_total",
            "For how long the job has waited that waits longest for an executor.",
            &|depth| depth.oldest.as_secs_f64(),
        );
        gauge(
            "executor_server_queue_size",
            "Jobs that run, could run, or will be tried again: what to scale executors by.",
            &|depth| depth.size() as f64,
        );
        gauge("executor_server_queue_paused", "1 when its jobs are not given out.", &|depth| {
            f64::from(u8::from(depth.row.rules.paused_at.is_some()))
        });
        self.write_jobs(text);
        text.single(
            "executor_server_queue_unreadable",
            "What of the queues can't be read: rows, or whole queues. The rest is told all the same.",
            Kind::Gauge,
            self.unreadable() as f64,
        );
    }

    fn write_jobs(&self, text: &mut Text) {
        if self.queues.is_empty() {
            return;
        }
        let name = "executor_server_queue_jobs";
        text.family(name, "Jobs that have not ended, by what they do.", Kind::Gauge);
        for Depth { row, .. } in &self.queues {
            let ready = row.queued.saturating_sub(row.held);
            for (does, count) in
                [("ready", ready), ("held", row.held), ("running", row.running), ("errored", row.errored)]
            {
                text.sample(name, &[("queue", &row.name), ("state", does)], count as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::QueueRules;

    fn depth(name: &str, queued: u64, held: u64) -> Depth {
        let row = QueueRow {
            name: name.to_owned(),
            rules: QueueRules::default(),
            queued,
            held,
            running: 2,
            errored: 1,
            oldest_queued_at: Some(Timestamp::from_second(1_000).unwrap()),
            unreadable: 0,
        };
        Depth::of(row, Timestamp::from_second(1_090).unwrap())
    }

    #[test]
    fn what_is_held_is_no_work_yet() {
        let depth = depth("batches", 7, 3);
        assert_eq!((depth.size(), depth.oldest), (7, Duration::from_secs(90)));
        let early = Depth::of(depth.row, Timestamp::from_second(999).unwrap());
        assert_eq!(early.oldest, Duration::ZERO, "another clock may be ahead");
    }

    #[test]
    fn a_queue_that_fails_costs_the_others_nothing_but_the_sum() {
        let whole = Seen { queues: vec![depth("codeintel", 1, 0), depth("batches", 2, 0)], failed: vec![] };
        assert_eq!(whole.together(), Some(("batches_codeintel".to_owned(), 9)));
        let part = Seen { queues: vec![depth("codeintel", 1, 0)], failed: vec!["batches"] };
        assert_eq!((part.together(), part.unreadable()), (None, 1));
        let json = part.to_json();
        assert_eq!(json["queues"]["codeintel"]["size"], 4);
        assert_eq!((&json["unreadable"], &json["together"]), (&1.into(), &serde_json::Value::Null));
        let mut text = Text::default();
        part.write(&mut text);
        let text = text.into_string();
        assert!(text.contains("src_executor_total{queue=\"codeintel\"} 2\n"), "{text}");
        assert!(text.contains("executor_server_queue_unreadable 1\n"), "{text}");
        assert!(!text.contains("batches"), "{text}");
    }
}
