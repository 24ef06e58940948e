//! Accepting connections: how many, how slow they may be, and how they end.

mod connections;
mod files;
mod tls;
mod unread;

pub(crate) use tls::Tls;
pub use tls::{Shown, TlsError, TlsFiles};

use crate::app::App;
use crate::delivery::{Flushing, Unflushed};
use crate::metrics::Connected;
use crate::peer::{Peer, Remote};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use connections::{BusyBody, Connection, Connections, of_refusal};
use http::header::CONNECTION;
use http::{HeaderValue, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use unread::Unread;

/// How long to wait after the kernel refused to hand out a connection, as it does when this process
/// has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes after which a request's head is too large, and of a body that are read ahead. What comes with the last read may be as
/// much again.
const MAX_HEAD: usize = 64 << 10;

/// Serves `router` until `stop`, then lets requests under way finish within the grace period.
pub(crate) async fn serve(listener: TcpListener, router: Router, app: &App) {
    let (limits, stop) = (&app.limits, &app.stop);
    let connections = Connections::new(files::affordable(limits.connections), limits.requests_per_client);
    let graceful = GracefulShutdown::new();
    let mut http = hyper::server::conn::http1::Builder::new();
    // The implementation counts the time between two requests as part of the second one's head.
    http.timer(TokioTimer::new()).header_read_timeout(limits.keep_alive).max_buf_size(MAX_HEAD);
    loop {
        let accept = async {
            let accepted = listener.accept().await;
            (accepted, connections.place().await)
        };
        let (accepted, place) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(fault) => {
                tracing::warn!(error = %fault, "can't accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = place else { continue };
        let remote = Remote(peer.ip());
        let peer = Peer::of(remote.0);
        let connection = connections.join(peer, place);
        let counted = app.metrics.connection();
        let served = Served {
            router: router.clone(),
            from: (peer, remote),
            connection: Arc::clone(&connection),
            http: http.clone(),
            watcher: graceful.watcher(),
        };
        let stream = Unread::new(prepare(stream, limits.unread), limits.unread);
        let tls = app.tls.as_ref().map(Tls::acceptor);
        tokio::spawn(attend(served.serve(stream, tls), connection, counted, limits.first_head));
    }
    drop(listener);
    if tokio::time::timeout(limits.shutdown_grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way when the grace period ended: they were cut off");
    }
}

/// What a connection is served with.
struct Served {
    router: Router,
    from: (Peer, Remote),
    connection: Arc<Connection>,
    http: hyper::server::conn::http1::Builder,
    watcher: Watcher,
}

impl Served {
    /// Serves it, after it has been made safe if that is asked for.
    async fn serve(self, stream: Unread<TcpStream>, tls: Option<TlsAcceptor>) -> Result<(), Broken> {
        match tls {
            None => self.speak(stream).await?,
            Some(tls) => self.speak(tls.accept(stream).await?).await?,
        }
        Ok(())
    }

    async fn speak<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: T) -> hyper::Result<()> {
        let unflushed = Unflushed::default();
        let socket = TokioIo::new(Flushing::new(stream, unflushed.clone()));
        let service = service(self.router, self.from, self.connection, unflushed);
        self.watcher.watch(self.http.serve_connection(socket, service)).await
    }
}

/// A peer that breaks off or talks nonsense: its own affair.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("TLS: {0}")]
    Tls(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
}

/// Serves a connection until it ends, gives way, or has been silent for too long.
async fn attend(
    served: impl Future<Output = Result<(), Broken>>,
    connection: Arc<Connection>,
    _counted: Connected,
    first_head: Duration,
) {
    let silence = async {
        sleep(first_head).await;
        if !connection.is_silent() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = served => {
            if let Err(fault) = ended {
                tracing::trace!(error = %fault, "a connection ended badly");
            }
        }
        () = silence => tracing::trace!("a connection was silent for too long"),
        () = connection.gives_way() => tracing::debug!("a connection gave way to another"),
    }
}

fn prepare(stream: TcpStream, unread: Duration) -> TcpStream {
    // Whoever is gone without a word would hold a connection for ever.
    let unread = u32::try_from(unread.as_millis()).unwrap_or(u32::MAX);
    if let Err(fault) = rustix::net::sockopt::set_tcp_user_timeout(&stream, unread) {
        tracing::trace!(error = %fault, "can't set TCP_USER_TIMEOUT");
    }
    // Log lines and answers are small and must not wait for one another.
    if let Err(fault) = stream.set_nodelay(true) {
        tracing::trace!(error = %fault, "can't set TCP_NODELAY");
    }
    stream
}

fn service(
    router: Router,
    (peer, remote): (Peer, Remote),
    connection: Arc<Connection>,
    unflushed: Unflushed,
) -> impl HttpService<Incoming, ResBody = BusyBody, Error = Infallible, Future: Send> {
    service_fn(move |request: http::Request<Incoming>| {
        let busy = connection.begin();
        let mut request = without_trailing_slash(request.map(Body::new));
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(remote);
        request.extensions_mut().insert(unflushed.clone());
        let answer = router.clone().oneshot(request);
        async move {
            match busy {
                Some(busy) => Ok::<_, Infallible>(answer.await?.map(|body| busy.with(body))),
                None => Ok(too_busy()),
            }
        }
    })
}

/// The refusal of one request too many. The connection ends with it, unread body and all.
fn too_busy() -> http::Response<BusyBody> {
    let mut answer = http::Response::new(of_refusal("too many requests of this client at one time\n"));
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
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
