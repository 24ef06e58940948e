//! A fake control plane, of which there is no more than what it says.

use super::Client;
use server::api::{Problem, RESULT_ELSEWHERE};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tls::Roots;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// What servers behind a balancer say: of status, code and text.
type Says = (u16, &'static str, &'static str);
/// Another one has it.
pub(crate) const ELSEWHERE: Says = (503, RESULT_ELSEWHERE, "it is not here");
/// There is none.
pub(crate) const NOBODY: Says = (0, "", "");
/// It can't be asked now.
pub(crate) const BUSY: Says = (503, "busy", "ask again");
/// What it should have is not there any more.
pub(crate) const GONE: Says = (404, "result_gone", "it is gone");
/// This one has it.
pub(crate) const FOUND: Says = (200, "", "7");

/// Servers behind a balancer that gives each connection to the next one, and keeps it open; until they are dropped.
pub(crate) struct FakeServers {
    /// A client of them.
    pub(crate) client: Client,
    met: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl FakeServers {
    /// Those that say this, the last of which meets all further connections.
    pub(crate) async fn behind_a_balancer(say: &[Says]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let answers: Vec<Option<String>> = say.iter().map(|says| answer(*says)).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let met = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&met);
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let number = counted.fetch_add(1, Ordering::Relaxed);
                let Some(answer) = answers[number.min(answers.len() - 1)].clone() else { continue };
                tokio::spawn(async move {
                    while stream.read(&mut [0; 4 << 10]).await.is_ok_and(|read| read > 0) {
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        let client = Client::new(base, "token".into(), &Roots::default()).unwrap();
        Self { client, met, task: task.abort_handle() }
    }

    /// How many connections there were.
    pub(crate) fn met(&self) -> usize {
        self.met.load(Ordering::Relaxed)
    }
}

impl Drop for FakeServers {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `None` for one that hangs up.
fn answer((status, code, text): Says) -> Option<String> {
    let (code, text) = (code.to_owned(), text.to_owned());
    let body = match status {
        0 => return None,
        200 => text,
        _ => {
            let problem = Problem { code, status, title: String::new(), detail: text, jobs: Vec::new() };
            serde_json::to_string(&problem).unwrap()
        }
    };
    Some(format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// Says the same to whoever connects, whatever that asks, and hangs up; until it is dropped.
pub(crate) struct FakeServer {
    /// A client of it.
    pub(crate) client: Client,
    task: AbortHandle,
}

impl FakeServer {
    /// One that `says` this over plain HTTP, to a client that uses `scheme`.
    pub(crate) async fn that_says(says: impl Into<Vec<u8>>, scheme: &str) -> Self {
        let says = says.into();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("{scheme}://{}", listener.local_addr().unwrap()).parse().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert_ne!(stream.read(&mut [0; 4 << 10]).await.unwrap(), 0);
                stream.write_all(&says).await.unwrap();
            }
        });
        let client = Client::new(base, "token".into(), &Roots::default()).unwrap();
        Self { client, task: task.abort_handle() }
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
