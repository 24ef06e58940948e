//! Where a follower of a job's log is, as short text.
//!
//! Executors run one command after another, so of a try's entries all but the last few have ended
//! and been sent. The text is the try, how many entries are done with, and for each of the others
//! how far its text was sent: `2.14.15-1024.16-0e` (`e`: its end was told).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Open entries that a cursor may hold at most.
const MAX_OPEN: usize = 1_000;

/// Where a follower is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The try; 0 before the first.
    pub(crate) attempt: u32,
    /// The entries up to this number need no further look.
    pub(crate) done: i64,
    /// The entries above that were announced.
    pub(crate) open: BTreeMap<i64, Progress>,
}

/// How much of an entry was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes of its text.
    pub(crate) offset: u64,
    /// That it ended.
    pub(crate) ended: bool,
}

impl Cursor {
    /// At the beginning of a try.
    pub(super) fn begin(attempt: u32) -> Self {
        Self { attempt, ..Self::default() }
    }

    /// Forgets the leading entries that ended, after all of their text was sent.
    pub(super) fn settle(&mut self, number: i64) {
        if number == self.done + 1 && self.open.get(&number).is_some_and(|progress| progress.ended) {
            self.open.remove(&number);
            self.done = number;
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.attempt, self.done)?;
        for (number, Progress { offset, ended }) in &self.open {
            write!(f, ".{number}-{offset}{}", if *ended { "e" } else { "" })?;
        }
        Ok(())
    }
}

/// The text is not one of our cursors.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not one that this server gave: pass the id of the last event, or nothing")]
pub(crate) struct BadCursor;

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(BadCursor);
        let attempt = next()?.parse().map_err(|_| BadCursor)?;
        let done = next()?.parse().ok().filter(|done| *done >= 0).ok_or(BadCursor)?;
        let open = parts.map(progress).collect::<Option<BTreeMap<_, _>>>().ok_or(BadCursor)?;
        if open.len() > MAX_OPEN { Err(BadCursor) } else { Ok(Self { attempt, done, open }) }
    }
}

fn progress(part: &str) -> Option<(i64, Progress)> {
    let (number, offset) = part.split_once('-')?;
    let (offset, ended) = offset.strip_suffix('e').map_or((offset, false), |offset| (offset, true));
    Some((number.parse().ok()?, Progress { offset: offset.parse().ok()?, ended }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        for text in ["0.0", "2.14", "2.14.15-1024.16-0e"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
        for bad in ["", "1", "x.0", "1.-1", "1.0.", "1.0.2", "1.0.2-", "1.0.2-3f", "-1.0"] {
            assert_eq!(bad.parse::<Cursor>(), Err(BadCursor), "{bad}");
        }
    }

    #[test]
    fn entries_settle_in_order_only() {
        let mut cursor: Cursor = "1.0.1-5.2-7e".parse().unwrap();
        cursor.settle(2);
        assert_eq!(cursor.to_string(), "1.0.1-5.2-7e");
        cursor.open.get_mut(&1).unwrap().ended = true;
        cursor.settle(1);
        cursor.settle(2);
        assert_eq!(cursor.to_string(), "1.2");
    }
}
