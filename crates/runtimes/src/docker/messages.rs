//! What the engine says during a pull: objects of JSON, one after the other.

use super::client::broken;
use super::error::EngineError;
use super::progress::Event;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use std::time::Duration;

/// How long the engine may say nothing.
const SILENCE_LIMIT: Duration = Duration::from_mins(5);
/// Bytes of one message.
const LONGEST_MESSAGE: usize = 256 << 10;
const WHAT: &str = "pull an image";

/// One object.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Message {
    pub(super) status: String,
    id: String,
    progress_detail: Option<Detail>,
    pub(super) error: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    current: u64,
    total: u64,
}

impl From<Message> for Event {
    fn from(message: Message) -> Self {
        let detail = message.progress_detail.unwrap_or_default();
        Self { layer: message.id, status: message.status, current: detail.current, total: detail.total }
    }
}

/// All of them, as they come.
pub(super) struct Messages {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Messages {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, buffer: Vec::new() }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Message>, EngineError> {
        let odd = |why: String| EngineError::Odd { what: WHAT, why };
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                match line.trim_ascii() {
                    [] => continue,
                    line => {
                        return serde_json::from_slice(line).map(Some).map_err(|why| odd(why.to_string()));
                    }
                }
            }
            if self.buffer.len() > LONGEST_MESSAGE {
                return Err(odd("it says too much at once".to_owned()));
            }
            let frame = tokio::time::timeout(SILENCE_LIMIT, self.body.frame()).await;
            let frame = frame.map_err(|_| EngineError::Late { what: WHAT, limit: SILENCE_LIMIT })?;
            match frame {
                Some(frame) => {
                    let frame = frame.map_err(broken(WHAT))?;
                    self.buffer.extend(frame.into_data().unwrap_or_else(|_| Bytes::new()));
                }
                None if self.buffer.trim_ascii().is_empty() => return Ok(None),
                // The last one may have no newline.
                None => self.buffer.push(b'\n'),
            }
        }
    }
}
