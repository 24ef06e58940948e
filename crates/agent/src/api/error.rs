//! How a call fails, and whether trying again can help.

use super::word::{Word, word};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use jiff::{Timestamp, fmt::rfc2822};
use std::time::Duration;
use tls::Mismatch;
use wire::additions::NO_ROOM;

/// The most of an error answer that is shown.
const EXCERPT: usize = 512;
/// The longest pause that a `Retry-After` header can ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// No answer, or not all of it.
    #[error("failed to reach the control plane")]
    Transport(#[source] reqwest::Error),
    /// An answer other than 200 and 204.
    #[error("unexpected status code {}{}", .status.as_u16(), said(.body))]
    Status { status: StatusCode, retry_after: Option<Duration>, body: Bytes },
    #[error("failed to write the request as JSON")]
    Encode(#[source] serde_json::Error),
    #[error("failed to read the answer as JSON")]
    Decode(#[source] serde_json::Error),
    /// An answer with the right status that is none of the protocol's, such as a page to sign in at.
    #[error("the answer is not the control plane's{}", said(.body))]
    Foreign { body: Bytes },
    #[error("the answer is larger than {limit} bytes")]
    TooLarge { limit: usize },
    /// Something on this host went wrong while the call was made.
    #[error("failed to {what}")]
    Local {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
}

impl ApiError {
    /// A call without an answer. Its URL is shown up to the query: that is the operator's, and may hold
    /// what others must not read.
    pub(crate) fn transport(mut error: reqwest::Error) -> Self {
        if let Some(url) = error.url_mut() {
            url.set_query(None);
        }
        Self::Transport(error)
    }

    pub(crate) fn status(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Self {
        let said = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = said.and_then(|said| pause(said.trim(), Timestamp::now()));
        Self::Status { status, retry_after, body }
    }

    /// Whether the same call may work later. Only the control plane's own word is final; whatever else
    /// answers in its place does so for a while.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Transport(error) => !error.is_builder(),
            // Who takes nothing of this size is no matter, and it won't be any smaller.
            Self::Status { status, .. } => *status != StatusCode::PAYLOAD_TOO_LARGE && self.word().is_none(),
            Self::Foreign { .. } => true,
            Self::Local { source, .. } => source.kind() == std::io::ErrorKind::TimedOut,
            Self::Encode(_) | Self::Decode(_) | Self::TooLarge { .. } => false,
        }
    }

    /// Something between us and the control plane seems to have answered in its place, as it would not while it
    /// starts, has a fault of its own or no time.
    pub(crate) fn is_strange(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                let is_usual = status.is_server_error()
                    || matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
                !is_usual && self.may_pass()
            }
            Self::Foreign { .. } => true,
            _ => false,
        }
    }

    /// The connection was not even made, as is normal while a control plane starts.
    pub(crate) fn is_connect(&self) -> bool {
        matches!(self, Self::Transport(error) if error.is_connect()) && !self.is_tls()
    }

    /// The control plane showed no certificate that is trusted here, or speaks another TLS.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Transport(error) if tls::comes_of_tls(error))
    }

    /// One of the two sides speaks TLS, and the other does not.
    pub(crate) fn mismatch(&self) -> Option<Mismatch> {
        match self {
            Self::Transport(error) => Mismatch::of(error),
            Self::Status { status, body, .. } => {
                tls::wants_tls(*status, &String::from_utf8_lossy(body)).then_some(Mismatch::NoHttp)
            }
            _ => None,
        }
    }

    /// The control plane itself says that it has no room for text now.
    pub(crate) fn is_no_room(&self) -> bool {
        match self {
            Self::Status { status: StatusCode::SERVICE_UNAVAILABLE, body, .. } => {
                body.trim_ascii() == NO_ROOM.as_bytes()
            }
            _ => false,
        }
    }

    /// Who we say we are is not believed, or not let through.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.code(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
    }

    /// The control plane itself says that this will not be had.
    pub(crate) fn is_final_word(&self) -> bool {
        self.word().is_some()
    }

    /// The control plane itself says that the job is not, or no longer, this agent's.
    pub(crate) fn is_lost(&self) -> bool {
        self.word() == Some(Word::Lost)
    }

    fn word(&self) -> Option<Word> {
        match self {
            Self::Status { status, body, .. } => word(*status, body),
            _ => None,
        }
    }

    pub(crate) fn code(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What `Retry-After` asks for: seconds, or the time until a date.
fn pause(said: &str, now: Timestamp) -> Option<Duration> {
    let until = |date: Timestamp| date.duration_since(now).try_into();
    let asked = match said.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        // A date that has passed asks for no pause.
        Err(_) => until(rfc2822::parse(said).ok()?.timestamp()).unwrap_or_default(),
    };
    Some(asked.min(LONGEST_RETRY_AFTER))
}

