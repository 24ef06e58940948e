//! Digests and readers that compute them on the way.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io::{self, Read};

/// A SHA-256 digest as 64 lower-case hexadecimal digits: safe as a file name and in a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Digest(String);

const PREFIX: &str = "sha256:";
const DIGITS: usize = 64;

impl Digest {
    /// Reads `sha256:…`; nothing else is accepted.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.strip_prefix(PREFIX).and_then(Self::from_hex)
    }

    /// Reads the digits alone.
    pub(crate) fn from_hex(digits: &str) -> Option<Self> {
        let good =
            digits.len() == DIGITS && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        good.then(|| Self(digits.to_owned()))
    }

    /// The digest of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)))
    }

    /// The digits alone.
    pub(crate) fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{PREFIX}{}", self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not a SHA-256 digest"))
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// Passes bytes through and digests them.
pub(crate) struct Hashing<R> {
    inner: R,
    state: Sha256,
}

impl<R: Read> Hashing<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, state: Sha256::new() }
    }

    /// The digest of what was read.
    pub(crate) fn finish(self) -> Digest {
        Digest(hex::encode(self.state.finalize()))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.state.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn only_lower_case_sha256_is_read() {
        assert_eq!(Digest::parse(EMPTY), Some(Digest::of(b"")));
        for bad in ["", "sha256:", "sha512:00", &EMPTY.to_uppercase(), &EMPTY[..70], &format!("{EMPTY}0")] {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
        assert_eq!(
            Digest::parse("sha256:../../../../../../../../../../../../../../../../../../../etc/pass"),
            None
        );
    }

    #[test]
    fn reading_digests() {
        let mut reader = Hashing::new(&b"hello"[..]);
        io::copy(&mut reader, &mut io::sink()).expect("memory reads");
        assert_eq!(reader.finish(), Digest::of(b"hello"));
    }
}
