//! Redaction of a stream that arrives in pieces.

use super::needles::{Needles, Rest};
use std::sync::Arc;

/// One stream of bytes on its way through a [`super::Redactor`].
pub struct RedactStream {
    needles: Option<Arc<Needles>>,
    /// Bytes that may be the beginning of a secret.
    held: Vec<u8>,
    /// How many of them are the end of another secret, which has been replaced.
    replaced: usize,
}

impl std::fmt::Debug for RedactStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedactStream").field("held_bytes", &self.held.len()).finish_non_exhaustive()
    }
}

impl RedactStream {
    pub(super) fn new(needles: Option<Arc<Needles>>) -> Self {
        Self { needles, held: Vec::new(), replaced: 0 }
    }

    /// Takes bytes in and appends to `out` what can be told to be free of secrets. Bytes that may be
    /// the beginning of a secret are held back until more comes.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Some(needles) = self.needles.clone() else {
            out.extend_from_slice(bytes);
            return;
        };
        if self.held.is_empty() {
            // The common case: nothing is pending, so the caller's buffer is searched in place.
            let settled = self.replace(&needles, bytes, Rest::MayCome, out);
            self.held.extend_from_slice(&bytes[settled..]);
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let settled = self.replace(&needles, &held, Rest::MayCome, out);
        held.drain(..settled);
        self.held = held;
    }

    /// The stream ended: appends what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(needles) = self.needles.clone() {
            let held = std::mem::take(&mut self.held);
            self.replace(&needles, &held, Rest::Nothing, out);
        }
    }

    /// Copies `buffer` to `out` with every secret replaced, up to where one may have begun that goes on in the
    /// rest. Returns how many bytes need not be looked at again.
    fn replace(&mut self, needles: &Needles, buffer: &[u8], rest: Rest, out: &mut Vec<u8>) -> usize {
        let seen = needles.look_through(buffer, rest);
        let mut done = self.replaced;
        for secret in seen.found.iter().take_while(|secret| secret.place.start < seen.settled) {
            // One that begins inside another is replaced with it, to its own end.
            if secret.place.start >= done {
                out.extend_from_slice(&buffer[done..secret.place.start]);
                out.extend_from_slice(secret.replacement.as_bytes());
            }
            done = done.max(secret.place.end);
        }
        if done < seen.settled {
            out.extend_from_slice(&buffer[done..seen.settled]);
            done = seen.settled;
        }
        self.replaced = done - seen.settled;
        seen.settled
    }
}
