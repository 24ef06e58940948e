//! What is looked for in a text, all at once, and what of it a text has.

use super::encoding::{Encoding, Look};
use super::forms;
use super::prefix::LongNeedle;
use aho_corasick::automaton::OverlappingState;
use aho_corasick::{AhoCorasick, AhoCorasickKind, Match, MatchKind};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Forms up to this length, in bytes, are compared at every place that begins like them.
const LONGEST_SHORT: usize = 256;

/// The needles of some secrets: their exact forms, and the heads of their encodings.
pub(super) struct Needles {
    /// Finds every needle, those inside others as well, in one pass whatever they have in common.
    automaton: AhoCorasick,
    /// What each needle means.
    meanings: Vec<Meaning>,
    encodings: Vec<(Encoding, Arc<str>)>,
    exact: Tails,
    heads: Tails,
    /// Long exact forms: comparing them byte by byte at every place would take too long.
    long: Vec<LongNeedle>,
}

/// What is where a needle was found, or may be.
struct Meaning {
    /// What replaces it, if it is an exact form.
    exact: Option<Arc<str>>,
    heads: Vec<Head>,
}

/// An encoding may begin here, with its character `from`.
#[derive(Clone, Copy)]
struct Head {
    encoding: usize,
    from: usize,
}

/// What follows a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    MayCome,
    Nothing,
}

/// A secret in a text.
pub(super) struct Found<'a> {
    pub(super) place: Range<usize>,
    pub(super) replacement: &'a str,
    /// Of two secrets at one place the one that is there as it is gives the replacement.
    encoded: bool,
}

/// What a text has of secrets.
pub(super) struct Seen<'a> {
    /// By where they begin, and of those that begin together the longest first.
    pub(super) found: Vec<Found<'a>>,
    /// What begins before this place is known, whatever follows the text.
    pub(super) settled: usize,
}

impl Needles {
    pub(super) fn count(&self) -> usize {
        self.meanings.len()
    }

    /// Looks for all secrets in `text`.
    pub(super) fn look_through(&self, text: &[u8], rest: Rest) -> Seen<'_> {
        let mut found: Vec<Found<'_>> = Vec::new();
        let mut settled = match rest {
            Rest::MayCome => text.len() - self.unfinished_tail(text),
            Rest::Nothing => text.len(),
        };
        let mut state = OverlappingState::start();
        while let Some(needle) = self.next(text, &mut state) {
            let meaning = &self.meanings[needle.pattern().as_usize()];
            let start = needle.start();
            if let Some(replacement) = &meaning.exact
                && !found.last().is_some_and(|last| last.has_inside(&needle.range()))
            {
                found.push(Found { place: needle.range(), replacement, encoded: false });
            }
            let mut whole = None;
            for head in &meaning.heads {
                // What is settled later is looked for later, and of one encoding the rest is in the whole.
                if start >= settled || whole == Some(head.encoding) {
                    continue;
                }
                let (encoding, replacement) = &self.encodings[head.encoding];
                match encoding.look(head.from, &text[start..]) {
                    Look::Whole(len) => {
                        found.push(Found { place: start..start + len, replacement, encoded: true });
                        whole = Some(head.encoding);
                    }
                    Look::Begun if rest == Rest::MayCome => settled = start,
                    Look::Begun | Look::Other => {}
                }
            }
        }
        found.sort_by_key(|one| (one.place.start, Reverse(one.place.end), one.encoded));
        Seen { found, settled }
    }

    fn next(&self, text: &[u8], state: &mut OverlappingState) -> Option<Match> {
        self.automaton.find_overlapping(text, state);
        state.get_match()
    }

    /// How many bytes at the end of `text` may be the beginning of a needle that goes on.
    fn unfinished_tail(&self, text: &[u8]) -> usize {
        let long = self.long.iter().map(|needle| needle.begun_at_end_of(text)).max();
        long.unwrap_or(0).max(self.exact.begun_at_end_of(text)).max(self.heads.begun_at_end_of(text))
    }
}

impl Found<'_> {
    /// Whether `place` begins later and ends no later: of no account beside this one.
    fn has_inside(&self, place: &Range<usize>) -> bool {
        self.place.start < place.start && place.end <= self.place.end
    }
}

