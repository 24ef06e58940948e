//! Redaction of a stream that arrives in pieces.

use super::needles::{Needles, Rest, Verdict};
use std::sync::Arc;

/// One stream of bytes on its way through a [`super::Redactor`].
pub struct RedactStream {
    needles: Option<Arc<Needles>>,
    /// Bytes that may be the beginning of a secret.
    held: Vec<u8>,
}

impl std::fmt::Debug for RedactStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedactStream").field("held_bytes", &self.held.len()).finish_non_exhaustive()
    }
}

impl RedactStream {
    pub(super) fn new(needles: Option<Arc<Needles>>) -> Self {
        Self { needles, held: Vec::new() }
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
            let kept = replace(&needles, bytes, Rest::MayCome, out);
            self.held.extend_from_slice(&bytes[kept..]);
            return;
        }
        self.held.extend_from_slice(bytes);
        let kept = replace(&needles, &self.held, Rest::MayCome, out);
        self.held.drain(..kept);
    }

    /// The stream ended: appends what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Some(needles) = self.needles.clone() {
            let held = std::mem::take(&mut self.held);
            replace(&needles, &held, Rest::Nothing, out);
        }
    }
}

/// Copies `buffer` to `out` with every secret replaced, up to where one may have begun that goes on
/// in the rest. Returns how many bytes were dealt with.
fn replace(needles: &Needles, buffer: &[u8], rest: Rest, out: &mut Vec<u8>) -> usize {
    let mut settled = match rest {
        Rest::MayCome => buffer.len() - needles.unfinished_tail(buffer),
        Rest::Nothing => buffer.len(),
    };
    let (mut done, mut from) = (0, 0);
    while let Some((start, needle)) = needles.next(buffer, from) {
        if start >= settled {
            break;
        }
        match needles.judge(needle, &buffer[start..], rest) {
            Verdict::Begun => {
                settled = start;
                break;
            }
            Verdict::Secret { len, replacement } => {
                out.extend_from_slice(&buffer[done..start]);
                out.extend_from_slice(replacement.as_bytes());
                done = start + len;
                from = done;
            }
            Verdict::Other => from = start + 1,
        }
    }
    if done < settled {
        out.extend_from_slice(&buffer[done..settled]);
        done = settled;
    }
    done
}
