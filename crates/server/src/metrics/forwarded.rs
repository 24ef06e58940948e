//! What executors forward in their heartbeats: their own metrics, and those of exporters beside them. As documented, they
//! are told with this server's own while they are fresh, each marked with whose they are.

use exposition::{Families, escaped};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long they are told after the heartbeat they came with, as documented.
const FRESH: Duration = Duration::from_secs(30);
/// Whose a sample is.
const INSTANCE: &str = "sg_instance";
/// What it is of.
const JOB: &str = "sg_job";
/// The instance that stands for a registry's machine, and what its samples and all others are of.
const REGISTRY: &str = "docker-registry";
const OF_REGISTRY: &str = "sourcegraph-executors-registry";
const OF_EXECUTORS: &str = "sourcegraph-executors";
/// Families that every process has: of these alone executors may tell what this server tells of itself.
const OF_PROCESSES: &str = "process_";

/// The latest text of each executor.
pub(crate) struct Forwarded {
    /// Bytes of all texts together at most.
    most: usize,
    texts: Mutex<Texts>,
}

#[derive(Default)]
struct Texts {
    of: HashMap<String, (Instant, Arc<str>)>,
    bytes: usize,
    /// Texts for which there was no room.
    left_out: u64,
}

impl Texts {
    fn remove(&mut self, executor: &str) {
        if let Some((_, text)) = self.of.remove(executor) {
            self.bytes -= executor.len() + text.len();
        }
    }

    fn forget(&mut self, now: Instant) {
        let bytes = &mut self.bytes;
        self.of.retain(|executor, (at, text)| {
            let fresh = now.saturating_duration_since(*at) < FRESH;
            if !fresh {
                *bytes -= executor.len() + text.len();
            }
            fresh
        });
    }
}

impl Forwarded {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, texts: Mutex::default() }
    }

    /// An executor says this. Without a word of its own it goes on as before.
    pub(crate) fn note(&self, executor: &str, text: &str) {
        self.note_at(Instant::now(), executor, text);
    }

    fn note_at(&self, now: Instant, executor: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut texts = self.texts();
        texts.remove(executor);
        let bytes = executor.len() + text.len();
        if texts.bytes + bytes > self.most {
            texts.forget(now);
        }
        if texts.bytes + bytes > self.most {
            texts.left_out += 1;
            return;
        }
        texts.bytes += bytes;
        texts.of.insert(executor.to_owned(), (now, text.into()));
    }

    /// Those that are fresh, by name, and how many were left out since the start.
    pub(super) fn fresh(&self) -> (Vec<(String, Arc<str>)>, u64) {
        self.fresh_at(Instant::now())
    }

    fn fresh_at(&self, now: Instant) -> (Vec<(String, Arc<str>)>, u64) {
        let mut texts = self.texts();
        texts.forget(now);
        let of = texts.of.iter().map(|(executor, (_, text))| (executor.clone(), Arc::clone(text)));
        let mut fresh: Vec<_> = of.collect();
        fresh.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        (fresh, texts.left_out)
    }

    fn texts(&self) -> MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Our own text, and with it those of executors. None of them can say anything in this server's own name.
pub(super) fn merged(own: &str, forwarded: &[(String, Arc<str>)]) -> String {
    let mut families = Families::default();
    families.add(own, |_| true, |_| String::new());
    let ours: BTreeSet<String> = families.names().map(str::to_owned).collect();
    let wanted = |name: &str| name.starts_with(OF_PROCESSES) || !ours.contains(name);
    for (executor, text) in forwarded {
        let executor = escaped(executor);
        families.add(text, wanted, |sample| {
            let told = sample.label(INSTANCE);
            let of = if told == Some(REGISTRY) { OF_REGISTRY } else { OF_EXECUTORS };
            let instance = told.is_none().then(|| format!("{INSTANCE}=\"{executor}\""));
            let job = sample.label(JOB).is_none().then(|| format!("{JOB}=\"{of}\""));
            [instance, job].into_iter().flatten().collect::<Vec<_>>().join(",")
        });
    }
    families.into_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_is_marked_with_whose_it_is() {
        let own =
            "# TYPE src_executor_total gauge\nsrc_executor_total{queue=\"batches\"} 3\nprocess_threads 9\n";
        let forwarded = [
            (
                "exec \"1\"".to_owned(),
                "up 1\nprocess_threads 4\nsrc_executor_total{queue=\"batches\"} 0\n".into(),
            ),
            (
                "exec-2".to_owned(),
                "up{sg_instance=\"docker-registry\"} 0\nup{sg_job=\"own\"} 2\n<html>\n".into(),
            ),
        ];
        assert_eq!(
            merged(own, &forwarded),
            "# TYPE process_threads untyped\nprocess_threads 9\n\
             process_threads{sg_instance=\"exec \\\"1\\\"\",sg_job=\"sourcegraph-executors\"} 4\n\
             # TYPE src_executor_total gauge\nsrc_executor_total{queue=\"batches\"} 3\n\
             # TYPE up untyped\nup{sg_instance=\"exec \\\"1\\\"\",sg_job=\"sourcegraph-executors\"} 1\n\
             up{sg_instance=\"docker-registry\",sg_job=\"sourcegraph-executors-registry\"} 0\n\
             up{sg_job=\"own\",sg_instance=\"exec-2\"} 2\n"
        );
    }

    #[test]
    fn they_are_told_for_so_long_and_take_so_much_room() {
        let forwarded = Forwarded::new(20);
        let now = Instant::now();
        let names = |at| forwarded.fresh_at(at).0.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        forwarded.note_at(now, "a", "up 1");
        forwarded.note_at(now, "a", "up 2");
        forwarded.note_at(now, "b", "up 1");
        forwarded.note_at(now, "b", "");
        assert_eq!(names(now), ["a", "b"]);
        let later = now + Duration::from_secs(29);
        forwarded.note_at(later, "c", "it is too long");
        assert_eq!(forwarded.fresh_at(later).1, 1);
        forwarded.note_at(later, "a", "up 3");
        assert_eq!(names(now + FRESH), ["a"], "the other one was not heard of any more");
        forwarded.note_at(now + FRESH, "c", "it is too long");
        assert_eq!(names(now + FRESH), ["a", "c"], "there is room again");
    }
}
