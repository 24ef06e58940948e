//! From the engine's connection to a step's [`Output`].

use super::demux::Demux;
use crate::Output;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What is read at once, in bytes.
const BUFFER: usize = 64 << 10;

/// Which end of the way failed.
#[derive(Debug)]
pub(super) enum Cut {
    /// The engine's.
    Engine(io::Error),
    /// The receiver's.
    Output(io::Error),
}

/// Copies both streams until the connection ends. Reads no more than one buffer ahead of what `out` has
/// taken, and so, a few buffers of the engine's and the kernel's later, does the step have to wait.
pub(super) async fn pump(mut connection: impl AsyncRead + Unpin, out: &mut dyn Output) -> Result<(), Cut> {
    let mut buffer = vec![0; BUFFER];
    let mut demux = Demux::default();
    loop {
        let length = connection.read(&mut buffer).await.map_err(Cut::Engine)?;
        if length == 0 {
            let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "it ends in the middle of a piece");
            return if demux.is_whole() { Ok(()) } else { Err(Cut::Engine(cut())) };
        }
        let mut read = &buffer[..length];
        while let Some((stream, bytes)) = demux.next(&mut read).map_err(Cut::Engine)? {
            out.write(stream, bytes).await.map_err(Cut::Output)?;
        }
    }
}
