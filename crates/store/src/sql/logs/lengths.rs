//! How long the texts of one try are. Files or rows are the truth; this remembers what they told.

use super::files::{failed, text_path};
use crate::error::StoreError;
use jobs::JobId;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::Path;

/// The length of every text of a try.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Lengths {
    by_entry: HashMap<i64, u64>,
    total: u64,
}

impl Lengths {
    /// Reads the lengths off the files in `dir`. Blocks.
    pub(super) fn scan(dir: &Path) -> Result<Self, StoreError> {
        match read_dir(dir) {
            // The directory comes with the first text.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            read => read.map_err(|error| failed(dir, error)),
        }
    }

    /// Reads the length of one text only. Blocks.
    pub(super) fn of_one(dir: &Path, entry: i64) -> Result<Self, StoreError> {
        let path = text_path(dir, entry);
        let mut lengths = Self::default();
        match std::fs::metadata(&path) {
            Ok(file) => lengths.set(entry, file.len()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path, error)),
        }
        Ok(lengths)
    }

    /// The length of one entry's text. One without text has no file.
    pub(super) fn of(&self, entry: i64) -> u64 {
        self.by_entry.get(&entry).copied().unwrap_or(0)
    }

    /// The entries that have text, in order.
    pub(super) fn entries(&self) -> Vec<i64> {
        let with_text = self.by_entry.iter().filter(|(_, length)| **length > 0);
        let mut entries: Vec<i64> = with_text.map(|(entry, _)| *entry).collect();
        entries.sort_unstable();
        entries
    }

    /// Whether anything is known of the entry.
    pub(super) fn knows(&self, entry: i64) -> bool {
        self.by_entry.contains_key(&entry)
    }

    /// Refuses what would make all texts of the job's try together longer than `limit`: this entry's, were it as long as that.
    pub(super) fn check(&self, job: JobId, entry: i64, length: u64, limit: u64) -> Result<(), StoreError> {
        if self.total_with(entry, length) > limit {
            return Err(StoreError::LogFull { job, limit });
        }
        Ok(())
    }

    /// The length of all texts, were this entry's as long as that.
    fn total_with(&self, entry: i64, length: u64) -> u64 {
        self.total - self.of(entry) + length
    }

    pub(super) fn set(&mut self, entry: i64, length: u64) {
        self.total = self.total_with(entry, length);
        self.by_entry.insert(entry, length);
    }
}

impl FromIterator<(i64, u64)> for Lengths {
    fn from_iter<I: IntoIterator<Item = (i64, u64)>>(of_entries: I) -> Self {
        let mut lengths = Self::default();
        for (entry, length) in of_entries {
            lengths.set(entry, length);
        }
        lengths
    }
}

fn read_dir(dir: &Path) -> io::Result<Lengths> {
    let mut lengths = Lengths::default();
    for file in std::fs::read_dir(dir)? {
        let file = file?;
        let name = file.file_name();
        if let Some(entry) = name.to_str().and_then(|name| name.strip_suffix(".log")?.parse().ok()) {
            lengths.set(entry, file.metadata()?.len());
        }
    }
    Ok(lengths)
}
