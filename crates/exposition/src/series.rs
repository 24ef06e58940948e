//! Numbers with labels: counters, and how long things took.

use super::text::{Kind, Text};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Label combinations of one metric at most. What comes beyond is counted under [`OTHER`].
pub const MOST_SERIES: usize = 200;
/// The label value that stands for all that did not fit.
const OTHER: &str = "other";

/// Label values, in the order of the metric's label names.
type Key = Vec<String>;

/// What a metric is called and what its labels are.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// Its name.
    pub name: &'static str,
    /// What it tells, for people.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
}

/// All series of one metric, by label values.
pub type Counted<T> = Vec<(Key, T)>;

/// The series of one metric.
#[derive(Debug)]
struct Cells<T>(Mutex<BTreeMap<Key, T>>);

impl<T: Default> Cells<T> {
    fn change(&self, values: &[&str], change: impl FnOnce(&mut T)) {
        let mut cells = self.lock();
        let mut key: Key = values.iter().map(|&value| value.to_owned()).collect();
        if cells.len() >= MOST_SERIES && !cells.contains_key(&key) {
            key.fill(OTHER.to_owned());
        }
        change(cells.entry(key).or_default());
    }

    /// All of it, which begins anew.
    fn take(&self) -> Counted<T> {
        std::mem::take(&mut *self.lock()).into_iter().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, T>> {
        // A number more or less is all that a panic under this lock can leave behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Named {
    /// The pairs of one series.
    fn pairs<'a>(&self, key: &'a Key) -> Vec<(&'static str, &'a str)> {
        self.labels.iter().copied().zip(key.iter().map(String::as_str)).collect()
    }
}

/// Counts what happened.
#[derive(Debug)]
pub struct Counter {
    named: Named,
    cells: Cells<u64>,
}

impl Counter {
    /// Nothing was counted yet.
    pub const fn new(named: Named) -> Self {
        Self { named, cells: Cells(Mutex::new(BTreeMap::new())) }
    }

    /// It happened once more.
    pub fn count(&self, values: &[&str]) {
        self.count_more(values, 1);
    }

    /// It happened so often.
    pub fn count_more(&self, values: &[&str], more: u64) {
        self.cells.change(values, |count| *count += more);
    }

    /// All that was counted, which begins anew.
    pub fn take(&self) -> Counted<u64> {
        self.cells.take()
    }

    /// What was counted elsewhere.
    pub fn add(&self, counted: Counted<u64>) {
        for (key, more) in counted {
            let values: Vec<&str> = key.iter().map(String::as_str).collect();
            self.cells.change(&values, |count| *count += more);
        }
    }

    /// A series that is there from the start, so that its first change can be seen.
    pub fn begin(&self, values: &[&str]) {
        self.cells.change(values, |_| {});
    }

