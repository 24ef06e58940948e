//! Connections that are made safe.

use crate::harness::{Harness, told};
use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret;
use server::{ServerConfig, TlsFiles};
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::tls::{Authority, ServerCertificate};
use tls::{Places, Roots};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const NAMES: [&str; 2] = ["executor.test", "127.0.0.1"];

fn files(dir: &Path) -> TlsFiles {
    TlsFiles { certificate: dir.join("cert.pem"), key: dir.join("key.pem") }
}

/// Puts both in place as programs that renew certificates do: whole, one after the other.
fn install(dir: &Path, ServerCertificate { certificate, key }: &ServerCertificate) {
    let to = files(dir);
    for (path, text) in [(&to.certificate, certificate), (&to.key, key)] {
        let new = dir.join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, path).unwrap();
    }
}

/// A client that believes `authority` and has no connection yet.
fn client(dir: &Path, authority: &Authority) -> Client {
    crate::harness::client();
    let file = dir.join("authority.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let roots = Roots::new(Places::default().and(file.to_str().unwrap(), ""));
    Client::builder().no_proxy().tls_backend_preconfigured(roots.client_config()).build().unwrap()
}

async fn start(dir: &Path) -> Harness {
    let tls = files(dir);
    Harness::start_with(|config| {
        config.tls = Some(tls);
        config.limits.first_head = Duration::from_millis(500);
    })
    .await
}

#[tokio::test]
async fn what_is_served_by_tls_is_not_served_otherwise() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    install(dir.path(), &authority.server(&NAMES));
    let harness = start(dir.path()).await;
    assert_eq!(harness.server.tls().unwrap().names, ["executor.test"]);
    let url = |path: &str| format!("https://{}{path}", harness.server.addr());
    let client = client(dir.path(), &authority);
    let token = harness.server.api_token().expose_secret();
    let answer = client.get(url("/api/v1/whoami")).bearer_auth(token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    for (name, value) in [
        ("strict-transport-security", "max-age=31536000"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ] {
        assert_eq!(answer.headers()[name], value, "{name}");
    }
    let (_, metrics) = told(client.get(url("/metrics")).bearer_auth(token)).await;
    let expires = "executor_server_certificate_expires_seconds 67090";
    assert!(metrics.contains(expires), "until the year 4096: {metrics}");
    // Plain text is nothing to it.
    assert!(harness.client.get(harness.url("/healthz")).send().await.is_err());
    assert!(harness.client.get(url("/healthz")).send().await.is_err(), "an authority that nobody knows");
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_one_that_is_none_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    install(dir.path(), &old.server(&NAMES));
    let harness = start(dir.path()).await;
    let url = format!("https://{}/healthz", harness.server.addr());
    // Each looks with a connection of its own.
    let believes = async |authority: &Authority| client(dir.path(), authority).get(&url).send().await.is_ok();
    let kept = client(dir.path(), &old);
    assert!(kept.get(&url).send().await.is_ok());
    install(dir.path(), &new.server(&NAMES));
    assert!(believes(&new).await && !believes(&old).await);
    assert!(kept.get(&url).send().await.is_ok(), "a connection that is there goes on");
    std::fs::write(files(dir.path()).key, old.server(&NAMES).key).unwrap();
    assert!(believes(&new).await, "another one's key");
    std::fs::write(files(dir.path()).certificate, "nothing").unwrap();
    assert!(believes(&new).await);
    std::fs::remove_file(files(dir.path()).key).unwrap();
    assert!(believes(&new).await);
    install(dir.path(), &old.server(&NAMES));
    assert!(believes(&old).await);
}

#[tokio::test]
async fn whoever_never_ends_a_handshake_is_sent_away() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    install(dir.path(), &authority.server(&NAMES));
    let harness = start(dir.path()).await;
    let mut silent = TcpStream::connect(harness.server.addr()).await.unwrap();
    // The beginning of a record that never ends.
    silent.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap();
    let begun = Instant::now();
    let closed = tokio::time::timeout(Duration::from_secs(10), silent.read(&mut [0])).await.expect("closed");
    assert!(matches!(closed, Ok(0) | Err(_)) && begun.elapsed() >= Duration::from_millis(250));
}

#[tokio::test]
async fn files_that_are_of_no_use_are_refused_at_start() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    let refused = async || {
        let mut config = ServerConfig::new("127.0.0.1:0".parse().unwrap(), dir.path().join("data"));
        config.tls = Some(files(dir.path()));
        let started = server::start(config, tokio_util::sync::CancellationToken::new()).await;
        started.err().unwrap().to_string()
    };
    let told = refused().await;
    assert!(told.contains("cert.pem for TLS"), "{told}");
    let (one, other) = (authority.server(&NAMES), authority.server(&NAMES));
    install(dir.path(), &ServerCertificate { certificate: one.certificate, key: other.key });
    let told = refused().await;
    assert!(told.contains("does not belong to the certificate"), "{told}");
    std::fs::write(files(dir.path()).certificate, "nothing").unwrap();
    let told = refused().await;
    assert!(told.contains("it holds no certificate in PEM"), "{told}");
}
