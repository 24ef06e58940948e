//! A fake control plane, of which there is no more than what it says.

use super::Client;
use tls::Roots;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

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
