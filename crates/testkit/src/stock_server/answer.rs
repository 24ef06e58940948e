//! Answers, and what can go wrong with them.

use serde_json::Value;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How much an endless answer has at most: more than any client should read.
const ENDLESS: usize = 1 << 30;
/// How long an answer can be held.
const LONGEST_HOLD: Duration = Duration::from_mins(2);

/// An answer in good order.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// 200 with this body, of the type that a stock instance's server would guess.
    pub fn text(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200).with("Content-Type", "text/plain; charset=utf-8").body(body)
    }

    /// The same, with JSON.
    pub fn json(body: &Value) -> Self {
        Self::text(body.to_string())
    }

    /// An error as a stock instance tells it.
    pub fn error(status: u16, message: &str) -> Self {
        Self { status, ..Self::json(&serde_json::json!({ "error": message })) }
    }

    /// With another header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// As it travels. `HEAD` gets no body.
    pub(super) fn bytes(&self, head_only: bool) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {} Scripted\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if self.status != 204 {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        if self.status != 204 && !head_only {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// What happens to one request. "Served" means that the instance does what was asked; without it the
/// request changes nothing.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing: it is served and answered.
    None,
    /// It is not served, and answered thus.
    Instead(Answer),
    /// It is served, and answered thus.
    ServedBut(Answer),
    /// It is not served: the connection is reset.
    Reset,
    /// It is served; then the connection is reset.
    ServedReset,
    /// It is served; the connection ends in the middle of the answer.
    ServedCut,
    /// It is served, and answered when the test says so.
    Held(Hold),
    /// It is not served; the answer goes on until the client has had enough.
    Endless,
}

impl Fault {
    /// Not served, and answered with a status alone.
    pub fn status(status: u16) -> Self {
        Self::Instead(Answer::status(status))
    }

    /// Not served; an answer that asks for a pause.
    pub fn retry_after(status: u16, said: &str) -> Self {
        Self::Instead(Answer::status(status).with("Retry-After", said))
    }

    pub(super) fn is_served(&self) -> bool {
        !matches!(self, Self::Instead(_) | Self::Reset | Self::Endless)
    }
}

/// What holds answers back until it is released.
#[derive(Debug, Clone, Default)]
pub struct Hold(Arc<(Mutex<bool>, Condvar)>);

impl Hold {
    /// Lets go what is held, and holds nothing from now on.
    pub fn release(&self) {
        let (released, changed) = &*self.0;
        *released.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    pub(super) fn wait(&self) {
        let (released, changed) = &*self.0;
        let held = released.lock().unwrap_or_else(PoisonError::into_inner);
        // A test that never releases it has failed by then.
        drop(changed.wait_timeout_while(held, LONGEST_HOLD, |released| !*released));
    }
}

/// Writes without an end in sight.
pub(super) fn write_endlessly(to: &mut impl Write) -> io::Result<()> {
    to.write_all(b"HTTP/1.1 200 Scripted\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let piece = [b"100000\r\n", vec![b' '; 1 << 20].as_slice(), b"\r\n"].concat();
    (0..ENDLESS >> 20).try_for_each(|_| to.write_all(&piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_travels_with_its_length() {
        let answer = Answer::error(500, "no").with("Retry-After", "1");
        let text = String::from_utf8(answer.bytes(false)).unwrap();
        assert!(text.starts_with("HTTP/1.1 500 Scripted\r\nContent-Type: text/plain"), "{text}");
        assert!(text.ends_with("Retry-After: 1\r\nContent-Length: 14\r\n\r\n{\"error\":\"no\"}"), "{text}");
        assert_eq!(Answer::status(204).bytes(false), b"HTTP/1.1 204 Scripted\r\n\r\n");
        assert!(answer.bytes(true).ends_with(b"14\r\n\r\n"));
    }
}
