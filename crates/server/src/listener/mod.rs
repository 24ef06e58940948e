//! Accepting connections: how many, how slow they may be, and how they end.

use crate::config::Limits;
use crate::delivery::{Flushing, Unflushed};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use http::Uri;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long to wait after the kernel refused to hand out a connection, as it does when this process
/// has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `stop`, then lets requests under way finish within the grace period.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: &Limits, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let connections = GracefulShutdown::new();
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_read);
    loop {
        let accept = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(fault) => {
                tracing::warn!(error = %fault, "can't accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let unflushed = Unflushed::default();
        let socket = TokioIo::new(Flushing::new(prepare(stream), unflushed.clone()));
        let connection = connections.watch(http.serve_connection(socket, service(router.clone(), unflushed)));
        tokio::spawn(async move {
            // A peer that breaks off or talks nonsense is its own affair.
            if let Err(fault) = connection.await {
                tracing::trace!(error = %fault, "a connection ended badly");
            }
            drop(slot);
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.shutdown_grace, connections.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way when the grace period ended: they were cut off");
    }
}

fn prepare(stream: TcpStream) -> TcpStream {
    // Log lines and answers are small and must not wait for one another.
    if let Err(fault) = stream.set_nodelay(true) {
        tracing::trace!(error = %fault, "can't set TCP_NODELAY");
    }
    stream
}

fn service(
    router: Router,
    unflushed: Unflushed,
) -> TowerToHyperService<
    impl tower::Service<
        http::Request<hyper::body::Incoming>,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send,
    > + Clone,
> {
    let router = router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(unflushed.clone());
        without_trailing_slash(request.map(Body::new))
    });
    TowerToHyperService::new(router)
}

/// Stock peers may end a path with a slash; to the router that is another path.
fn without_trailing_slash(mut request: Request) -> Request {
    let path = request.uri().path();
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() || trimmed.len() == path.len() {
        return request;
    }
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(uri) = format!("{trimmed}{query}").parse::<Uri>() {
        *request.uri_mut() = uri;
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_slash_at_the_end_goes() {
        for (given, kept) in [
            ("/.executors/test/auth/", "/.executors/test/auth"),
            ("/a//?x=1/", "/a?x=1/"),
            ("/a/b", "/a/b"),
            ("/", "/"),
        ] {
            let request = Request::builder().uri(given).body(Body::empty()).unwrap();
            assert_eq!(without_trailing_slash(request).uri().to_string(), kept);
        }
    }
}