/// Short needles by their first byte, to find quickly what the end of a text may begin.
struct Tails {
    by_first_byte: Vec<Vec<Box<[u8]>>>,
    longest: usize,
    /// Which pairs of bytes they begin with, and some others: one bit each.
    pairs: [u64; PAIRS / 64],
}

/// Pairs of bytes that are told from each other.
const PAIRS: usize = 4_096;

fn pair(bytes: &[u8]) -> (usize, u64) {
    let number = ((usize::from(bytes[0]) << 5) ^ usize::from(bytes[1])) % PAIRS;
    (number / 64, 1 << (number % 64))
}

impl Tails {
    fn new<'a>(needles: impl Iterator<Item = &'a Vec<u8>>) -> Self {
        let mut tails = Self { by_first_byte: vec![Vec::new(); 256], longest: 1, pairs: [0; PAIRS / 64] };
        for needle in needles {
            tails.by_first_byte[usize::from(needle[0])].push(needle.as_slice().into());
            tails.longest = tails.longest.max(needle.len());
            if needle.len() > 1 {
                let (word, bit) = pair(needle);
                tails.pairs[word] |= bit;
            }
        }
        tails
    }

    fn begun_at_end_of(&self, text: &[u8]) -> usize {
        let window = text.len().min(self.longest - 1);
        (text.len() - window..text.len())
            .find(|at| self.has_begun_by(&text[*at..]))
            .map_or(0, |at| text.len() - at)
    }

    fn has_begun_by(&self, tail: &[u8]) -> bool {
        if tail.len() > 1 {
            let (word, bit) = pair(tail);
            if self.pairs[word] & bit == 0 {
                return false;
            }
        }
        let candidates = &self.by_first_byte[usize::from(tail[0])];
        candidates.iter().any(|needle| needle.len() > tail.len() && needle.starts_with(tail))
    }
}

/// Needles while they are collected.
#[derive(Default)]
pub(super) struct Making {
    exact: BTreeMap<Vec<u8>, Arc<str>>,
    encodings: BTreeMap<Encoding, Arc<str>>,
}

impl Making {
    pub(super) fn add(&mut self, secret: &str, replacement: &Arc<str>) {
        let forms = forms::of(secret);
        for form in forms.exact {
            self.exact.entry(form).or_insert_with(|| Arc::clone(replacement));
        }
        for encoding in forms.encodings {
            self.encodings.entry(encoding).or_insert_with(|| Arc::clone(replacement));
        }
        // The secret itself keeps its own replacement, whatever forms of others it equals.
        if !secret.is_empty() {
            self.exact.insert(secret.as_bytes().to_vec(), Arc::clone(replacement));
        }
    }

    /// `None` when there is nothing to look for.
    pub(super) fn build(self) -> Option<Needles> {
        if self.exact.is_empty() {
            return None;
        }
        let encodings: Vec<_> = self.encodings.into_iter().collect();
        let mut heads: BTreeMap<Vec<u8>, Vec<Head>> = BTreeMap::new();
        for (index, (encoding, _)) in encodings.iter().enumerate() {
            for (from, head) in encoding.heads() {
                heads.entry(head.to_vec()).or_default().push(Head { encoding: index, from });
            }
        }
        let mut needles: Vec<&Vec<u8>> = self.exact.keys().chain(heads.keys()).collect();
        needles.sort_unstable();
        needles.dedup();
        let meaning = |needle: &&Vec<u8>| Meaning {
            exact: self.exact.get(*needle).map(Arc::clone),
            heads: heads.get(*needle).cloned().unwrap_or_default(),
        };
        let meanings = needles.iter().map(meaning).collect();
        // Fails only beyond about 2 GiB of needles; a job's specification is far below that.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            // The quickest kind takes kilobytes for each byte of a secret.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&needles)
            .expect("needles fit an automaton");
        let (short, long): (Vec<_>, Vec<_>) =
            self.exact.keys().partition(|needle| needle.len() <= LONGEST_SHORT);
        Some(Needles {
            automaton,
            meanings,
            encodings,
            exact: Tails::new(short.into_iter()),
            heads: Tails::new(heads.keys()),
            long: long.into_iter().map(|needle| LongNeedle::new(needle)).collect(),
        })
    }
}
