//! Answers questions about health, and tells the metrics, on an address of its own.
//!
//! Whoever can reach the address may ask: nothing here is secret, nothing can be changed, and one who
//! asks slowly or often costs no more than the limits below.

use super::silent::{Place, Silent};
use crate::config::AgentConfig;
use crate::error::{AgentError, chain};
use crate::metrics::CONTENT_TYPE as METRICS;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

/// Connections at a time. For another one the oldest leaves that has not asked; when all have, it waits, for
/// no longer than [`LIMIT`].
const MOST_CONNECTIONS: usize = 64;
/// How long a connection may take as a whole: it is for one question.
const LIMIT: Duration = Duration::from_secs(10);
/// How long the head of the question may take.
const HEAD: Duration = Duration::from_secs(5);
/// How much of it is read.
const MOST_HEAD: usize = 8 << 10;
/// How long to wait after the kernel refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const TEXT: &str = "text/plain; charset=utf-8";

/// Listens on the address of the configuration, if there is one, until the result is dropped.
pub(crate) async fn listen(config: &Arc<AgentConfig>) -> Result<Option<AbortOnDropHandle<()>>, AgentError> {
    let Some(address) = config.health else { return Ok(None) };
    let listener = bind(address).await.map_err(|fault| match fault.kind() {
        io::ErrorKind::AddrInUse => AgentError::HealthAddressTaken { address },
        _ => AgentError::io(format!("listen on {address}, where health and metrics are to be told"))(fault),
    })?;
    if let Ok(address) = listener.local_addr() {
        info!(%address, "health and metrics are told");
        config.monitor.listens(address);
    }
    Ok(Some(AbortOnDropHandle::new(tokio::spawn(serve(listener, Arc::clone(config))))))
}

/// A host without IPv6 has no address that means all of both kinds.
async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        // Half of an address that is taken would be asked in vain by those who use the other half.
        Err(fault)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && fault.kind() != io::ErrorKind::AddrInUse =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await.map_err(|_| fault)
        }
        bound => bound,
    }
}

async fn serve(listener: TcpListener, config: Arc<AgentConfig>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let silent = Arc::new(Silent::default());
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(fault) => {
                warn!(error = chain(&fault), "can't accept a question about health");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if places.available_permits() == 0 {
            silent.send_one_away();
        }
        // It is never closed.
        let Ok(permit) = Arc::clone(&places).acquire_owned().await else { return };
        tokio::spawn(attend(stream, Arc::clone(&config), silent.join(), permit));
    }
}

async fn attend(stream: TcpStream, config: Arc<AgentConfig>, place: Place, _permit: OwnedSemaphorePermit) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MOST_HEAD).keep_alive(false);
    let service = service_fn(|request| {
        place.has_asked();
        let config = Arc::clone(&config);
        async move { Ok::<_, Infallible>(answer(&request, &config).await) }
    });
    // Whoever breaks off or asks too slowly is not answered.
    tokio::select! {
        ended = timeout(LIMIT, http.serve_connection(TokioIo::new(stream), service)) => {
            if let Ok(Err(fault)) = ended {
                debug!(error = chain(&fault), "a question about health ended badly");
            }
        }
        () = place.gives_way() => debug!("who had not asked about health gave way to another"),
    }
}

async fn answer(request: &Request<Incoming>, config: &Arc<AgentConfig>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n".to_owned());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return refusal;
    }
    let health = config.monitor.health();
    match request.uri().path() {
        "/healthz" => match health.dead() {
            None => text(StatusCode::OK, "ok\n".to_owned()),
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        // The older name stands in manifests.
        "/readyz" | "/ready" => match health.not_ready(config.heartbeat_interval).as_slice() {
            [] => text(StatusCode::OK, "ok\n".to_owned()),
            why => text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", why.join("\n"))),
        },
        "/metrics" => metrics(Arc::clone(config)).await,
        _ => text(StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n".to_owned()),
    }
}

/// Our own; those of exporters can be had from them.
async fn metrics(config: Arc<AgentConfig>) -> Response<Full<Bytes>> {
    // It looks at files of the system.
    match tokio::task::spawn_blocking(move || config.monitor.own_metrics(&config)).await {
        Ok(all) => with_type(StatusCode::OK, all, METRICS),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be told\n".to_owned()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    with_type(status, body, TEXT)
}

fn with_type(status: StatusCode, body: String, content_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    async fn taken(by: SocketAddr, wanted: impl Into<std::net::IpAddr>) -> bool {
        let Ok(other) = TcpListener::bind(by).await else {
            testkit::missing_part("an_address_that_is_taken_is_not_had_by_halves", "IPv6");
            return true;
        };
        let port = other.local_addr().unwrap().port();
        bind(SocketAddr::new(wanted.into(), port))
            .await
            .is_err_and(|fault| fault.kind() == io::ErrorKind::AddrInUse)
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_not_had_by_halves() {
        for by in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            assert!(taken(by.parse().unwrap(), Ipv6Addr::UNSPECIFIED).await, "{by}");
        }
        assert!(taken("0.0.0.0:0".parse().unwrap(), Ipv4Addr::LOCALHOST).await);
    }
}
