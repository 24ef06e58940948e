//! The way from a door to the engine and back.

use super::{Body, Shut};
use crate::docker::client::broken;
use crate::docker::endpoint::Endpoint;
use http_body_util::BodyExt;
use hyper::client::conn::http1 as client;
use hyper::header::{HOST, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::copy_bidirectional;
use tokio::task::JoinSet;

/// What the engine calls itself in requests.
const ENGINE: HeaderValue = HeaderValue::from_static("engine");

/// What serves one connection besides: it ends with it.
pub(super) type Tasks = Arc<Mutex<JoinSet<()>>>;

/// Leads to the engine.
#[derive(Clone)]
pub(super) struct Passage(pub(super) Endpoint);

impl Passage {
    /// Has the engine answer.
    pub(super) async fn forward(
        &self,
        mut request: Request<Body>,
        tasks: &Tasks,
    ) -> Result<Response<Body>, Shut> {
        let what = "answer a job's program";
        let stream = TokioIo::new(self.0.connect().await?);
        let (mut sender, connection) = client::handshake(stream).await.map_err(broken(what))?;
        spawn(tasks, async move {
            if let Err(fault) = connection.with_upgrades().await {
                tracing::debug!(%fault, "the engine broke a connection");
            }
        });
        let theirs = hyper::upgrade::on(&mut request);
        request.headers_mut().insert(HOST, ENGINE);
        let mut answer = sender.send_request(request).await.map_err(broken(what))?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let ours = hyper::upgrade::on(&mut answer);
            spawn(tasks, take_over(theirs, ours));
        }
        Ok(answer.map(BodyExt::boxed))
    }
}

/// Passes on what both sides say once they speak something else than HTTP: a container's streams.
async fn take_over(theirs: OnUpgrade, ours: OnUpgrade) {
    let (theirs, ours) = match tokio::try_join!(theirs, ours) {
        Ok(both) => both,
        Err(fault) => return tracing::debug!(%fault, "a container's streams could not be passed on"),
    };
    if let Err(fault) = copy_bidirectional(&mut TokioIo::new(theirs), &mut TokioIo::new(ours)).await {
        tracing::debug!(%fault, "a container's streams broke");
    }
}

fn spawn(tasks: &Tasks, task: impl Future<Output = ()> + Send + 'static) {
    let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
    while tasks.try_join_next().is_some() {}
    tasks.spawn(task);
}
