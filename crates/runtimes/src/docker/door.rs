//! A door to the engine for the programs of one job that run on this host: a socket at which they find an
//! engine that makes containers of the job's sandbox and nothing else.
//!
//! Whatever they ask for, a container gets the sandbox's labels, so that it goes when the sandbox does,
//! and the limits and rights of any step; and it sees no more of this host than the job's workspace.

mod behind;
mod container;
mod creations;
mod images;
mod passage;
mod rules;

use super::error::{EngineError, told};
use super::shared::Shared;
use ::images::RegistryCredentials;
use behind::Behind;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use images::Images;
use passage::{Passage, Tasks};
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// How many connections there may be at a time; more wait.
const CONNECTIONS: usize = 256;

type Body = BoxBody<Bytes, hyper::Error>;

/// An open door. It shuts when this is dropped, and every connection through it ends.
pub(super) struct Door {
    /// Its address as `DOCKER_HOST` has it.
    pub(super) address: String,
    behind: Arc<Behind>,
    serving: AbortOnDropHandle<()>,
}

/// Where a job's files are: as this host has them, and as the engine's has.
#[derive(Debug, Clone)]
pub(super) struct Workspace {
    pub(super) here: PathBuf,
    pub(super) as_mounted: String,
}

/// Why a call was not passed on or not answered.
enum Shut {
    Refused(String),
    NotFound(String),
    Broken(EngineError),
}

impl From<EngineError> for Shut {
    fn from(error: EngineError) -> Self {
        Self::Broken(error)
    }
}

impl Door {
    /// Opens one at `socket`, whose directory nobody else may enter.
    pub(super) fn open(
        socket: &Path,
        shared: &Arc<Shared>,
        credentials: RegistryCredentials,
        ours: Map<String, Value>,
        workspace: Workspace,
    ) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
        let passage = Passage(shared.client.endpoint().clone());
        let images = Images::new(Arc::clone(shared), credentials);
        let behind = Arc::new(Behind::new(passage, images, ours, workspace));
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(listener, Arc::clone(&behind))));
        Ok(Self { address: format!("unix://{}", socket.display()), behind, serving })
    }

    /// Shuts it, and waits until the engine has made what it was asked for: only then does it list all of that.
    pub(super) async fn shut(self, limit: Duration) -> Result<(), EngineError> {
        drop(self.serving);
        self.behind.finish(limit).await
    }
}

async fn serve(listener: UnixListener, behind: Arc<Behind>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(stream, Arc::clone(&behind)))),
                Err(fault) => {
                    tracing::warn!(%fault, "a door to the engine is shut");
                    return;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: UnixStream, behind: Arc<Behind>) {
    let tasks = Tasks::default();
    let (behind, beside) = (&behind, &tasks);
    let service = service_fn(move |request| async move {
        let path = request.uri().path().to_owned();
        let answer = behind.pass(request, beside).await;
        Ok::<_, Infallible>(answer.unwrap_or_else(|shut| {
            let answer = shut.answer();
            tracing::debug!(
                path,
                status = answer.status().as_u16(),
                "a call through the door to the engine failed"
            );
            answer
        }))
    });
    let serving = server::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    if let Err(fault) = serving.await {
        tracing::debug!(%fault, "a connection through the door to the engine broke");
    }
    // A connection that was taken over goes on there.
    let mut left = std::mem::take(&mut *tasks.lock().unwrap_or_else(PoisonError::into_inner));
    while left.join_next().await.is_some() {}
}

impl Shut {
    /// As the engine itself would say it.
    fn answer(self) -> Response<Body> {
        let (status, message) = match self {
            Self::Refused(why) => (StatusCode::FORBIDDEN, format!("refused by the executor: {why}")),
            Self::NotFound(why) => (StatusCode::NOT_FOUND, why),
            Self::Broken(error) => (StatusCode::BAD_GATEWAY, told(&error)),
        };
        let mut answer = Response::new(whole(json!({ "message": message }).to_string().into()));
        *answer.status_mut() = status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}
