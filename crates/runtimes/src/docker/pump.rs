//! From the engine's connection to a step's [`Output`], without loss.
//!
//! An engine gives up what a container has written when nobody takes it within two seconds of the
//! container's end. So a receiver that is slow does not keep us from reading for long: the container is
//! paused instead, which can then neither write nor end, until the receiver has caught up.

use super::demux::Demux;
use super::queue::Queue;
use crate::Output;
use async_trait::async_trait;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

/// What is read at once, in bytes.
const BUFFER: usize = 64 << 10;
/// With so much waiting, nothing is read for a moment. Some of the engine's own megabyte comes on top when
/// the container is paused.
const HIGH: usize = 2 << 20;
/// With so little waiting, reading goes on.
const LOW: usize = HIGH / 4;
/// How long nothing is read: long enough for a receiver that is only slower than the step, and far
/// shorter than what engines wait.
const PATIENCE: Duration = Duration::from_millis(500);

/// Which end of the way failed.
#[derive(Debug)]
pub(super) enum Cut {
    /// The engine's.
    Engine(io::Error),
    /// The receiver's.
    Output(io::Error),
}

/// What came of pausing a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paused {
    /// It writes nothing more.
    Yes,
    /// It has ended: what it wrote is all that comes.
    Ended,
    /// It can't be.
    No,
}

/// Holds a container.
#[async_trait]
pub(super) trait Brake: Sync {
    async fn pause(&self) -> Paused;
    async fn go_on(&self);
}

/// Copies both streams until the connection ends. Once `released`, the container is not paused any more.
pub(super) async fn pump(
    connection: impl AsyncRead + Unpin + Send,
    out: &mut dyn Output,
    brake: &dyn Brake,
    released: &CancellationToken,
) -> Result<(), Cut> {
    let queue = Queue::default();
    let reading = async {
        let read = read(connection, &queue, brake, released).await;
        queue.close();
        read.map_err(Cut::Engine)
    };
    let writing = async {
        while let Some((stream, bytes)) = queue.take().await {
            out.write(stream, &bytes).await.map_err(Cut::Output)?;
            queue.done(bytes.len());
        }
        Ok(())
    };
    tokio::pin!(reading, writing);
    tokio::select! {
        read = &mut reading => {
            // What came before it broke counts too.
            writing.await?;
            read
        }
        // It ends first only when it fails, or with the reader.
        written = &mut writing => match written {
            Ok(()) => reading.await,
            failed => failed,
        },
    }
}

async fn read(
    mut connection: impl AsyncRead + Unpin,
    queue: &Queue,
    brake: &dyn Brake,
    released: &CancellationToken,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut demux = Demux::default();
    let (mut paused, mut ended) = (false, false);
    loop {
        if !paused && !ended && queue.bytes() >= HIGH {
            match hold(queue, brake, released).await {
                Paused::Yes => paused = true,
                Paused::Ended => ended = true,
                Paused::No => {}
            }
        }
        let length = tokio::select! {
            read = connection.read(&mut buffer) => read?,
            () = let_go(queue, released), if paused => {
                brake.go_on().await;
                paused = false;
                continue;
            }
        };
        if length == 0 {
            let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "it ends in the middle of a piece");
            return if demux.is_whole() { Ok(()) } else { Err(cut()) };
        }
        let mut read = &buffer[..length];
        while let Some((stream, bytes)) = demux.next(&mut read)? {
            queue.put(stream, bytes);
        }
    }
}

/// Reads nothing until the receiver has caught up, or pauses the container.
async fn hold(queue: &Queue, brake: &dyn Brake, released: &CancellationToken) -> Paused {
    if tokio::time::timeout(PATIENCE, queue.is_down_to(LOW)).await.is_ok() {
        return Paused::No;
    }
    let paused = if released.is_cancelled() { Paused::No } else { brake.pause().await };
    if paused == Paused::No {
        queue.is_down_to(LOW).await;
    }
    paused
}

async fn let_go(queue: &Queue, released: &CancellationToken) {
    tokio::select! {
        () = queue.is_down_to(LOW) => {}
        () = released.cancelled() => {}
    }
}

#[cfg(test)]
mod tests;
