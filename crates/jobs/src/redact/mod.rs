//! Keeps secrets out of logs, as a stream.
//!
//! A secret is found in every form that programs commonly print it in (see [`forms`]), wherever the
//! stream happens to be cut into writes. Where two secrets overlap the one that begins first wins,
//! and of those that begin together the longest.

mod forms;
mod prefix;
mod stream;

pub use stream::RedactStream;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use prefix::LongNeedle;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Secrets shorter than this, in bytes, are still replaced, but they make logs hard to read and
/// are found in unrelated text; worth a warning.
pub const SHORT_SECRET: usize = 6;

/// Needles up to this length, in bytes, are compared at every place that begins like them.
const LONGEST_SHORT: usize = 256;

/// Replaces every known form of a set of secrets. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactor {
    patterns: Option<Arc<Patterns>>,
}

/// The needles and what replaces them, index by index.
struct Patterns {
    automaton: AhoCorasick,
    needles: Vec<Vec<u8>>,
    replacements: Vec<Arc<str>>,
    /// Short needles by their first byte, to find quickly what the end of a buffer may begin.
    by_first_byte: Vec<Vec<usize>>,
    longest_short: usize,
    /// The others: comparing them byte by byte at every place would take too long.
    long: Vec<LongNeedle>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let needles = self.patterns.as_ref().map_or(0, |patterns| patterns.needles.len());
        f.debug_struct("Redactor").field("needles", &needles).finish()
    }
}

impl Redactor {
    /// A redactor of `secrets`: text and what to write in its place. Empty secrets are ignored.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut needles: BTreeMap<Vec<u8>, Arc<str>> = BTreeMap::new();
        for (secret, replacement) in secrets {
            let replacement: Arc<str> = replacement.into();
            for form in forms::of(secret) {
                needles.entry(form).or_insert_with(|| Arc::clone(&replacement));
            }
            // The secret itself keeps its own replacement, whatever forms of others it equals.
            if !secret.is_empty() {
                needles.insert(secret.as_bytes().to_vec(), replacement);
            }
        }
        Self { patterns: Patterns::build(needles).map(Arc::new) }
    }

    /// Redacts a whole text.
    pub fn redact(&self, text: &str) -> String {
        let mut out = Vec::with_capacity(text.len());
        let mut stream = self.stream();
        stream.push(text.as_bytes(), &mut out);
        stream.finish(&mut out);
        // A needle is whole characters of its own, but base64 and hex forms are ASCII and can't cut one.
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Begins a stream.
    pub fn stream(&self) -> RedactStream {
        RedactStream::new(self.patterns.clone())
    }
}

impl Patterns {
    fn build(needles: BTreeMap<Vec<u8>, Arc<str>>) -> Option<Self> {
        let (needles, replacements): (Vec<_>, Vec<_>) = needles.into_iter().unzip();
        if needles.is_empty() {
            return None;
        }
        let mut by_first_byte = vec![Vec::new(); 256];
        let mut long = Vec::new();
        let mut longest_short = 1;
        for (index, needle) in needles.iter().enumerate() {
            if needle.len() > LONGEST_SHORT {
                long.push(LongNeedle::new(needle));
            } else {
                by_first_byte[usize::from(needle[0])].push(index);
                longest_short = longest_short.max(needle.len());
            }
        }
        // Fails only beyond about 2 GiB of needles; a job's specification is far below that.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            // The quickest kind takes kilobytes for each byte of a secret.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&needles)
            .expect("needles fit an automaton");
        Some(Self { automaton, needles, replacements, by_first_byte, longest_short, long })
    }

    /// How many bytes at the end of `buffer` may be the beginning of a needle that goes on.
    fn unfinished_tail(&self, buffer: &[u8]) -> usize {
        let long = self.long.iter().map(|needle| needle.begun_at_end_of(buffer)).max();
        long.unwrap_or(0).max(self.short_tail(buffer))
    }

    /// The same for short needles only.
    fn short_tail(&self, buffer: &[u8]) -> usize {
        let window = buffer.len().min(self.longest_short - 1);
        let first = buffer.len() - window;
        let begins_here = |&at: &usize| {
            let tail = &buffer[at..];
            let candidates = &self.by_first_byte[usize::from(buffer[at])];
            candidates.iter().any(|&index| {
                let needle = &self.needles[index];
                needle.len() > tail.len() && needle.starts_with(tail)
            })
        };
        (first..buffer.len()).find(begins_here).map_or(0, |at| buffer.len() - at)
    }
}

#[cfg(test)]
mod tests;
