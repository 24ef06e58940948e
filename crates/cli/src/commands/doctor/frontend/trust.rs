//! Whether who answers is who it should be.

use super::super::finding::{Finding, fatal, info, ok, warning};
use super::answer::Answer;
use crate::exit::chain;
use rustls::{CertificateError, Error as TlsError};
use std::error::Error;
use std::io;
use url::{Host, Url};

/// Why there was no answer.
#[derive(Debug)]
pub(in super::super) enum Fault {
    Tls(TlsError),
    Silent,
    Other(String),
}

impl Fault {
    pub(in super::super) fn of(error: &reqwest::Error) -> Self {
        match tls_error(error) {
            Some(fault) => Self::Tls(fault),
            None if error.is_timeout() => Self::Silent,
            None => Self::Other(chain(error)),
        }
    }
}

/// What TLS failed of, however deep it is.
fn tls_error(error: &(dyn Error + 'static)) -> Option<TlsError> {
    // An I/O error that wraps another names the other's cause, not the other.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let own = error.downcast_ref::<TlsError>().cloned();
    own.or_else(|| wrapped.and_then(|wrapped| tls_error(wrapped)))
        .or_else(|| error.source().and_then(tls_error))
}

/// Judges how the control plane was met. Nothing can be said of one that was not.
pub(super) fn judge(url: &Url, called: &Result<Answer, Fault>, is_far: bool) -> Option<Finding> {
    match (url.scheme(), called) {
        ("https", Ok(_)) => Some(ok(
            "frontend.tls",
            "its certificate is valid and comes of an authority that is trusted here",
        )),
        (_, Err(Fault::Tls(fault))) => Some(broken(url, fault)),
        ("http", Ok(_)) => Some(plain(url, is_far)),
        _ => None,
    }
}

fn plain(url: &Url, is_far: bool) -> Finding {
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if local {
        return ok("frontend.tls", "plain HTTP, which does not leave this host");
    }
    if !is_far {
        return info(
            "frontend.tls",
            "plain HTTP within a private network: whoever is in it can read secrets of jobs",
        );
    }
    warning(
        "frontend.tls",
        format!(
            "plain HTTP to a public address of {}: the shared secret and those of jobs can be read on the way",
            url.host_str().unwrap_or_default()
        ),
        "use https:// in EXECUTOR_FRONTEND_URL",
    )
}

/// What is wrong with how a server speaks TLS, and what to do.
pub(in super::super) fn explain(fault: &TlsError) -> (String, &'static str) {
    use CertificateError::{
        Expired, ExpiredContext, NotValidForName, NotValidForNameContext, NotValidYet, NotValidYetContext,
        UnknownIssuer,
    };
    let told = |seen: &str, remedy| (seen.to_owned(), remedy);
    match fault {
        TlsError::InvalidCertificate(Expired | ExpiredContext { .. }) => told(
            "its certificate, or one that it comes of, has expired",
            "renew it; should it not have expired, set this host's clock",
        ),
        TlsError::InvalidCertificate(NotValidYet | NotValidYetContext { .. }) => {
            told("its certificate is not valid yet", "set the clocks of this host and of whoever made it")
        }
        TlsError::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => told(
            "its certificate is for other names than this",
            "use a name that is in the certificate, or make one for this name",
        ),
        TlsError::InvalidCertificate(UnknownIssuer) => told(
            "its certificate comes of an authority that is not trusted here",
            "put the authority's certificate (PEM) into /etc/ssl/certs, or name its file by SSL_CERT_FILE; let the \
             server send its intermediate certificates too",
        ),
        TlsError::InvalidMessage(_) => told(
            "what answers speaks no TLS",
            "use http:// if that is meant, or the port where TLS is spoken",
        ),
        other => (format!("TLS failed: {other}"), "look at how the server speaks TLS: 1.2 or 1.3 is needed"),
    }
}

fn broken(url: &Url, fault: &TlsError) -> Finding {
    let (seen, remedy) = explain(fault);
    fatal("frontend.tls", format!("{url}: {seen}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Severity;
    use super::*;

    #[test]
    fn each_fault_of_a_certificate_has_its_remedy() {
        let url: Url = "https://sg.example.com".parse().unwrap();
        for (fault, remedy) in [
            (CertificateError::Expired, "renew"),
            (CertificateError::NotValidYet, "clocks"),
            (CertificateError::NotValidForName, "a name that is in"),
            (CertificateError::UnknownIssuer, "SSL_CERT_FILE"),
        ] {
            let called = Err(Fault::Tls(TlsError::InvalidCertificate(fault)));
            let finding = judge(&url, &called, true).unwrap();
            assert!(finding.severity == Severity::Fatal && finding.remedy.contains(remedy), "{finding:?}");
        }
    }

    #[test]
    fn plain_text_is_judged_by_how_far_it_goes() {
        let severity = |url: &str, is_far| {
            judge(&url.parse().unwrap(), &Ok(Answer::default()), is_far).unwrap().severity
        };
        assert_eq!(severity("http://127.0.0.1:3080", false), Severity::Ok);
        assert_eq!(severity("http://sourcegraph-frontend", false), Severity::Info);
        assert_eq!(severity("http://sg.example.com", true), Severity::Warning);
        assert_eq!(severity("https://sg.example.com", true), Severity::Ok);
    }
}
