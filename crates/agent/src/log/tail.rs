//! The end of a text whose length nobody knows.

use std::collections::VecDeque;

/// Keeps the last bytes that were pushed, and counts all of them.
#[derive(Debug)]
pub(super) struct Tail {
    limit: usize,
    bytes: VecDeque<u8>,
    pushed: u64,
}

impl Tail {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, bytes: VecDeque::new(), pushed: 0 }
    }

    pub(super) fn push(&mut self, text: &str) {
        self.pushed += text.len() as u64;
        let kept = &text.as_bytes()[text.len().saturating_sub(self.limit)..];
        let excess = (self.bytes.len() + kept.len()).saturating_sub(self.limit);
        self.bytes.drain(..excess);
        self.bytes.extend(kept);
    }

    /// How many bytes are gone, and the end that is left. It begins with a whole line if it holds
    /// the beginning of one.
    pub(super) fn into_end(mut self) -> (u64, String) {
        let bytes: &[u8] = self.bytes.make_contiguous();
        let end = if (bytes.len() as u64) == self.pushed {
            bytes
        } else {
            match bytes.iter().position(|byte| *byte == b'\n') {
                Some(newline) if newline + 1 < bytes.len() => &bytes[newline + 1..],
                _ => skip_half_a_character(bytes),
            }
        };
        let left_out = self.pushed - end.len() as u64;
        (left_out, String::from_utf8_lossy(end).into_owned())
    }
}

fn skip_half_a_character(bytes: &[u8]) -> &[u8] {
    let inside = bytes.iter().take_while(|byte| **byte & 0b1100_0000 == 0b1000_0000).count();
    &bytes[inside..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_kept_whole() {
        let mut tail = Tail::new(10);
        tail.push("abc");
        tail.push("\ndef");
        assert_eq!(tail.into_end(), (0, "abc\ndef".to_owned()));
    }

    #[test]
    fn the_end_begins_with_a_whole_line_or_at_least_a_whole_character() {
        let mut tail = Tail::new(8);
        tail.push("first\nsecond\nlast\n");
        assert_eq!(tail.into_end(), (13, "last\n".to_owned()));
        let mut tail = Tail::new(3);
        tail.push("üüü");
        assert_eq!(tail.into_end(), (4, "ü".to_owned()));
    }
}
