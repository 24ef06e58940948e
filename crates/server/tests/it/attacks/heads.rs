//! Heads of requests, and what pretends to be one.

use super::{LIMIT, api_token, is_well, raw, statuses};
use crate::harness::Harness;
use std::fmt::Write;

/// A head that ends its connection, with one more line.
fn with_line(line: &str) -> Vec<u8> {
    format!("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{line}\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn what_is_no_request_is_refused_or_hung_up_on() {
    let harness = Harness::start().await;
    let mut many = String::new();
    for n in 0..2_000 {
        write!(many, "X-{n}: y\r\n").unwrap();
    }
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03AAAAAAAAAAAAAAAAAAAAAAAA\r\n\r\n".to_vec();
    for (what, bytes) in [
        ("a NUL in a value", with_line("X: a\0b")),
        ("a bare CR in a value", with_line("X: a\rb")),
        ("a blank before the colon", with_line("Content-Length : 5")),
        ("a folded line", with_line("X: a\r\n b: c")),
        ("no colon", with_line("just words")),
        ("a name that is not ASCII", with_line("Gr\u{f6}\u{df}e: 1")),
        ("an empty name", with_line(": 1")),
        ("thousands of headers", with_line(&many)),
        ("a head of two hundred kilobytes", with_line(&format!("X: {}", "x".repeat(200 << 10)))),
        ("a path of as many", format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(200 << 10)).into_bytes()),
        ("a blank in the path", b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a NUL in the path", b"GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("bytes that are no text in the path", b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("another protocol's greeting", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("TLS", tls_hello),
        ("a version that is not there", b"GET / HTTP/9.9\r\n\r\n".to_vec()),
        ("a method of odd characters", b"G(T / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("two lengths", with_line("Content-Length: 5\r\nContent-Length: 6")),
        ("a length that is none", with_line("Content-Length: +5")),
        ("a length beyond all bounds", with_line("Content-Length: 99999999999999999999999")),
        ("an unknown transfer encoding", with_line("Transfer-Encoding: cow")),
        ("a transfer encoding after chunked", with_line("Transfer-Encoding: chunked, cow")),
    ] {
        let answer = raw(&harness, &bytes).await;
        let statuses = statuses(&answer);
        assert!(!statuses.contains(&200) && statuses.iter().all(|status| *status < 500), "{what}: {answer}");
    }
    is_well(&harness, 0).await;
}

#[tokio::test]
async fn odd_targets_are_no_way_in() {
    let harness = Harness::start().await;
    for target in [
        "http://evil.example/api/v1/jobs",
        "http://127.0.0.1/api/v1/jobs",
        "/api/v1/jobs/",
        "//api/v1/jobs",
        "/api/v1/jobs?",
        "/API/V1/JOBS",
        "*",
        "evil.example:80",
        "/%2e%2e/api/v1/jobs",
    ] {
        for method in ["GET", "POST", "CONNECT", "OPTIONS", "TRACE", "QUERY"] {
            let request = format!(
                "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            );
            let answer = raw(&harness, request.as_bytes()).await;
            let statuses = statuses(&answer);
            let refused = statuses.iter().all(|status| [400, 401, 404, 405].contains(status));
            assert!(refused, "{method} {target}: {answer}");
        }
    }
    is_well(&harness, 0).await;
}

/// The first request's body looks like a second request: whoever counts the body differently sees that.
#[tokio::test]
async fn no_request_hides_in_the_body_of_another() {
    let harness = Harness::start().await;
    let token = api_token(&harness);
    let hidden = format!(
        "POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 57\r\n\r\n\
         {{\"steps\":[{{\"image\":\"a\",\"run\":\"true\"}}],\"queue\":\"batches\"}}"
    );
    let chunked = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let length = hidden.len();
    for (what, framing, body) in [
        ("its length", format!("Content-Length: {length}"), hidden.clone()),
        ("its chunks", "Transfer-Encoding: chunked".to_owned(), chunked.clone()),
        ("both", "Content-Length: 4\r\nTransfer-Encoding: chunked".to_owned(), chunked.clone()),
        (
            "both, the other way round",
            "Transfer-Encoding: chunked\r\nContent-Length: 4".to_owned(),
            chunked.clone(),
        ),
        (
            "lists of both",
            "Content-Length: 4, 4\r\nTransfer-Encoding: identity, chunked".to_owned(),
            chunked.clone(),
        ),
        ("a blank in front", "Transfer-Encoding:\u{b}chunked\r\nContent-Length: 4".to_owned(), chunked),
    ] {
        let request = format!(
            "POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{framing}\r\n\r\n{body}\
             GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        );
        let answer = raw(&harness, request.as_bytes()).await;
        assert!(!statuses(&answer).contains(&201), "{what}: {answer}");
    }
    is_well(&harness, 0).await;
}

#[tokio::test]
async fn a_request_framed_in_two_ways_is_the_last_on_its_connection() {
    let harness = Harness::start().await;
    let request = "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
                   GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = raw(&harness, request.as_bytes()).await;
    assert!(!statuses(&answer).contains(&200), "a proxy may see another second request: {answer}");
}

#[tokio::test]
async fn broken_chunks_end_the_request() {
    let harness = Harness::start().await;
    let token = api_token(&harness);
    let endless = format!("5;{}\r\n12345\r\n0\r\n\r\n", "e".repeat(1 << 20));
    let trailers = format!("0\r\n{}\r\n", "T: x\r\n".repeat(100_000));
    for body in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "\r\n\r\n\r\n",
        &endless,
        &trailers,
    ] {
        let request = format!(
            "POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Transfer-Encoding: chunked\r\n\r\n{body}"
        );
        let answer = raw(&harness, request.as_bytes()).await;
        let cut: String = body.chars().take(40).collect();
        assert!(statuses(&answer).iter().all(|status| *status == 400), "{cut:?}: {answer}");
    }
    is_well(&harness, 0).await;
}

#[tokio::test]
async fn only_one_word_counts_as_proof() {
    let harness = Harness::start().await;
    let token = api_token(&harness);
    for headers in [
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer wrong"),
        format!("Authorization: Bearer wrong\r\nAuthorization: Bearer {token}"),
        format!("Authorization: Bearer {token}, Bearer {token}"),
        format!("Authorization: Bearer {token}\u{a0}"),
        format!("Proxy-Authorization: Bearer {token}"),
        format!("Cookie: token={token}"),
        "X-Forwarded-For: 127.0.0.1\r\nX-Original-URL: /healthz".to_owned(),
    ] {
        let request =
            format!("GET /api/v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n\r\n");
        let answer = raw(&harness, request.as_bytes()).await;
        assert_eq!(statuses(&answer), [401], "{}", headers.replace(&token, "TOKEN"));
    }
    let query =
        format!("GET /api/v1/jobs?access_token={token} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(statuses(&raw(&harness, query.as_bytes()).await), [401]);
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_their_order() {
    let harness = Harness::start().await;
    let mut requests = String::new();
    for n in 0..100 {
        let path = if n % 2 == 0 { "/healthz" } else { "/none" };
        let end = if n == 99 { "Connection: close\r\n" } else { "" };
        write!(requests, "GET {path} HTTP/1.1\r\nHost: x\r\n{end}\r\n").unwrap();
    }
    let answers = tokio::time::timeout(LIMIT, raw(&harness, requests.as_bytes())).await.unwrap();
    let expected: Vec<u16> = (0..100).map(|n| if n % 2 == 0 { 200 } else { 404 }).collect();
    assert_eq!(statuses(&answers), expected);
}
