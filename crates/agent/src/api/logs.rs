//! Log entries: opening one, replacing it as a whole, adding to it at an offset.
//!
//! Replacing and adding can be repeated safely. Opening can't: if the answer gets lost and the call
//! is made again, a stock control plane shows the entry twice, the first time without an end. We
//! do repeat it, because the other choice is to lose everything the entry would have held. Key and
//! start time are the same both times, so a control plane can tell.

use super::{Api, ApiError, CALL_TIMEOUT, JobAuth};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, StatusCode};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use wire::additions::{AppendLog, AppendedLog};
use wire::paths::QueueCall;
use wire::{LogEntry, LogEntryUpdate};

/// Up to this much text is sent from memory; more is streamed from where it is kept.
const IN_MEMORY: u64 = 1 << 20;
/// How much of a streamed text is in memory at a time.
const PIECE: usize = 64 << 10;
/// The slowest upload that is waited for, in bytes per second.
const SLOWEST_UPLOAD: u64 = 1 << 20;

/// Text that is too long to be passed around.
pub(crate) trait LogText: Send + Sync {
    /// The text from `offset` on, at most `limit` bytes, cut at a character's end.
    fn read(&self, offset: u64, limit: usize) -> io::Result<String>;
}

/// What the control plane did with text at an offset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AppendOutcome {
    /// It has everything up to the end of what was sent.
    Taken,
    /// Its entry ends here; go on from there.
    EndsAt(u64),
}

impl Api {
    /// Opens an entry and learns its number. An answer without one is final: it would be odd to ask a
    /// control plane to open again what it says it has opened, and updates of a made-up number are
    /// answered as if the job were somebody else's.
    pub(crate) async fn add_entry(&self, job: &JobAuth, entry: &LogEntry) -> Result<i64, ApiError> {
        let request = self.as_job(Method::POST, &QueueCall::AddLogEntry.path(&job.queue), job);
        let reply = self.call(QueueCall::AddLogEntry, request, entry, CALL_TIMEOUT).await?;
        let numberless = || io::Error::new(io::ErrorKind::InvalidData, "the answer has no entry number");
        reply.json()?.ok_or_else(|| ApiError::Local { what: "open a log entry", source: numberless() })
    }

    /// Replaces an entry; its text is the first `length` bytes of `text`.
    pub(crate) async fn put_entry(
        &self,
        job: &JobAuth,
        mut update: LogEntryUpdate,
        text: Arc<dyn LogText>,
        length: u64,
    ) -> Result<(), ApiError> {
        let request = self.as_job(Method::POST, &QueueCall::UpdateLogEntry.path(&job.queue), job);
        if length <= IN_MEMORY {
            while (update.entry.out.len() as u64) < length {
                let offset = update.entry.out.len() as u64;
                let piece = read(&*text, offset, (length - offset) as usize)?;
                if piece.is_empty() {
                    break;
                }
                update.entry.out.push_str(&piece);
            }
            return self.call(QueueCall::UpdateLogEntry, request, &update, CALL_TIMEOUT).await.map(drop);
        }
        let head = serde_json::to_string(&update).map_err(ApiError::Encode)?;
        let timeout = CALL_TIMEOUT + Duration::from_secs(length / SLOWEST_UPLOAD);
        self.send(QueueCall::UpdateLogEntry, request.body(with_out(&head, text, length)), timeout)
            .await
            .map(drop)
    }

    /// Adds text to an entry.
    pub(crate) async fn append(&self, job: &JobAuth, append: &AppendLog) -> Result<AppendOutcome, ApiError> {
        let end = append.offset + append.chunk.len() as u64;
        let request = self.as_job(Method::POST, &QueueCall::AppendLog.path(&job.queue), job);
        match self.call(QueueCall::AppendLog, request, append, CALL_TIMEOUT).await {
            Ok(reply) => {
                // An answer without a length says that all went well.
                let length = reply.json::<AppendedLog>().ok().flatten().map_or(end, |log| log.length);
                Ok(if length < end { AppendOutcome::EndsAt(length) } else { AppendOutcome::Taken })
            }
            Err(ApiError::Status { status: StatusCode::CONFLICT, body, retry_after }) => {
                match serde_json::from_slice::<AppendedLog>(&body) {
                    Ok(log) => Ok(AppendOutcome::EndsAt(log.length)),
                    Err(_) => Err(ApiError::Status { status: StatusCode::CONFLICT, body, retry_after }),
                }
            }
            Err(error) => Err(error),
        }
    }
}

fn read(text: &dyn LogText, offset: u64, limit: usize) -> Result<String, ApiError> {
    text.read(offset, limit).map_err(|source| ApiError::Local { what: "read back the log", source })
}

/// A body like `head`, an object without the key `out`, with that key at its end: the text goes
/// from the spool to the socket in small pieces.
fn with_out(head: &str, text: Arc<dyn LogText>, length: u64) -> reqwest::Body {
    let open = Bytes::from(format!("{},\"out\":\"", head.trim_end_matches('}')));
    let pieces = stream::unfold(Some(0), move |offset: Option<u64>| {
        let text = Arc::clone(&text);
        async move {
            let offset = offset?;
            if offset >= length {
                return None;
            }
            let limit = usize::try_from(length - offset).map_or(PIECE, |rest| rest.min(PIECE));
            match text.read(offset, limit).and_then(|piece| escaped(&piece).map(|json| (piece.len(), json))) {
                Ok((0, _)) => None,
                Ok((read, json)) => Some((Ok(json), Some(offset + read as u64))),
                Err(error) => Some((Err(error), None)),
            }
        }
    });
    let first = stream::once(async { Ok::<_, io::Error>(open) });
    let last = stream::once(async { Ok(Bytes::from_static(b"\"}")) });
    reqwest::Body::wrap_stream(first.chain(pieces).chain(last))
}

/// `text` as it stands between the quotes of a JSON string.
fn escaped(text: &str) -> io::Result<Bytes> {
    let quoted = Bytes::from(serde_json::to_string(text)?);
    Ok(quoted.slice(1..quoted.len() - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    impl LogText for String {
        fn read(&self, offset: u64, limit: usize) -> io::Result<String> {
            let rest = &self[offset as usize..];
            Ok(crate::text::begin(rest, limit).to_owned())
        }
    }

    #[tokio::test]
    async fn a_streamed_text_is_the_same_json_as_one_from_memory() {
        let text = "stdout: \"quoted\\ü\u{1F980}\u{1}\r\n".repeat(20_000);
        let update: LogEntryUpdate = serde_json::from_str(
            r#"{"executorName":"e","jobId":1,"entryId":2,"key":"k","command":null,"startTime":"2024-05-01T10:00:00Z","exitCode":0}"#,
        )
        .unwrap();
        let head = serde_json::to_string(&update).unwrap();
        let length = text.len() as u64;
        let body = with_out(&head, Arc::new(text.clone()), length).collect().await.unwrap().to_bytes();
        let seen: LogEntryUpdate = serde_json::from_slice(&body).unwrap();
        let mut expect = update;
        expect.entry.out = text;
        assert!(seen == expect);
    }
}
