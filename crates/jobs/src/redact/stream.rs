//! Redaction of a stream that arrives in pieces.

use super::Patterns;
use std::sync::Arc;

/// One stream of bytes on its way through a [`super::Redactor`].
pub struct RedactStream {
    patterns: Option<Arc<Patterns>>,
    /// Bytes that may be the beginning of a secret.
    held: Vec<u8>,
}

impl std::fmt::Debug for RedactStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedactStream").field("held_bytes", &self.held.len()).finish_non_exhaustive()
    }
}

impl RedactStream {
    pub(super) fn new(patterns: Option<Arc<Patterns>>) -> Self {
        Self { patterns, held: Vec::new() }
    }

    /// Takes bytes in and appends to `out` what can be told to be free of secrets. Bytes that may be
    /// the beginning of a secret are held back until more comes.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Some(patterns) = self.patterns.clone() else {
            out.extend_from_slice(bytes);
            return;
        };
        if self.held.is_empty() {
            // The common case: nothing is pending, so the caller's buffer is searched in place.
            let kept = replace(&patterns, bytes, bytes.len() - patterns.unfinished_tail(bytes), out);
            self.held.extend_from_slice(&bytes[kept..]);
            return;
        }
        self.held.extend_from_slice(bytes);
        let settled = self.held.len() - patterns.unfinished_tail(&self.held);
        let kept = replace(&patterns, &self.held, settled, out);
        self.held.drain(..kept);
    }

    /// The stream ended: appends what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(patterns) = self.patterns.clone() {
            let held = std::mem::take(&mut self.held);
            replace(&patterns, &held, held.len(), out);
        }
    }
}

/// Copies `buffer` to `out` up to byte `settled`, with every secret that begins before it replaced.
/// Returns how many bytes were dealt with: a secret may reach beyond `settled`.
fn replace(patterns: &Patterns, buffer: &[u8], settled: usize, out: &mut Vec<u8>) -> usize {
    let mut done = 0;
    for found in patterns.automaton.find_iter(buffer) {
        if found.start() >= settled {
            break;
        }
        out.extend_from_slice(&buffer[done..found.start()]);
        out.extend_from_slice(patterns.replacements[found.pattern().as_usize()].as_bytes());
        done = found.end();
    }
    if done < settled {
        out.extend_from_slice(&buffer[done..settled]);
        done = settled;
    }
    done
}
