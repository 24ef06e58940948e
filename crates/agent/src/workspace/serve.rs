//! A small HTTP server whose connections end with it.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::debug;

/// The body of an answer.
pub(super) type ProxyBody = UnsyncBoxBody<Bytes, io::Error>;
/// The pause after an error such as "too many open files".
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// More than git ever opens.
const MAX_CONNECTIONS: usize = 64;

/// Serves until it is dropped, and then drops every connection.
pub(super) async fn serve<F, A>(listener: TcpListener, answer: F)
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<ProxyBody>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(fault) => {
                debug!(%fault, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let answer = answer.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let response = answer(request);
                async move { Ok::<_, Infallible>(response.await) }
            });
            if let Err(fault) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                debug!(%fault, "a git connection broke");
            }
        });
    }
}
