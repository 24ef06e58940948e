//! Bytes to text, as a stream.

/// Turns bytes into text: what is not UTF-8 becomes U+FFFD, and a character may be split over
/// writes.
#[derive(Debug, Default)]
pub(super) struct Utf8Stream {
    /// The beginning of a character whose rest has not come yet; at most three bytes.
    begun: Vec<u8>,
}

impl Utf8Stream {
    /// Takes bytes in and appends what is complete to `out`.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut String) {
        if self.begun.is_empty() {
            self.take(bytes, out);
        } else {
            let mut joined = std::mem::take(&mut self.begun);
            joined.extend_from_slice(bytes);
            self.take(&joined, out);
        }
    }

    /// The stream ended: a character that was only begun is none.
    pub(super) fn finish(&mut self, out: &mut String) {
        if !std::mem::take(&mut self.begun).is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }

    fn take(&mut self, bytes: &[u8], out: &mut String) {
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            out.push_str(chunk.valid());
            let invalid = chunk.invalid();
            let may_go_on = chunks.peek().is_none()
                && std::str::from_utf8(invalid).is_err_and(|fault| fault.error_len().is_none());
            if may_go_on {
                self.begun.extend_from_slice(invalid);
            } else if !invalid.is_empty() {
                out.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_gives_the_same_text() {
        let bytes = b"a\xc3\xbc\xf0\x9f\xa6\x80z\xff\xc3(\xe2\x82\n\xf0\x9f";
        let expect = String::from_utf8_lossy(bytes);
        for cut in 0..=bytes.len() {
            let (mut stream, mut text) = (Utf8Stream::default(), String::new());
            stream.push(&bytes[..cut], &mut text);
            stream.push(&bytes[cut..], &mut text);
            stream.finish(&mut text);
            assert_eq!(text, expect, "cut at {cut}");
        }
        let (mut stream, mut text) = (Utf8Stream::default(), String::new());
        for byte in bytes {
            stream.push(&[*byte], &mut text);
        }
        stream.finish(&mut text);
        assert_eq!(text, expect);
    }
}
