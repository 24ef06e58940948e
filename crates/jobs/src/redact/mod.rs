//! Keeps secrets out of logs, as a stream.
//!
//! A secret is found in every form that programs commonly print it in (see [`forms`]), wherever the
//! stream happens to be cut into writes, and an encoded one wherever a line ends in it (see
//! [`encoding`]). Secrets that overlap are replaced as one, so that no part of either is left, with what
//! replaces the one that begins first, and of those that begin together the longest.

mod encoding;
mod forms;
mod needles;
mod prefix;
mod quotes;
mod spelled;
mod stream;

pub use spelled::spelled_out;
pub use stream::RedactStream;

use needles::Needles;
use std::sync::Arc;

/// Secrets shorter than this, in bytes, are still replaced, but they make logs hard to read and
/// are found in unrelated text; worth a warning.
pub const SHORT_SECRET: usize = 6;

/// Secrets longer than this, in bytes, are found as they are and line by line only: each form costs memory and
/// time in proportion. Worth a warning too.
pub const LONG_SECRET: usize = 8 << 10;

/// Replaces every known form of a set of secrets. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactor {
    needles: Option<Arc<Needles>>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let needles = self.needles.as_ref().map_or(0, |needles| needles.count());
        f.debug_struct("Redactor").field("needles", &needles).finish()
    }
}

impl Redactor {
    /// A redactor of `secrets`: text and what to write in its place. Empty secrets are ignored.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut making = needles::Making::default();
        for (secret, replacement) in secrets {
            making.add(secret, &replacement.into());
        }
        Self { needles: making.build().map(Arc::new) }
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
        RedactStream::new(self.needles.clone())
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
