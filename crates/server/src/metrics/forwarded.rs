//! What executors forward in their heartbeats: their own metrics, and those of exporters beside them. As documented, they
//! are told with this server's own while they are fresh, each marked with whose they are.

use exposition::{Families, escaped};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long they are told after the heartbeat they came with, as documented.
const FRESH: Duration = Duration::from_secs(30);
/// Bytes of one executor's text, and lines of it, at most: of more the beginning is told.
const MOST_BYTES: usize = 256 << 10;
const MOST_SAMPLES: usize = 5_000;
const MOST_LINES: usize = 3 * MOST_SAMPLES;
/// Bytes that a line takes beside its own and those of the executor's name: what it is marked with, and its family.
const MARK: usize = 128;
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
    /// Bytes of all texts together at most, with what each line takes beside its own.
    most: usize,
    texts: Mutex<Texts>,
}

#[derive(Default)]
struct Texts {
    of: HashMap<String, Told>,
    bytes: usize,
    /// Texts for which there was no room, or not for all of them.
    left_out: u64,
}

/// What an executor said.
struct Told {
    at: Instant,
    text: Arc<str>,
    /// What it takes where it is told.
    bytes: usize,
}

impl Texts {
    fn remove(&mut self, executor: &str) {
        if let Some(told) = self.of.remove(executor) {
            self.bytes -= told.bytes;
        }
    }

    fn forget(&mut self, now: Instant) {
        let bytes = &mut self.bytes;
        self.of.retain(|_, told| {
            let fresh = now.saturating_duration_since(told.at) < FRESH;
            if !fresh {
                *bytes -= told.bytes;
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
        let told = beginning(text);
        let bytes = bytes_of(executor, told);
        let mut texts = self.texts();
        texts.left_out += u64::from(told.len() < text.len());
        texts.remove(executor);
        if texts.bytes + bytes > self.most {
            texts.forget(now);
        }
        if texts.bytes + bytes > self.most {
            texts.left_out += 1;
            return;
        }
        texts.bytes += bytes;
        texts.of.insert(executor.to_owned(), Told { at: now, text: told.into(), bytes });
    }

    /// Those that are fresh, by name, and how many were left out since the start.
    pub(super) fn fresh(&self) -> (Vec<(String, Arc<str>)>, u64) {
        self.fresh_at(Instant::now())
    }

    fn fresh_at(&self, now: Instant) -> (Vec<(String, Arc<str>)>, u64) {
        let mut texts = self.texts();
        texts.forget(now);
        let of = texts.of.iter().map(|(executor, told)| (executor.clone(), Arc::clone(&told.text)));
        let mut fresh: Vec<_> = of.collect();
        fresh.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        (fresh, texts.left_out)
    }

    fn texts(&self) -> MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As many whole lines from the first on as one executor may have.
fn beginning(text: &str) -> &str {
    let (mut end, mut samples) = (0, 0);
    for line in text.split_inclusive('\n').take(MOST_LINES) {
        samples += usize::from(!line.trim_start().starts_with('#'));
        if end + line.len() > MOST_BYTES || samples > MOST_SAMPLES {
            break;
        }
        end += line.len();
    }
    &text[..end]
}

/// What a text takes where it is told: many short lines become far more than they are.
fn bytes_of(executor: &str, text: &str) -> usize {
    executor.len() + text.len() + text.lines().count() * (executor.len() + MARK)
}

/// Our own text, and with it those of executors. None of them can say anything in this server's own name, nor in another
/// one's: a registry alone may be spoken for.
pub(super) fn merged(own: &str, forwarded: &[(String, Arc<str>)]) -> String {
    let mut families = Families::default();
    families.add(own, |_| true, |_| Some(String::new()));
    let ours: BTreeSet<String> = families.names().map(str::to_owned).collect();
    let wanted = |name: &str| name.starts_with(OF_PROCESSES) || !ours.contains(name);
    for (executor, text) in forwarded {
        let executor = escaped(executor);
        families.add(text, wanted, |sample| {
            let told = sample.label(INSTANCE);
            if told.is_some_and(|told| told != REGISTRY && told != executor) {
                return None;
            }
            let of = if told == Some(REGISTRY) { OF_REGISTRY } else { OF_EXECUTORS };
            let instance = told.is_none().then(|| format!("{INSTANCE}=\"{executor}\""));
            let job = sample.label(JOB).is_none().then(|| format!("{JOB}=\"{of}\""));
            Some([instance, job].into_iter().flatten().collect::<Vec<_>>().join(","))
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
    fn no_executor_speaks_for_another() {
        let said = "up{sg_instance=\"exec-1\"} 1\nup{sg_instance=\"exec-2\"} 2\nup{sg_instance=\"docker-registry\"} 3\n\
                    up{sg_instance=\"\"} 4\nup{sg_instance=\"docker-registry\",sg_instance=\"exec-2\"} 5\n\
                    only_others{sg_instance=\"exec-2\"} 6\n";
        assert_eq!(
            merged("", &[("exec-1".to_owned(), said.into())]),
            "# TYPE up untyped\nup{sg_instance=\"exec-1\",sg_job=\"sourcegraph-executors\"} 1\n\
             up{sg_instance=\"docker-registry\",sg_job=\"sourcegraph-executors-registry\"} 3\n"
        );
    }

    #[test]
    fn of_each_executor_the_beginning_is_told() {
        let forwarded = Forwarded::new(1 << 30);
        let now = Instant::now();
        let kept = |text: &str| {
            forwarded.note_at(now, "a", text);
            forwarded.fresh_at(now).0[0].1.to_string()
        };
        let samples = |count| "# a remark\n".to_owned() + &"up 1\n".repeat(count);
        assert_eq!(kept(&samples(MOST_SAMPLES)), samples(MOST_SAMPLES));
        assert_eq!(kept(&samples(MOST_SAMPLES + 1)), samples(MOST_SAMPLES));
        assert_eq!(kept(&"#\n".repeat(MOST_LINES + 1)).lines().count(), MOST_LINES);
        let wide = format!("up{{x=\"{}\"}} 1\n", "ä".repeat(1_000));
        assert_eq!(kept(&wide.repeat(1_000)), wide.repeat(MOST_BYTES / wide.len()));
        assert_eq!(forwarded.fresh_at(now).1, 3);
    }

    #[test]
    fn many_short_lines_take_the_room_of_what_they_become() {
        let forwarded = Forwarded::new(64 << 10);
        forwarded.note("a", &"up 1\n".repeat(1_000));
        assert_eq!(forwarded.fresh().0, [], "5 KB of them become more than 64");
    }

    #[test]
    fn they_are_told_for_so_long_and_take_so_much_room() {
        let long = "it is\ntoo long";
        let forwarded = Forwarded::new(bytes_of("a", "up 1") + bytes_of("c", long));
        let now = Instant::now();
        let names = |at| forwarded.fresh_at(at).0.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        forwarded.note_at(now, "a", "up 1");
        forwarded.note_at(now, "a", "up 2");
        forwarded.note_at(now, "b", "up 1");
        forwarded.note_at(now, "b", "");
        assert_eq!(names(now), ["a", "b"]);
        let later = now + Duration::from_secs(29);
        forwarded.note_at(later, "c", long);
        assert_eq!(forwarded.fresh_at(later).1, 1);
        forwarded.note_at(later, "a", "up 3");
        assert_eq!(names(now + FRESH), ["a"], "the other one was not heard of any more");
        forwarded.note_at(now + FRESH, "c", long);
        assert_eq!(names(now + FRESH), ["a", "c"], "there is room again");
    }
}
