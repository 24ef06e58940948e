//! What goes wrong with a registry, told apart.

use super::addresses::{forbidden_by, unknown_by};
use crate::ImageError;
use crate::words::shown;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use tls::comes_of_tls;

/// Bytes of what a server says with a refusal.
const WORDS_BYTES: usize = 16 << 10;
/// Characters of it that are passed on.
const SHOWN: usize = 200;
/// Characters of the time to wait.
const RETRY_SHOWN: usize = 40;

/// Who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Registry,
    TokenServer,
}

/// An answer other than success.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    retry_after: String,
    code: String,
    /// For people, in one line.
    words: String,
}

/// Registries' answers, and those of token servers, which some wrote themselves.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    errors: Vec<Fault>,
    details: Option<String>,
    message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fault {
    code: String,
    message: String,
}

impl Refusal {
    /// Reads what the server says to it.
    pub(super) async fn read(mut response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        // A piece of it, or nothing, will do.
        while let Ok(Some(chunk)) = response.chunk().await
            && body.len() < WORDS_BYTES
        {
            body.extend_from_slice(&chunk);
        }
        Self::new(status, &headers, &body)
    }

    fn new(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let answer: Answer = serde_json::from_slice(body).unwrap_or_default();
        let fault = answer.errors.into_iter().next().unwrap_or_default();
        let told = [Some(fault.message), answer.details, answer.message];
        let told = told.into_iter().flatten().find(|told| !told.is_empty()).unwrap_or_default();
        let retry_after =
            headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).unwrap_or("not said");
        Self {
            status,
            retry_after: shown(retry_after, RETRY_SHOWN),
            code: fault.code.to_ascii_uppercase(),
            words: shown(&told, SHOWN),
        }
    }

    /// Whether other credentials might help.
    pub(super) fn is_denial(&self) -> bool {
        matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) && !self.is_limit()
    }

    fn is_limit(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS || self.code == "TOOMANYREQUESTS"
    }

    /// `reason`, and what the server said.
    pub(super) fn with_words(&self, reason: &str) -> String {
        match self.words.as_str() {
            "" => reason.to_owned(),
            words => format!("{reason} (it said: {words})"),
        }
    }

    /// What it means for `image`. Denials are told by who knows the credentials.
    pub(super) fn error(self, image: &str, registry: String) -> ImageError {
        match self.status {
            _ if self.is_limit() => ImageError::RateLimited { registry, retry_after: self.retry_after },
            StatusCode::NOT_FOUND => ImageError::NotFound { image: image.to_owned(), place: registry },
            status => {
                let answer = self.with_words(&format!("status {}", status.as_u16()));
                ImageError::BadRegistry { registry, answer }
            }
        }
    }
}

/// For `map_err` on what the transport does.
pub(super) fn network(registry: String) -> impl FnOnce(reqwest::Error) -> ImageError {
    move |error| {
        if let Some(address) = forbidden_by(&error) {
            return ImageError::ForbiddenAddress { registry, address };
        }
        if unknown_by(&error).is_some_and(|host| is_host_of(&registry, host)) {
            return ImageError::UnknownHost { registry };
        }
        let is_tls = is_tls(&error);
        // Addresses of blobs are often signed, and a signature is a credential.
        let source = error.without_url();
        if is_tls { ImageError::Tls { registry, source } } else { ImageError::Network { registry, source } }
    }
}

/// Whether `host` is what the user wrote for the registry. Where Docker Hub is, what a mirror is called, and whom a
/// registry or a proxy sends us to was no user's choice, and what runs on this machine has no use for DNS.
fn is_host_of(registry: &str, host: &str) -> bool {
    let name = registry.rsplit_once(':').map_or(registry, |(name, _)| name);
    name.eq_ignore_ascii_case(host) && !addresses::is_loopback_host(host)
}

/// Whether asking again may help.
pub(super) fn may_pass(error: &reqwest::Error) -> bool {
    !error.is_redirect() && !is_tls(error) && forbidden_by(error).is_none()
}

/// Whether the two could not agree on TLS, above all on a certificate.
fn is_tls(error: &reqwest::Error) -> bool {
    comes_of_tls(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        let status = StatusCode::from_u16(status).expect("a status");
        Refusal::new(status, &HeaderMap::new(), body.as_bytes())
    }

    fn told(status: u16, body: &str) -> String {
        refusal(status, body).error("r.test/a:1", "r.test".to_owned()).to_string()
    }

    #[test]
    fn refusals_are_told_apart() {
        assert!(told(404, "").contains("was not found in r.test"));
        assert!(told(429, "").contains("limits the rate"));
        let limit = r#"{"errors":[{"code":"toomanyrequests","message":"Slow down"}]}"#;
        assert!(told(403, limit).contains("limits the rate") && !refusal(403, limit).is_denial());
        assert!(refusal(403, "{}").is_denial() && refusal(401, "").is_denial());
        assert!(!refusal(500, "").is_denial());
        assert!(told(500, "<html>").contains("status 500"));
    }

    #[test]
    fn only_a_name_that_the_user_wrote_is_the_users() {
        for (registry, host, expected) in [
            ("r.test", "r.test", true),
            ("R.test:5000", "r.test", true),
            ("r.test", "blobs.r.test", false),
            ("r.test:5000", "proxy.test", false),
            ("docker.io", "registry-1.docker.io", false),
            ("https://mirror.test", "mirror.test", false),
            ("localhost:5000", "localhost", false),
        ] {
            assert_eq!(is_host_of(registry, host), expected, "{registry} {host}");
        }
    }

    #[test]
    fn the_servers_words_are_passed_on_in_one_short_line() {
        let registry = r#"{"errors":[{"code":"DENIED","message":"no\n\u001b[31maccess"}]}"#;
        assert_eq!(refusal(403, registry).with_words("refused"), "refused (it said: no  [31maccess)");
        let token_server = r#"{"details":"incorrect username or password"}"#;
        assert_eq!(
            refusal(401, token_server).with_words("refused"),
            "refused (it said: incorrect username or password)"
        );
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(1000));
        assert!(refusal(401, &long).with_words("refused").len() < 250);
        assert_eq!(refusal(401, "[]").with_words("refused"), "refused");
    }
}