    /// Adds what was counted; nothing where nothing was.
    pub fn write(&self, text: &mut Text) {
        let cells = self.cells.lock();
        if cells.is_empty() {
            return;
        }
        text.family(self.named.name, self.named.help, Kind::Counter);
        for (key, count) in &*cells {
            text.sample(self.named.name, &self.named.pairs(key), *count as f64);
        }
    }
}

/// Tells how long things took, in seconds.
#[derive(Debug)]
pub struct Histogram {
    named: Named,
    /// Upper bounds, ascending.
    bounds: &'static [f64],
    cells: Cells<Took>,
}

/// How long those of one series took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Took {
    /// How many lay below each bound and above the one before it.
    below: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histogram {
    /// `bounds` are upper ones, ascending.
    pub const fn new(named: Named, bounds: &'static [f64]) -> Self {
        Self { named, bounds, cells: Cells(Mutex::new(BTreeMap::new())) }
    }

    /// All that was observed, which begins anew.
    pub fn take(&self) -> Counted<Took> {
        self.cells.take()
    }

    /// What was observed elsewhere, against the same bounds.
    pub fn add(&self, counted: Counted<Took>) {
        for (key, more) in counted {
            let values: Vec<&str> = key.iter().map(String::as_str).collect();
            self.cells.change(&values, |cell| {
                cell.below.resize(self.bounds.len(), 0);
                cell.below.iter_mut().zip(&more.below).for_each(|(below, more)| *below += more);
                cell.count += more.count;
                cell.sum += more.sum;
            });
        }
    }

    /// One of them took so long.
    pub fn observe(&self, values: &[&str], took: Duration) {
        let seconds = took.as_secs_f64();
        self.cells.change(values, |cell| {
            cell.below.resize(self.bounds.len(), 0);
            if let Some(index) = self.bounds.iter().position(|bound| seconds <= *bound) {
                cell.below[index] += 1;
            }
            cell.count += 1;
            cell.sum += seconds;
        });
    }

    /// Adds what was observed; nothing where nothing was.
    pub fn write(&self, text: &mut Text) {
        let cells = self.cells.lock();
        if cells.is_empty() {
            return;
        }
        let Named { name, help, .. } = self.named;
        text.family(name, help, Kind::Histogram);
        let (bucket, sum, count) = (format!("{name}_bucket"), format!("{name}_sum"), format!("{name}_count"));
        for (key, took) in &*cells {
            let pairs = self.named.pairs(key);
            let mut so_far = 0;
            for (bound, below) in self.bounds.iter().zip(&took.below) {
                so_far += below;
                text.sample(&bucket, &[&pairs[..], &[("le", &bound.to_string())]].concat(), so_far as f64);
            }
            text.sample(&bucket, &[&pairs[..], &[("le", "+Inf")]].concat(), took.count as f64);
            text.sample(&sum, &pairs, took.sum);
            text.sample(&count, &pairs, took.count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMED: Named = Named { name: "x_total", help: "Xs.", labels: &["queue"] };

    fn written(write: impl FnOnce(&mut Text)) -> String {
        let mut text = Text::default();
        write(&mut text);
        text.into_string()
    }

    #[test]
    fn a_counter_counts_by_label() {
        let counter = Counter::new(NAMED);
        assert_eq!(written(|text| counter.write(text)), "");
        counter.begin(&["codeintel"]);
        counter.count(&["batches"]);
        counter.count(&["batches"]);
        assert_eq!(
            written(|text| counter.write(text)),
            "# HELP x_total Xs.\n# TYPE x_total counter\nx_total{queue=\"batches\"} 2\nx_total{queue=\"codeintel\"} 0\n"
        );
    }

    #[test]
    fn what_others_choose_makes_no_more_than_so_many_series() {
        let counter = Counter::new(NAMED);
        for number in 0..10 * MOST_SERIES {
            counter.count(&[&number.to_string()]);
        }
        let text = written(|text| counter.write(text));
        assert_eq!(text.lines().count(), 2 + MOST_SERIES + 1);
        assert!(text.contains(&format!("x_total{{queue=\"other\"}} {}\n", 9 * MOST_SERIES)), "{text}");
    }

    #[test]
    fn buckets_add_up() {
        let histogram = Histogram::new(Named { name: "t_seconds", help: "T.", labels: &["op"] }, &[0.5, 1.0]);
        for millis in [100, 500, 700, 5_000] {
            histogram.observe(&["a"], Duration::from_millis(millis));
        }
        assert_eq!(
            written(|text| histogram.write(text)),
            "# HELP t_seconds T.\n# TYPE t_seconds histogram\n\
             t_seconds_bucket{op=\"a\",le=\"0.5\"} 2\n\
             t_seconds_bucket{op=\"a\",le=\"1\"} 3\n\
             t_seconds_bucket{op=\"a\",le=\"+Inf\"} 4\n\
             t_seconds_sum{op=\"a\"} 6.3\n\
             t_seconds_count{op=\"a\"} 4\n"
        );
    }
}