/// What an error answer says, cut and on one line: it ends in our own log.
fn said(body: &Bytes) -> String {
    let text = match serde_json::from_slice::<wire::ErrorBody>(body) {
        Ok(body) => body.error,
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(EXCERPT)]).into_owned(),
    };
    let line: String =
        text.trim().chars().take(EXCERPT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_query_of_a_call_that_failed_is_not_shown() {
        let tls = tls::Roots::default().client_config();
        let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap();
        let failed = client.get("http://127.0.0.1:1/base?key=hunter2").send().await.unwrap_err();
        let ApiError::Transport(error) = ApiError::transport(failed) else { panic!("another error") };
        let told = error.to_string();
        assert!(told.contains("http://127.0.0.1:1/base") && !told.contains("hunter2"), "{told}");
    }

    /// How a call fails to who answers every request with these bytes.
    async fn failed(scheme: &str, says: &'static [u8]) -> ApiError {
        use std::io::{Read, Write};
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}/", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert_ne!(stream.read(&mut [0; 4 << 10]).unwrap(), 0);
            stream.write_all(says).unwrap();
        });
        let tls = tls::Roots::default().client_config();
        let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap();
        let failed = client.get(url).send().await.unwrap_err();
        server.join().unwrap();
        ApiError::transport(failed)
    }

    #[tokio::test]
    async fn tls_and_plain_http_taken_for_each_other_are_known() {
        let alert = b"\x15\x03\x01\x00\x02\x02\x46";
        assert_eq!(failed("http", alert).await.mismatch(), Some(Mismatch::NoHttp));
        let refused = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        let plain = failed("https", refused).await;
        assert_eq!(plain.mismatch(), Some(Mismatch::NoTls));
        let go = status(400, "Client sent an HTTP request to an HTTPS server.\n");
        assert_eq!(go.mismatch(), Some(Mismatch::NoHttp));
        assert_eq!(status(400, "no").mismatch(), None);
    }

    fn status(code: u16, body: &'static str) -> ApiError {
        let status = StatusCode::from_u16(code).unwrap();
        ApiError::status(status, &HeaderMap::new(), Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn only_the_control_planes_own_word_does_not_pass() {
        for code in [302, 401, 403, 404, 408, 409, 410, 429, 500, 501, 502, 503, 504] {
            assert!(status(code, "").may_pass(), "{code}");
            assert!(status(code, "<html>no</html>").may_pass(), "{code}");
        }
        assert!(ApiError::Foreign { body: Bytes::new() }.may_pass());
        for (code, body) in [(500, r#"{"error":"unknown job"}"#), (401, "invalid token\n"), (404, "null")] {
            let error = status(code, body);
            assert!(error.is_lost() && error.is_final_word() && !error.may_pass(), "{error}");
        }
        let full = status(503, "there is too little room for more text of logs: try again later\n");
        assert!(full.is_no_room() && full.may_pass() && !status(503, "<html>no</html>").is_no_room());
        let error = status(400, "Failed to unmarshal payload: no");
        assert!(!error.is_lost() && error.is_final_word() && !error.may_pass(), "{error}");
        assert!(!status(413, "").may_pass());
    }

    #[test]
    fn a_busy_control_plane_is_not_strange_and_a_page_is() {
        for code in [408, 429, 500, 502, 503] {
            assert!(!status(code, "").is_strange(), "{code}");
        }
        for code in [302, 401, 403, 404, 410] {
            assert!(status(code, "<html>").is_strange(), "{code}");
        }
        assert!(!status(401, "invalid token").is_strange());
        assert!(ApiError::Foreign { body: Bytes::from_static(b"<html>") }.is_strange());
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_until_a_date() {
        let now: Timestamp = "1994-11-06T08:49:30Z".parse().unwrap();
        for (said, seconds) in [
            ("7", Some(7)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("Sun, 06 Nov 1994 09:49:37 GMT", Some(LONGEST_RETRY_AFTER.as_secs())),
            ("99999999999", Some(LONGEST_RETRY_AFTER.as_secs())),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(pause(said, now), seconds.map(Duration::from_secs), "{said}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "Sat, 01 Jan 2000 00:00:00 GMT".parse().unwrap());
        let error = ApiError::status(StatusCode::SERVICE_UNAVAILABLE, &headers, Bytes::new());
        assert_eq!(error.retry_after(), Some(Duration::ZERO));
    }

    #[test]
    fn an_error_answer_is_told_on_one_line() {
        assert_eq!(status(500, "").to_string(), "unexpected status code 500");
        assert_eq!(status(400, r#"{"error":"bad\njob"}"#).to_string(), "unexpected status code 400: bad job");
        assert_eq!(status(502, "<html>\x1b[31m\n").to_string(), "unexpected status code 502: <html> [31m");
    }
}
