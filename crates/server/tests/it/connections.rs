//! Connections that do nothing, and those that are in their way.

use crate::harness::{Harness, job, told};
use reqwest::{Method, Response};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How long an ordinary request may take at most, whatever else goes on.
const PROMPT: Duration = Duration::from_secs(3);
const FOR_EVER: Duration = Duration::from_hours(1);

async fn connect(harness: &Harness) -> TcpStream {
    TcpStream::connect(harness.server.addr()).await.unwrap()
}

/// Connects as another host of the loopback network.
async fn connect_from(harness: &Harness, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    socket.connect(harness.server.addr()).await.unwrap()
}

/// Makes a request on a connection that stays open, and reads the answer.
async fn ask(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    Ok(())
}

/// Whether the server closed this connection within a moment.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let read = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut [0])).await;
    !matches!(read, Err(_) | Ok(Ok(1..)))
}

async fn answered_promptly(harness: &Harness) {
    let answer = told(harness.client.get(harness.url("/healthz")));
    let answer = tokio::time::timeout(PROMPT, answer).await.expect("an answer in time");
    assert_eq!(answer, (200, "ok".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_silent_connections_keep_nobody_out() {
    const SILENT: u64 = 4_200;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.maximum.is_some_and(|files| files < 3 * SILENT) {
        return testkit::missing_part(
            "thousands_of_silent_connections_keep_nobody_out",
            "a limit of 12,600 open files",
        );
    }
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    // Time alone is not to help.
    let harness = Harness::start_with(|config| {
        (config.limits.first_head, config.limits.keep_alive) = (FOR_EVER, FOR_EVER);
    })
    .await;
    let mut silent = Vec::new();
    for n in 0..SILENT {
        let mut stream = connect(&harness).await;
        // Some say nothing, some say a little, some have said something once.
        match n % 3 {
            0 => {}
            1 => stream.write_all(b"GET /healthz HTTP/1.1\r\nHost:").await.unwrap(),
            _ => ask(&mut stream).await.unwrap(),
        }
        silent.push(stream);
    }
    answered_promptly(&harness).await;
    assert!(is_closed(&mut silent[0]).await, "the oldest silent one gave way");
}

#[tokio::test]
async fn a_connection_has_little_time_for_its_first_head_and_more_afterwards() {
    let first_head = Duration::from_millis(400);
    let harness = Harness::start_with(|config| config.limits.first_head = first_head).await;
    let mut speaking = connect(&harness).await;
    ask(&mut speaking).await.unwrap();
    let begun = Instant::now();
    let mut silent = connect(&harness).await;
    let closed = tokio::time::timeout(Duration::from_secs(10), silent.read(&mut [0])).await;
    assert_eq!(closed.unwrap().unwrap(), 0, "the silent one was not closed");
    assert!(begun.elapsed() >= first_head, "{:?}", begun.elapsed());
    tokio::time::sleep(2 * first_head).await;
    ask(&mut speaking).await.expect("an idle connection is kept for longer");
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_the_end() {
    let harness = Harness::start_with(|config| config.limits.keep_alive = Duration::from_millis(200)).await;
    let mut stream = connect(&harness).await;
    ask(&mut stream).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut [0])).await;
    assert_eq!(closed.unwrap().unwrap(), 0);
}

/// A log that is followed, known to be under way.
async fn followed(harness: &Harness, id: i64) -> Response {
    let request = harness.api(Method::GET, &format!("/jobs/{id}/logs/stream"));
    let mut response = request.send().await.unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    response
}

#[tokio::test]
async fn connections_with_a_request_under_way_stay_and_the_next_one_waits() {
    let harness = Harness::start_with(|config| config.limits.connections = 2).await;
    let id = harness.submit(&job()).await;
    let (first, mut second) = (followed(&harness, id).await, followed(&harness, id).await);
    let mut third = connect(&harness).await;
    let waits = tokio::time::timeout(Duration::from_millis(500), ask(&mut third)).await;
    assert!(waits.is_err(), "somebody had to make room");
    drop(first);
    let mut answer = [0; 12];
    tokio::time::timeout(PROMPT, third.read_exact(&mut answer)).await.expect("there is room").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    drop(third);
    harness.cancel(id).await;
    while second.chunk().await.unwrap().is_some() {}
}

#[tokio::test]
async fn an_idle_connection_gives_way_and_a_log_that_is_followed_does_not() {
    let harness = Harness::start_with(|config| config.limits.connections = 2).await;
    let id = harness.submit(&job()).await;
    let mut stream = followed(&harness, id).await;
    let mut idle = Vec::new();
    for _ in 0..5 {
        let mut other = connect(&harness).await;
        tokio::time::timeout(PROMPT, ask(&mut other)).await.expect("room was made").unwrap();
        idle.push(other);
    }
    harness.cancel(id).await;
    let mut rest = String::new();
    while let Some(chunk) = stream.chunk().await.unwrap() {
        rest += &String::from_utf8_lossy(&chunk);
    }
    assert!(rest.contains("event: end"), "{rest}");
}

#[tokio::test]
async fn nobody_is_crowded_out_by_another_host() {
    let harness = Harness::start_with(|config| config.limits.connections = 8).await;
    let mut modest = connect_from(&harness, "127.0.0.2").await;
    ask(&mut modest).await.unwrap();
    let mut greedy = Vec::new();
    for _ in 0..40 {
        let mut stream = connect_from(&harness, "127.0.0.3").await;
        ask(&mut stream).await.unwrap();
        greedy.push(stream);
    }
    ask(&mut modest).await.expect("the oldest of all, but the only one of its host");
    assert!(is_closed(&mut greedy[0]).await);
}

#[tokio::test]
async fn a_host_that_is_busy_on_all_it_gets_keeps_nobody_out() {
    let harness = Harness::start_with(|config| config.limits.connections = 8).await;
    let id = harness.submit(&job()).await;
    // Each of these is busy for as long as it likes.
    let mut followers = Vec::new();
    let mut refused = 0;
    for _ in 0..8 {
        let request = harness.api(Method::GET, &format!("/jobs/{id}/logs/stream")).send();
        let answer = tokio::time::timeout(PROMPT, request).await.expect("an answer").unwrap();
        match answer.status().as_u16() {
            200 => followers.push(answer),
            status => {
                assert_eq!(status, 503, "{}", answer.text().await.unwrap());
                refused += 1;
            }
        }
    }
    assert_eq!((followers.len(), refused), (6, 2));
    let mut other = connect_from(&harness, "127.0.0.2").await;
    tokio::time::timeout(PROMPT, ask(&mut other)).await.expect("an answer").unwrap();
    drop(followers.pop());
    let begun = Instant::now();
    while told(harness.client.get(harness.url("/healthz"))).await.0 != 200 {
        assert!(begun.elapsed() < PROMPT, "one of its requests has ended");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_never_reads_what_they_follow_is_let_go() {
    const MIB: usize = 1 << 20;
    let harness = Harness::start_with(|config| config.limits.unread = Duration::from_secs(1)).await;
    let held = harness.running_job().await;
    let entry = harness.add_log(&held, "step.docker.0").await;
    // More than both ends have room for.
    for n in 0..16 {
        let chunk = "0123456789abcde\n".repeat(MIB / 16);
        let answer = harness.append(&held, entry, (n * MIB) as u64, &chunk).await;
        assert!(answer.status().is_success(), "{}", answer.status());
    }
    let open = async || {
        let text = told(harness.api(Method::GET, "/metrics")).await.1;
        let line = text.lines().find_map(|line| line.strip_prefix("executor_server_connections "));
        line.unwrap().parse::<u64>().unwrap()
    };
    let before = open().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(harness.server.addr()).await.unwrap();
    let token = secrecy::ExposeSecret::expose_secret(harness.server.api_token()).to_owned();
    let head = format!(
        "GET /api/v1/jobs/{}/logs/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n",
        held.id
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut begun = [0; 15];
    stream.read_exact(&mut begun).await.unwrap();
    assert_eq!(&begun, b"HTTP/1.1 200 OK");
    let begun = Instant::now();
    while open().await > before {
        assert!(begun.elapsed() < Duration::from_secs(30), "it still has its connection");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(stream);
}
