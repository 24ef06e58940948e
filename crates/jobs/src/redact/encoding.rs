//! Encodings that programs break into lines wherever a line happens to be full: base64, hexadecimal.
//!
//! The text around a secret decides where in its encoding a line ends. So an encoding is found by its
//! head, which is a needle like any other, and then compared character by character, with the ends of
//! lines passed over. A line may also end within the head: what follows then is found by one of
//! the heads that begin a little later, and at most the few characters before are shown.

use std::ops::Range;

/// A head of hexadecimal digits, which are in much that is none.
const HEX_HEAD: usize = 8;
/// A longer encoding is not compared at every place that begins like it: that could take long.
const LONGEST: usize = 256;
/// A line may be indented by up to this many blanks.
const MOST_INDENT: usize = 16;

/// One encoding of one secret.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Encoding {
    text: Box<[u8]>,
    /// How long a head is, and how much of a line must be there before its end is passed over: what
    /// ends with less could begin an encoding everywhere.
    head: usize,
    /// How many heads there are, each beginning one character later.
    heads: usize,
}

/// What a place in a text has of an encoding.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    Other,
    /// All of it; so many bytes belong to it.
    Whole(usize),
    /// All of it that the text is long enough for.
    Begun,
}

impl Encoding {
    /// `None` where `text` is too short or too long.
    pub(super) fn base64(text: &[u8]) -> Option<Self> {
        Self::new(text, 4, 4)
    }

    /// The same, of hexadecimal digits.
    pub(super) fn hex(text: &[u8]) -> Option<Self> {
        Self::new(text, HEX_HEAD, 8)
    }

    /// The same, with something between any two bytes.
    pub(super) fn hex_apart(text: &[u8]) -> Option<Self> {
        Self::new(text, HEX_HEAD, 1)
    }

    fn new(text: &[u8], head: usize, heads: usize) -> Option<Self> {
        let fits = (2 * head..=LONGEST).contains(&text.len());
        fits.then(|| Self { text: text.into(), head, heads: heads.min(text.len() - 2 * head + 1) })
    }

    /// Every head: where it begins, and its characters.
    pub(super) fn heads(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let place = |from: usize| -> Range<usize> { from..from + self.head };
        (0..self.heads).map(move |from| (from, &self.text[place(from)]))
    }

    /// Looks whether `text` begins with what is encoded, from character `from` on.
    pub(super) fn look(&self, from: usize, text: &[u8]) -> Look {
        let mut at = 0;
        let mut wanted = &self.text[from..];
        loop {
            let of_line = common(wanted, &text[at..]);
            at += of_line;
            wanted = &wanted[of_line..];
            if wanted.is_empty() {
                return Look::Whole(at);
            }
            if at == text.len() {
                return Look::Begun;
            }
            let passed = line_end(&text[at..]);
            let Some(passed) = passed.filter(|_| of_line >= self.head) else { return Look::Other };
            at += passed;
            // A blank between two bytes is not needed between two lines.
            wanted = wanted.strip_prefix(b" ").unwrap_or(wanted);
        }
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }
}

/// How many bytes two texts begin with in common.
fn common(one: &[u8], other: &[u8]) -> usize {
    let (mut same, mut limit) = (0, one.len().min(other.len()));
    // Most differ soon, and those that do not are long.
    let mut step = 8.min(limit);
    while same < limit {
        if one[same..same + step] == other[same..same + step] {
            same += step;
        } else {
            limit = same + step - 1;
        }
        step = (limit - same).div_ceil(2);
    }
    same
}

/// How long the end of a line is that `text` begins with, the next one's indent included.
fn line_end(text: &[u8]) -> Option<usize> {
    let newline = match text {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        // Whatever comes next will tell.
        [b'\r'] => return Some(1),
        _ => return None,
    };
    let indent = text[newline..].iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
    Some(newline + indent.take(MOST_INDENT).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_may_end_anywhere_but_near_the_beginning() {
        let encoding = Encoding::base64(b"QUJDREVGR0hJ").unwrap();
        for (text, expect) in [
            ("QUJDREVGR0hJ and more", Look::Whole(12)),
            ("QUJDRE\nVGR0hJ", Look::Whole(13)),
            ("QUJDREVGR0h\r\n\t  J", Look::Whole(17)),
            ("QUJD\nREVG\nR0hJ", Look::Whole(14)),
            ("QUJDREVGR0hj", Look::Other),
            ("QUJ\nDREVGR0hJ", Look::Other),
            ("QUJDREV\nG\nR0hJ", Look::Other),
            ("QUJDRE\n\nVGR0hJ", Look::Other),
            ("QUJDRE\rVGR0hJ", Look::Other),
            ("QUJDRE\n                 VGR0hJ", Look::Other),
            ("QUJDRE", Look::Begun),
            ("QUJDRE\r", Look::Begun),
            ("QUJDRE\n  ", Look::Begun),
        ] {
            assert_eq!(encoding.look(0, text.as_bytes()), expect, "{text:?}");
        }
        assert_eq!(encoding.look(3, b"DREV\nGR0hJ"), Look::Whole(10));
    }

    #[test]
    fn a_separator_is_not_needed_between_lines() {
        let apart = Encoding::hex_apart(b"73 33 63 72 33 74").unwrap();
        for text in ["73 33 63\n 72 33 74", "73 33 63 \n72 33 74", "73 33 63 72 33 74"] {
            assert_eq!(apart.look(0, text.as_bytes()), Look::Whole(text.len()), "{text:?}");
        }
    }

    #[test]
    fn what_is_left_after_the_last_head_is_as_long_as_two() {
        let heads = |text: &[u8]| Encoding::base64(text).map(|encoding| encoding.heads().count());
        assert_eq!(heads(b"1234567"), None);
        assert_eq!(heads(b"12345678"), Some(1));
        assert_eq!(heads(b"1234567890"), Some(3));
        assert_eq!(heads(&[b'x'; 200]), Some(4));
        assert_eq!(heads(&[b'x'; LONGEST + 1]), None);
    }
}
