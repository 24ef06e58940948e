//! Certificates that are missing, expired or of no use.

use super::frontend::server;
use super::{Patient, SECRET, seen};
use std::net::SocketAddr;
use testkit::stock_server::StockServer;
use testkit::tls::{Authority, TlsFront};

/// A control plane behind TLS.
struct Secret {
    front: TlsFront,
    _stock: StockServer,
    /// Held for what runs in it: the front.
    _runtime: tokio::runtime::Runtime,
}

impl Secret {
    fn start(authority: &Authority) -> Self {
        let stock = StockServer::start(SECRET);
        let plain: SocketAddr = stock.url().strip_prefix("http://").unwrap().parse().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let front = {
            let _within = runtime.enter();
            TlsFront::start(authority, plain)
        };
        Self { front, _stock: stock, _runtime: runtime }
    }

    fn patient(&self) -> Patient {
        Patient::new().with("EXECUTOR_FRONTEND_URL", format!("https://{}", self.front.address))
    }
}

#[test]
fn an_authority_that_is_not_trusted_is_told_until_it_is_named() {
    let authority = Authority::new("ours");
    let secret = Secret::start(&authority);
    let patient = secret.patient();
    let examined = patient.examined();
    assert_eq!(examined.code(), Some(1));
    let finding = examined.one("frontend.tls", "fatal");
    assert!(finding["remedy"].as_str().unwrap().contains("SSL_CERT_FILE"), "{finding}");
    assert_eq!(examined.found("frontend.token").len(), 0, "nobody knows");

    let file = patient.path("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let examined = patient.with("SSL_CERT_FILE", file.display().to_string()).examined();
    examined.one("frontend.tls", "ok");
    examined.one("frontend.token", "ok");
    examined.one("certificates.named", "ok");
}

#[test]
fn an_authority_that_expired_is_warned_of() {
    let authority = Authority::expired("ours of old");
    let patient = Patient::new();
    let file = patient.path("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let examined = patient.with("SSL_CERT_FILE", file.display().to_string()).examined();
    let finding = examined.one("certificates.named", "warning");
    assert!(
        seen(finding).contains("ours of old") && seen(finding).contains("expired on 2001-01-01"),
        "{finding}"
    );
}

#[test]
fn certificates_that_are_named_and_missing_are_fatal() {
    let examined = Patient::new().with("SSL_CERT_FILE", "/nowhere/ca.pem").examined();
    assert_eq!(examined.code(), Some(1));
    let finding = examined.one("certificates.named", "fatal");
    assert!(seen(finding).contains("/nowhere/ca.pem"), "{finding}");
}

#[test]
fn who_speaks_no_tls_is_told() {
    let plain = server(Some("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
    let url = plain.replace("http://", "https://");
    let examined = Patient::new().with("EXECUTOR_FRONTEND_URL", url).examined();
    let finding = examined.one("frontend.tls", "fatal");
    assert!(seen(finding).contains("no TLS"), "{finding}");
}
