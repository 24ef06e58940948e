//! Whether what was uploaded can be unpacked, and to no more than is bearable.

use super::UploadFault;
use crate::app::App;
use flate2::write::MultiGzDecoder;
use std::io::{self, Write};
use store::NewObject;

/// Bytes that are read at a time.
const PIECE: u64 = 4 << 20;

/// Refuses what is no gzip stream, or would unpack to more than the limit. Nothing of it is kept unpacked.
pub(super) async fn is_gzip(app: &App, objects: &[NewObject]) -> Result<(), UploadFault> {
    let limit = app.limits.index_unpacked;
    let mut unpacker = MultiGzDecoder::new(Counter { bytes: 0, limit });
    for NewObject { key, size, .. } in objects {
        let mut at = 0;
        while at < *size {
            let end = (*size).min(at + PIECE);
            let piece = app.store.objects().read(key, at..end).await.map_err(store::StoreError::from)?;
            let unpacked = tokio::task::spawn_blocking(move || {
                let written = unpacker.write_all(&piece);
                (unpacker, written)
            });
            let (back, written) = unpacked.await.map_err(|_| UploadFault::NotGzip)?;
            unpacker = back;
            written.map_err(|fault| why(&fault, limit))?;
            at = end;
        }
    }
    let ended = unpacker.try_finish().map_err(|fault| why(&fault, limit));
    ended.and_then(|()| if unpacker.get_ref().bytes == 0 { Err(UploadFault::NotGzip) } else { Ok(()) })
}

fn why(fault: &io::Error, limit: u64) -> UploadFault {
    match fault.kind() {
        io::ErrorKind::QuotaExceeded => UploadFault::UnpacksTooLarge { limit },
        _ => UploadFault::NotGzip,
    }
}

/// Takes bytes and forgets them, up to a limit.
struct Counter {
    bytes: u64,
    limit: u64,
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.limit { Err(io::ErrorKind::QuotaExceeded.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
