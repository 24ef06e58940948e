//! Telling that one side speaks TLS and the other plain HTTP: the commonest slip in a URL, and errors name none of it.

use http::StatusCode;
use std::error::Error;
use std::io;

/// What the other side speaks, which this one does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// TLS was spoken to who speaks none.
    NoTls,
    /// HTTP was spoken to who speaks none, or speaks it over TLS alone.
    NoHttp,
}

/// What servers say in plain HTTP at a port for TLS: Go's, nginx, Apache.
const WORDS: [&str; 3] = [
    "HTTP request to an HTTPS server",
    "HTTP request was sent to HTTPS port",
    "speaking plain HTTP to an SSL-enabled",
];

impl Mismatch {
    /// Whether an error of an HTTP client comes of one.
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        // An I/O error that wraps another names the other's cause, not the other.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(rustls::Error::InvalidMessage(_)) = error.downcast_ref() {
            return Some(Self::NoTls);
        }
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return Some(Self::NoHttp);
        }
        wrapped.and_then(|wrapped| Self::of(wrapped)).or_else(|| error.source().and_then(Self::of))
    }

    /// What is the matter, and what to do.
    pub const fn told(self) -> &'static str {
        match self {
            Self::NoTls => {
                "what answers there speaks no TLS: begin the URL with http:// if plain HTTP is meant, or name the port where \
                 TLS is spoken"
            }
            Self::NoHttp => {
                "what answers there speaks no plain HTTP: begin the URL with https:// if it speaks TLS, or name the port of \
                 the control plane"
            }
        }
    }
}

/// Whether an answer says that TLS is spoken at this port alone.
pub fn wants_tls(status: StatusCode, body: &str) -> bool {
    status == StatusCode::BAD_REQUEST && WORDS.iter().any(|words| body.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_speaks_no_tls_is_told_from_who_is_not_trusted() {
        let plain = || rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert_eq!(Mismatch::of(&io::Error::other(io::Error::other(plain()))), Some(Mismatch::NoTls));
        let untrusted = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert_eq!(Mismatch::of(&untrusted), None);
        assert_eq!(Mismatch::of(&io::Error::from(io::ErrorKind::ConnectionRefused)), None);
    }

    #[test]
    fn who_says_that_tls_is_wanted_is_heard() {
        let go = "Client sent an HTTP request to an HTTPS server.\n";
        assert!(wants_tls(StatusCode::BAD_REQUEST, go) && !wants_tls(StatusCode::OK, go));
        let nginx = "<center>The plain HTTP request was sent to HTTPS port</center>";
        assert!(wants_tls(StatusCode::BAD_REQUEST, nginx));
        assert!(!wants_tls(StatusCode::BAD_REQUEST, "bad job"));
    }
}
