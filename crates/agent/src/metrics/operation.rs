//! Things that are done over and over: how often they work, how often not, and how long they take.
//!
//! The names and the meaning are documented: what failed counts as an error and nowhere else.

use exposition::{Counted, Counter, Histogram, Named, Text, Took};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The bounds that calls and commands are documented with, in seconds.
pub(super) const SHORT: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Those of jobs.
pub(super) const JOBS: &[f64] =
    &[30.0, 60.0, 150.0, 300.0, 450.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0];

/// One kind of them.
#[derive(Debug)]
pub(crate) struct Operation {
    total: Counter,
    errors: Counter,
    duration: Histogram,
}

/// What was counted of an operation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OperationCounts {
    total: Counted<u64>,
    errors: Counted<u64>,
    duration: Counted<Took>,
}

/// The three names of an operation.
pub(super) struct Names {
    pub(super) total: &'static str,
    pub(super) errors: &'static str,
    pub(super) duration: &'static str,
    pub(super) labels: &'static [&'static str],
}

impl Operation {
    pub(super) const fn new(names: &Names, bounds: &'static [f64]) -> Self {
        let labels = names.labels;
        Self {
            total: Counter::new(Named { name: names.total, help: "How many worked.", labels }),
            errors: Counter::new(Named { name: names.errors, help: "How many failed.", labels }),
            duration: Histogram::new(
                Named { name: names.duration, help: "How long those took that worked, in seconds.", labels },
                bounds,
            ),
        }
    }

    /// One of them is over.
    pub(crate) fn done(&self, values: &[&str], took: Duration, worked: bool) {
        if worked {
            self.total.count(values);
            self.duration.observe(values, took);
        } else {
            self.errors.count(values);
        }
    }

    pub(super) fn take(&self) -> OperationCounts {
        OperationCounts {
            total: self.total.take(),
            errors: self.errors.take(),
            duration: self.duration.take(),
        }
    }

    pub(super) fn add(&self, counts: OperationCounts) {
        self.total.add(counts.total);
        self.errors.add(counts.errors);
        self.duration.add(counts.duration);
    }

    pub(super) fn write(&self, text: &mut Text) {
        self.total.write(text);
        self.errors.write(text);
        self.duration.write(text);
    }
}
