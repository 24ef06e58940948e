//! From the step's pipes to its [`Output`].

use crate::{Output, Stream};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What is read at once, in bytes: as much as a pipe holds.
const BUFFER: usize = 64 << 10;

/// Copies both streams until both are closed. Reads no more than one buffer of each ahead of what
/// `out` has taken, so that a step that writes faster has to wait.
pub(super) async fn pump(
    mut stdout: impl AsyncRead + Unpin,
    mut stderr: impl AsyncRead + Unpin,
    out: &mut dyn Output,
) -> io::Result<()> {
    let (mut first, mut second) = (vec![0; BUFFER], vec![0; BUFFER]);
    let (mut stdout_open, mut stderr_open) = (true, true);
    while stdout_open || stderr_open {
        tokio::select! {
            read = stdout.read(&mut first), if stdout_open => {
                stdout_open = pass_on(read, &first, Stream::Stdout, out).await?;
            }
            read = stderr.read(&mut second), if stderr_open => {
                stderr_open = pass_on(read, &second, Stream::Stderr, out).await?;
            }
        }
    }
    Ok(())
}

/// Whether there is more to come.
async fn pass_on(
    read: io::Result<usize>,
    buffer: &[u8],
    stream: Stream,
    out: &mut dyn Output,
) -> io::Result<bool> {
    match read? {
        0 => Ok(false),
        length => out.write(stream, &buffer[..length]).await.map(|()| true),
    }
}
