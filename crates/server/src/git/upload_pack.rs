//! Streaming a request into `git upload-pack` and its answer out of it.

use super::command::read_capped;
use super::inflight::Group;
use crate::body::{self, Chunk};
use crate::pace::Pace;
use crate::slots::Turn;
use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Limited};
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

/// One transfer: what to run, what to feed it, and what bounds it.
pub(crate) struct Transfer {
    pub(crate) command: Command,
    /// Sent before git's own output.
    pub(crate) preamble: &'static [u8],
    pub(crate) request: Body,
    /// Bytes of `request` at most.
    pub(crate) max_request: usize,
    /// How slowly `request` may come.
    pub(crate) pace: Pace,
    /// How long either side may stand still.
    pub(crate) idle: Duration,
    /// Held as long as git runs.
    pub(crate) slot: Turn,
}

/// Starts git and gives the body of its answer. Git is ended when the client goes away, stands still
/// for too long or sends too much.
pub(crate) fn serve(mut transfer: Transfer, tasks: &TaskTracker) -> io::Result<Body> {
    let mut child = transfer.command.stdin(Stdio::piped()).spawn()?;
    let group = Group::of(&child);
    let (chunks, body) = body::channel();
    if !transfer.preamble.is_empty() {
        // The channel is empty and its receiver at hand, so there is room.
        let _ = chunks.try_send(Ok(Bytes::from_static(transfer.preamble)));
    }
    let pipes = (child.stdin.take(), child.stdout.take());
    tasks.spawn(async move {
        let outcome = tokio::select! {
            () = chunks.closed() => Err(io::Error::other("the client went away")),
            outcome = pump(&mut child, pipes, transfer, &chunks) => outcome,
        };
        finish(outcome, group, &chunks);
    });
    Ok(body)
}

/// Moves bytes both ways until git has ended, and waits for it.
async fn pump(
    child: &mut Child,
    (stdin, stdout): (Option<ChildStdin>, Option<ChildStdout>),
    transfer: Transfer,
    chunks: &mpsc::Sender<Chunk>,
) -> io::Result<()> {
    let Transfer { request, max_request, pace, idle, slot, .. } = transfer;
    let request = Limited::new(request, max_request);
    let complaints = read_capped(child.stderr.take());
    let ((), (), complaints) =
        tokio::try_join!(feed(stdin, request, pace, idle), drain(stdout, idle, chunks), complaints)?;
    let status = child.wait().await?;
    drop(slot);
    if !status.success() {
        // Git has told the client already, in its own protocol.
        tracing::debug!(%status, said = super::command::cause(&complaints), "git upload-pack refused");
    }
    Ok(())
}

/// Writes the request to git and closes its standard input.
async fn feed(
    stdin: Option<ChildStdin>,
    request: Limited<Body>,
    pace: Pace,
    idle: Duration,
) -> io::Result<()> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    let (mut request, mut arrival) = (request.into_data_stream(), pace.begin());
    while let Some(chunk) = timeout_at(arrival.late(), request.next()).await? {
        let chunk = chunk.map_err(io::Error::other)?;
        arrival.add(chunk.len() as u64);
        let came = Instant::now();
        match timeout(idle, stdin.write_all(&chunk)).await? {
            // Git has read enough and answers already.
            Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            outcome => outcome?,
        }
        arrival.was_kept_waiting(came.elapsed());
    }
    stdin.shutdown().await
}

/// Passes git's output on, no faster than the client takes it.
async fn drain(stdout: Option<ChildStdout>, idle: Duration, chunks: &mpsc::Sender<Chunk>) -> io::Result<()> {
    match stdout {
        Some(stdout) => body::pass_on(stdout, idle, chunks).await,
        None => Ok(()),
    }
}

/// Ends the answer: cleanly, or broken off so that the client notices.
fn finish(outcome: io::Result<()>, mut group: Group, chunks: &mpsc::Sender<Chunk>) {
    match outcome {
        Ok(()) => group.has_ended(),
        Err(fault) => {
            drop(group);
            tracing::debug!(error = %fault, "a git transfer was broken off");
            // Nobody may be there to hear it, or the client reads nothing: then the body just ends.
            let _ = chunks.try_send(Err(fault));
        }
    }
}
