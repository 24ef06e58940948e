//! What is looked for in a text, all at once, and what a place where something was found has.

use super::encoding::{Encoding, LONGEST_HEAD, Look};
use super::forms;
use super::prefix::LongNeedle;
use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Forms up to this length, in bytes, are compared at every place that begins like them.
const LONGEST_SHORT: usize = 256;

/// The needles of some secrets: their exact forms, and the heads of their encodings.
pub(super) struct Needles {
    automaton: AhoCorasick,
    /// What each needle means.
    meanings: Vec<Meaning>,
    encodings: Vec<(Encoding, Arc<str>)>,
    exact: Tails,
    heads: Tails,
    /// Long exact forms: comparing them byte by byte at every place would take too long.
    long: Vec<LongNeedle>,
}

/// What may be where a needle was found and no longer one.
struct Meaning {
    /// The longest exact form: its length and what replaces it.
    exact: Option<(usize, Arc<str>)>,
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

/// What a place has.
pub(super) enum Verdict<'a> {
    Other,
    /// A secret of so many bytes, and what replaces it.
    Secret {
        len: usize,
        replacement: &'a str,
    },
    /// Perhaps a secret that goes on beyond the end of the text.
    Begun,
}

impl Needles {
    pub(super) fn count(&self) -> usize {
        self.meanings.len()
    }

    /// Where the next needle begins, and which it is.
    pub(super) fn next(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        let found = self.automaton.find(Input::new(text).range(from..))?;
        Some((found.start(), found.pattern().as_usize()))
    }

    /// What `text` begins with, which begins with the given needle. Nothing has begun that can't go on.
    pub(super) fn judge(&self, needle: usize, text: &[u8], rest: Rest) -> Verdict<'_> {
        let meaning = &self.meanings[needle];
        let mut longest = meaning.exact.as_ref().map(|(len, replacement)| (*len, replacement));
        for head in &meaning.heads {
            let (encoding, replacement) = &self.encodings[head.encoding];
            match encoding.look(head.from, text) {
                Look::Begun if rest == Rest::MayCome => return Verdict::Begun,
                Look::Begun | Look::Other => {}
                Look::Whole(len) if longest.is_some_and(|(other, _)| other >= len) => {}
                Look::Whole(len) => longest = Some((len, replacement)),
            }
        }
        longest.map_or(Verdict::Other, |(len, replacement)| Verdict::Secret { len, replacement })
    }

    /// How many bytes at the end of `text` may be the beginning of a needle that goes on.
    pub(super) fn unfinished_tail(&self, text: &[u8]) -> usize {
        let long = self.long.iter().map(|needle| needle.begun_at_end_of(text)).max();
        long.unwrap_or(0).max(self.exact.begun_at_end_of(text)).max(self.heads.begun_at_end_of(text))
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
        // A needle that is longer than any head is an exact form, and then the longest there.
        let lengths = self.exact.keys().map(Vec::len).filter(|len| *len <= LONGEST_HEAD);
        let lengths = lengths.chain(heads.keys().map(Vec::len)).collect();
        let meaning = |needle: &&Vec<u8>| meaning(needle, &self.exact, &heads, &lengths);
        let meanings = needles.iter().map(meaning).collect();
        // Fails only beyond about 2 GiB of needles; a job's specification is far below that.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
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

/// What may be where `needle` is the longest that was found: everything that it begins with.
fn meaning(
    needle: &[u8],
    exact: &BTreeMap<Vec<u8>, Arc<str>>,
    heads: &BTreeMap<Vec<u8>, Vec<Head>>,
    lengths: &BTreeSet<usize>,
) -> Meaning {
    let beginnings = || lengths.range(..needle.len()).map(|len| &needle[..*len]).chain([needle]);
    let form = beginnings().filter_map(|form| Some((form.len(), exact.get(form)?))).next_back();
    Meaning {
        exact: form.map(|(len, replacement)| (len, Arc::clone(replacement))),
        heads: beginnings().filter_map(|head| heads.get(head)).flatten().copied().collect(),
    }
}
