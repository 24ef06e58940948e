//! Passes bytes on, and counts the requests in them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// How the head of a request begins to end.
const MARK: &[u8] = b" HTTP/1.1\r\n";
const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Relay {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
}

impl Relay {
    pub(crate) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, requests) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
        let counter = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, to, Arc::clone(&counter)));
            }
        });
        Self { address, requests }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Counts for so long.
    pub(crate) async fn requests_each_second(&self, time: Duration) -> Vec<u64> {
        let (begun, mut counts) = (Instant::now(), Vec::new());
        let mut last = self.requests.load(Ordering::Relaxed);
        for second in 1..=time.as_secs() {
            sleep_until(begun + SECOND * second as u32).await;
            let now = self.requests.load(Ordering::Relaxed);
            counts.push(now - last);
            last = now;
        }
        counts
    }
}

/// A connection that can't be passed on counts as a request: somebody wanted something.
async fn pass_on(mut client: TcpStream, to: SocketAddr, requests: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(to).await else {
        requests.fetch_add(1, Ordering::Relaxed);
        return;
    };
    let (mut from_server, mut to_server) = server.into_split();
    let (mut from_client, mut to_client) = client.split();
    let there = async {
        let (mut buffer, mut tail) = (vec![0; 16 << 10], Vec::new());
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            tail.extend_from_slice(&buffer[..read]);
            let found = tail.windows(MARK.len()).filter(|window| *window == MARK).count();
            requests.fetch_add(found as u64, Ordering::Relaxed);
            tail.drain(..tail.len().saturating_sub(MARK.len() - 1));
            if to_server.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    let back = async {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    };
    // Whoever ends first ends both.
    tokio::select! { () = there => {}, () = back => {} }
}
