//! From the step's pipes to its [`Output`].

use crate::{Output, Stream};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What is read at once, in bytes: as much as a pipe holds.
const BUFFER: usize = 64 << 10;

/// How the output of a step comes along.
#[derive(Debug, Default)]
pub(super) struct Flow {
    taken: AtomicU64,
    waits: AtomicBool,
}

impl Flow {
    /// Bytes that were read so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether whoever takes the output is waited for.
    pub(super) fn is_waiting(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }
}

/// Copies both streams until both are closed. Reads no more than one buffer of each ahead of what
/// `out` has taken, so that a step that writes faster has to wait.
pub(super) async fn pump(
    (mut stdout, mut stderr): (impl AsyncRead + Unpin, impl AsyncRead + Unpin),
    out: &mut dyn Output,
    flow: &Flow,
) -> io::Result<()> {
    let (mut first, mut second) = (vec![0; BUFFER], vec![0; BUFFER]);
    let (mut stdout_open, mut stderr_open) = (true, true);
    while stdout_open || stderr_open {
        tokio::select! {
            read = stdout.read(&mut first), if stdout_open => {
                stdout_open = pass_on(read, &first, Stream::Stdout, (out, flow)).await?;
            }
            read = stderr.read(&mut second), if stderr_open => {
                stderr_open = pass_on(read, &second, Stream::Stderr, (out, flow)).await?;
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
    (out, flow): (&mut dyn Output, &Flow),
) -> io::Result<bool> {
    let length = read?;
    if length == 0 {
        return Ok(false);
    }
    flow.taken.fetch_add(length as u64, Ordering::Relaxed);
    flow.waits.store(true, Ordering::Relaxed);
    out.write(stream, &buffer[..length]).await?;
    flow.waits.store(false, Ordering::Relaxed);
    Ok(true)
}
