//! Where a follower of a job's log is, as short text.
//!
//! Entries are announced in their order, so of those up to the latest that was, each is done with or known to be open. The text
//! is the try, the entry up to which all are done with, how far the text of each open one was sent, and which was announced
//! last, where that is none of these: `2.14.15-1024.17-0.~20`. A text of the version before also names open ones that ended
//! (`16-0e`), which are done with.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Open entries that a cursor holds. An executor has a few open at one time; of more the oldest count as done with.
pub(crate) const MAX_OPEN: usize = 64;

/// Where a follower is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The try; 0 before the first.
    pub(crate) attempt: u32,
    /// The last entry that was announced.
    pub(crate) seen: i64,
    /// Those of them that have not ended, and how many bytes of their text were sent.
    pub(crate) open: BTreeMap<i64, u64>,
}

impl Cursor {
    /// At the beginning of a try.
    pub(crate) fn begin(attempt: u32) -> Self {
        Self { attempt, ..Self::default() }
    }

    /// An entry was announced, and so far of its text was sent.
    pub(crate) fn announce(&mut self, number: i64, offset: u64) {
        self.seen = self.seen.max(number);
        self.open.insert(number, offset);
        while self.open.len() > MAX_OPEN {
            self.open.pop_first();
        }
    }

    /// An entry ended, and all of its text was sent.
    pub(crate) fn end(&mut self, number: i64) {
        self.seen = self.seen.max(number);
        self.open.remove(&number);
    }

    /// The entries up to this one need no further look.
    pub(super) fn done(&self) -> i64 {
        self.open.first_key_value().map_or(self.seen, |(first, _)| first - 1)
    }

    /// How many bytes of an entry's text were sent, if more may be to be told of it.
    pub(super) fn offset(&self, number: i64) -> Option<u64> {
        if number > self.seen { Some(0) } else { self.open.get(&number).copied() }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.attempt, self.done())?;
        for (number, offset) in &self.open {
            write!(f, ".{number}-{offset}")?;
        }
        match self.open.last_key_value() {
            Some((last, _)) if *last < self.seen => write!(f, ".~{}", self.seen),
            _ => Ok(()),
        }
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
        let seen = next()?.parse().ok().filter(|done| *done >= 0).ok_or(BadCursor)?;
        let mut cursor = Self { attempt, seen, open: BTreeMap::new() };
        for part in parts {
            cursor.go_on(part).ok_or(BadCursor)?;
        }
        Ok(cursor)
    }
}

impl Cursor {
    /// Takes in what is told of later entries.
    fn go_on(&mut self, part: &str) -> Option<()> {
        let later = |number: &str| number.parse().ok().filter(|number| *number > self.seen);
        if let Some(last) = part.strip_prefix('~') {
            self.seen = later(last)?;
            return Some(());
        }
        let (number, offset) = part.split_once('-')?;
        let number = later(number)?;
        match offset.strip_suffix('e') {
            Some(offset) => {
                offset.parse::<u64>().ok()?;
                self.end(number);
            }
            None => self.announce(number, offset.parse().ok()?),
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        for text in ["0.0", "2.14", "2.14.15-1024.17-0", "2.14.15-1024.17-0.~20", "1.0.1-0.~10000"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
        for (before, now) in [
            ("2.14.15-1024.16-0e", "2.14.15-1024.~16"),
            ("2.14.15-3.16-9e.17-4", "2.14.15-3.17-4"),
            ("2.14.15-3e", "2.15"),
        ] {
            assert_eq!(before.parse::<Cursor>().unwrap().to_string(), now);
        }
        for bad in [
            "",
            "1",
            "x.0",
            "1.-1",
            "1.0.",
            "1.0.2",
            "1.0.2-",
            "1.0.2-3f",
            "1.0.2-e",
            "-1.0",
            "1.5.5-1",
            "1.0.2-1.1-1",
            "1.0.~",
            "1.5.~5",
        ] {
            assert_eq!(bad.parse::<Cursor>(), Err(BadCursor), "{bad}");
        }
    }

    #[test]
    fn what_ended_out_of_turn_takes_no_room() {
        let mut cursor = Cursor::begin(1);
        for number in 1..=10_000 {
            cursor.announce(number, 0);
            if number > 1 {
                cursor.end(number);
            }
        }
        assert_eq!((cursor.to_string().as_str(), cursor.done()), ("1.0.1-0.~10000", 0));
        assert_eq!([1, 2, 10_001].map(|number| cursor.offset(number)), [Some(0), None, Some(0)]);
        cursor.end(1);
        assert_eq!(cursor.to_string(), "1.10000");
    }

    #[test]
    fn however_many_are_open_the_text_is_short_and_is_taken_back() {
        let mut cursor = Cursor::begin(u32::MAX);
        for number in 1..=10_000 {
            cursor.announce(number, 512 << 20);
            let text = cursor.to_string();
            assert!(text.len() < 1_500, "{} bytes", text.len());
            assert_eq!(text.parse(), Ok(cursor.clone()));
        }
        assert_eq!((cursor.open.len(), cursor.done()), (MAX_OPEN, 10_000 - 64));
    }
}
