//! Decompression by content: names and media types lie.

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{self, BufRead, BufReader, Cursor, Read};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Skippable frames of zstd start with 0x184D2A50 to 0x184D2A5F, little-endian.
const ZSTD_SKIPPABLE: &[u8] = &[0x2a, 0x4d, 0x18];

/// A reader of content that may be compressed.
pub(crate) struct Decompressed<'a> {
    reader: Box<dyn Read + 'a>,
    is_compressed: bool,
}

impl Decompressed<'_> {
    /// Whether it had to be decompressed at all.
    pub(crate) fn is_compressed(&self) -> bool {
        self.is_compressed
    }
}

impl Read for Decompressed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// A reader of `source`'s content, whether it is gzip, zstd or not compressed.
pub(crate) fn decompress<'a>(mut source: impl Read + 'a) -> io::Result<Decompressed<'a>> {
    let mut head = Vec::with_capacity(ZSTD.len());
    source.by_ref().take(ZSTD.len() as u64).read_to_end(&mut head)?;
    let is_gzip = head.starts_with(GZIP);
    let is_zstd = head == ZSTD || head.get(1..) == Some(ZSTD_SKIPPABLE);
    let whole = BufReader::with_capacity(128 * 1024, Cursor::new(head).chain(source));
    let reader: Box<dyn Read + 'a> = if is_gzip {
        Box::new(MultiGzDecoder::new(whole))
    } else if is_zstd {
        Box::new(ZstdFrames::new(whole))
    } else {
        Box::new(whole)
    };
    Ok(Decompressed { reader, is_compressed: is_gzip || is_zstd })
}

/// All frames of a zstd file: parallel compressors and seekable formats write many.
struct ZstdFrames<R> {
    source: R,
    decoder: FrameDecoder,
    within: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(source: R) -> Self {
        Self { source, decoder: FrameDecoder::new(), within: false }
    }

    /// Starts the next frame, or skips one that says it may be skipped.
    fn next_frame(&mut self) -> io::Result<()> {
        match self.decoder.reset(&mut self.source) {
            Ok(()) => self.within = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                io::copy(&mut self.source.by_ref().take(u64::from(length)), &mut io::sink())?;
            }
            Err(error) => return Err(io::Error::other(error)),
        }
        Ok(())
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() {
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            } else if self.within && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one).map_err(io::Error::other)?;
            } else if self.source.fill_buf()?.is_empty() {
                break;
            } else {
                self.next_frame()?;
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    fn content(compressed: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        decompress(compressed)?.read_to_end(&mut all).map(|_| all)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory writes");
        encoder.finish().expect("memory writes")
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    #[test]
    fn reads_every_form_to_the_end() {
        let skippable = [&[0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
        for (name, bytes) in [
            ("plain", b"one two".to_vec()),
            ("gzip", gzip(b"one two")),
            ("gzip members", [gzip(b"one "), gzip(b"two")].concat()),
            ("zstd", zstd(b"one two")),
            ("zstd frames", [zstd(b"one "), skippable.clone(), zstd(b"two")].concat()),
            ("zstd after a skippable frame", [skippable, zstd(b"one two")].concat()),
        ] {
            assert_eq!(content(&bytes).expect(name), b"one two", "{name}");
        }
        assert_eq!(content(b"").expect("an empty file reads"), b"");
        assert_eq!(content(b"x").expect("a short file reads"), b"x");
    }

    #[test]
    fn a_cut_stream_is_an_error() {
        let text: Vec<u8> = (0..=255).cycle().take(5000).collect();
        for bytes in [gzip(&text), zstd(&text)] {
            content(&bytes[..bytes.len() - 9]).expect_err("it ends too early");
        }
    }
}
