//! What somebody with bad intentions may send. After each of these the server is as it was.

mod answers;
mod bodies;
mod heads;
mod jobs;
mod paths;
mod shares;
mod sources;
mod unread;
mod ways;

use crate::harness::{Harness, told};
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the server may take over nonsense.
const LIMIT: Duration = Duration::from_secs(10);

/// Sends bytes over a connection of its own and gives all that comes back until the server closes it.
/// Well-formed requests must ask for that.
async fn raw(harness: &Harness, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(harness.server.addr()).await.unwrap();
    let mut answer = Vec::new();
    let exchange = async {
        let (mut read, mut write) = stream.split();
        // The server may hang up before it has read everything.
        let sent = async {
            let _ = write.write_all(bytes).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = sent => {}
            _ = read.read_to_end(&mut answer) => {}
        }
    };
    tokio::time::timeout(LIMIT, exchange).await.expect("the server closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The statuses of the answers in what came back.
fn statuses(answer: &str) -> Vec<u16> {
    let lines = answer.split("\r\n").filter_map(|line| line.split("HTTP/1.1 ").nth(1));
    lines.filter_map(|line| line.get(..3)?.parse().ok()).collect()
}

fn api_token(harness: &Harness) -> String {
    harness.server.api_token().expose_secret().to_owned()
}

/// It answers, and has as many jobs as it should.
async fn is_well(harness: &Harness, jobs: usize) {
    assert_eq!(told(harness.client.get(harness.url("/healthz"))).await, (200, "ok".to_owned()));
    let listed = harness.get("/jobs?limit=500").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), jobs);
}

/// The most memory this process ever had, in MiB.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() >> 10
}
