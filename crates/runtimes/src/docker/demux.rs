//! The engine's way of sending two streams over one connection: before each piece a header of eight
//! bytes, which stream and how long.

use crate::Stream;
use std::io;

const HEADER: usize = 8;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;

/// Takes the streams apart, whatever the pieces in which they arrive.
#[derive(Debug, Default)]
pub(super) struct Demux {
    header: [u8; HEADER],
    /// Bytes of the header that are there.
    filled: usize,
    /// Bytes that are missing of the current piece.
    left: usize,
}

impl Demux {
    /// Takes the next part of a stream off the front of `input`; `None` when all of `input` is taken.
    pub(super) fn next<'a>(&mut self, input: &mut &'a [u8]) -> io::Result<Option<(Stream, &'a [u8])>> {
        loop {
            if self.left > 0 {
                let (part, rest) = input.split_at(self.left.min(input.len()));
                *input = rest;
                self.left -= part.len();
                let stream = if self.header[0] == STDERR { Stream::Stderr } else { Stream::Stdout };
                return Ok((!part.is_empty()).then_some((stream, part)));
            }
            let (start, rest) = input.split_at((HEADER - self.filled).min(input.len()));
            *input = rest;
            self.header[self.filled..self.filled + start.len()].copy_from_slice(start);
            self.filled += start.len();
            if self.filled < HEADER {
                return Ok(None);
            }
            self.filled = 0;
            self.left = self.read_header()?;
        }
    }

    fn read_header(&self) -> io::Result<usize> {
        let [kind, 0, 0, 0, length @ ..] = self.header else { return Err(self.odd()) };
        match kind {
            STDOUT | STDERR => Ok(u32::from_be_bytes(length) as usize),
            _ => Err(self.odd()),
        }
    }

    fn odd(&self) -> io::Error {
        let text = format!("the engine sent {:02x?} where a stream's header must be", self.header);
        io::Error::new(io::ErrorKind::InvalidData, text)
    }

    /// Whether nothing is missing, so that this may be the end.
    pub(super) fn is_whole(&self) -> bool {
        self.filled == 0 && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(parts: &[(bool, Vec<u8>)]) -> Vec<u8> {
        let frame = |(stderr, bytes): &(bool, Vec<u8>)| {
            let mut frame = vec![if *stderr { STDERR } else { STDOUT }, 0, 0, 0];
            frame.extend((bytes.len() as u32).to_be_bytes());
            frame.extend(bytes);
            frame
        };
        parts.iter().flat_map(frame).collect()
    }

    proptest! {
        #[test]
        fn streams_come_out_as_they_went_in(
            parts in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
            cuts in prop::collection::vec(1_usize..13, 1..200),
        ) {
            let wire = framed(&parts);
            let (mut demux, mut rest, mut cuts) = (Demux::default(), wire.as_slice(), cuts.iter().cycle());
            let mut streams: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
            while !rest.is_empty() {
                let (mut now, later) = rest.split_at(cuts.next().copied().unwrap_or(1).min(rest.len()));
                rest = later;
                while let Some((stream, bytes)) = demux.next(&mut now).unwrap() {
                    prop_assert!(!bytes.is_empty());
                    streams[usize::from(stream == Stream::Stderr)].extend(bytes);
                }
                prop_assert!(now.is_empty());
            }
            prop_assert!(demux.is_whole());
            let sent = |stderr: bool| -> Vec<u8> {
                parts.iter().filter(|(of, _)| *of == stderr).flat_map(|(_, bytes)| bytes.clone()).collect()
            };
            prop_assert_eq!(&streams[0], &sent(false));
            prop_assert_eq!(&streams[1], &sent(true));
        }
    }

    #[test]
    fn what_is_no_header_is_told() {
        for odd in [b"HTTP/1.1".as_slice(), &[3, 0, 0, 0, 0, 0, 0, 1], &[1, 0, 9, 0, 0, 0, 0, 1]] {
            let error = Demux::default().next(&mut &*odd).unwrap_err().to_string();
            assert!(error.contains("header"), "{error}");
        }
    }

    #[test]
    fn an_end_in_the_middle_is_seen() {
        let wire = framed(&[(false, b"hello".to_vec())]);
        for length in 1..wire.len() {
            let mut demux = Demux::default();
            let mut input = &wire[..length];
            while demux.next(&mut input).unwrap().is_some() {}
            assert!(!demux.is_whole(), "{length} bytes");
        }
    }
}
