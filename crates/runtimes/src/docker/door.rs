//! A door to the engine for the programs of one job that run on this host: a socket at which they find an
//! engine that makes containers of the job's sandbox and nothing else.
//!
//! Whatever they ask for, a container gets the sandbox's labels, so that it goes when the sandbox does,
//! and the limits and rights of any step; and it sees no more of this host than the job's workspace.

mod images;
mod rules;

use super::client::broken;
use super::endpoint::Endpoint;
use super::error::{EngineError, told};
use super::shared::Shared;
use crate::RuntimeError;
use ::images::RegistryCredentials;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use images::Images;
use rules::{Verdict, confine, judge};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// How many connections there may be at a time; more wait.
const CONNECTIONS: usize = 256;
/// Bytes of a container's description, and of the answer to it.
const LONGEST_DESCRIPTION: usize = 4 << 20;
/// What the engine calls itself in requests.
const ENGINE: HeaderValue = HeaderValue::from_static("engine");

type Body = BoxBody<Bytes, hyper::Error>;

/// An open door. It shuts when this is dropped, and every connection through it ends.
#[derive(Debug)]
pub(super) struct Door {
    /// Its address as `DOCKER_HOST` has it.
    pub(super) address: String,
    _serving: AbortOnDropHandle<()>,
}

/// Where a job's files are: as this host has them, and as the engine's has.
#[derive(Debug, Clone)]
pub(super) struct Workspace {
    pub(super) here: PathBuf,
    pub(super) as_mounted: String,
}

/// What all connections through a door share.
struct Behind {
    endpoint: Endpoint,
    images: Images,
    /// What every container is made with, in the engine's words.
    ours: Map<String, Value>,
    workspace: Workspace,
    /// The containers that were made here, by their ids and names.
    made: Mutex<BTreeSet<String>>,
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
        let endpoint = shared.client.endpoint().clone();
        let images = Images::new(Arc::clone(shared), credentials);
        let behind = Arc::new(Behind { endpoint, images, ours, workspace, made: Mutex::default() });
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(listener, behind)));
        Ok(Self { address: format!("unix://{}", socket.display()), _serving: serving })
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

/// What serves one connection besides: it ends with it.
type Tasks = Arc<Mutex<JoinSet<()>>>;

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

impl Behind {
    async fn pass(&self, request: Request<Incoming>, tasks: &Tasks) -> Result<Response<Body>, Shut> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        match judge(&method, &path) {
            Verdict::Pass => self.forward(request.map(BodyExt::boxed), tasks).await,
            Verdict::Inspect(name) => self.inspect(name, request, tasks).await,
            Verdict::Create => self.create(request, tasks).await,
            Verdict::About(id) if self.has_made(id) => self.forward(request.map(BodyExt::boxed), tasks).await,
            Verdict::About(id) => Err(Shut::NotFound(format!("No such container: {id}"))),
            Verdict::Refuse => {
                Err(Shut::Refused(format!("a job may not ask the engine for {method} {path}")))
            }
        }
    }

    /// Tells of an image, if the job may use it.
    async fn inspect(
        &self,
        name: &str,
        mut request: Request<Incoming>,
        tasks: &Tasks,
    ) -> Result<Response<Body>, Shut> {
        let none = || Shut::NotFound(format!("No such image: {name}"));
        let id = self.images.find(name).await.map_err(|error| of_image(&error))?.ok_or_else(none)?;
        *request.uri_mut() = format!("/images/{id}/json").parse().map_err(|_| none())?;
        self.forward(request.map(BodyExt::boxed), tasks).await
    }

    /// Makes a container as one of the sandbox.
    async fn create(&self, request: Request<Incoming>, tasks: &Tasks) -> Result<Response<Body>, Shut> {
        let (mut head, body) = request.into_parts();
        let described = read(body).await.map_err(|source| Shut::Refused(source.to_string()))?;
        let mut container: Map<String, Value> =
            serde_json::from_slice(&described).map_err(|fault| Shut::Refused(fault.to_string()))?;
        confine(&mut container, &self.ours, &self.workspace).map_err(Shut::Refused)?;
        let image = container.get("Image").and_then(Value::as_str).unwrap_or_default();
        let image = self.images.resolve(image).await.map_err(|error| of_image(&error))?;
        container.insert("Image".to_owned(), image.into());
        let described = Bytes::from(Value::Object(container).to_string());
        head.headers.remove(TRANSFER_ENCODING);
        head.headers.insert(CONTENT_LENGTH, described.len().into());
        let name = head.uri.query().and_then(name_in).map(str::to_owned);

        let (mut head, body) =
            self.forward(Request::from_parts(head, whole(described)), tasks).await?.into_parts();
        let what = "create a container";
        let said = read(body).await.map_err(|source| EngineError::Broken { what, source })?;
        let created = serde_json::from_slice::<Value>(&said).unwrap_or_default();
        if let Some(id) = created["Id"].as_str().filter(|_| head.status.is_success()) {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            made.extend([id.to_owned()].into_iter().chain(name));
        }
        head.headers.remove(TRANSFER_ENCODING);
        Ok(Response::from_parts(head, whole(said)))
    }

    fn has_made(&self, id: &str) -> bool {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Has the engine answer.
    async fn forward(&self, mut request: Request<Body>, tasks: &Tasks) -> Result<Response<Body>, Shut> {
        let what = "answer a job's program";
        let stream = TokioIo::new(self.endpoint.connect().await?);
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

/// As the engine says it of an image that is not there: its client pulls that then.
fn of_image(error: &RuntimeError) -> Shut {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    Shut::NotFound(format!("{error}{source}"))
}

/// The `name` among a call's parameters.
fn name_in(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("name="))
}

async fn read<B>(body: B) -> Result<Bytes, Box<dyn Error + Send + Sync>>
where
    B: hyper::body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    Ok(Limited::new(body, LONGEST_DESCRIPTION).collect().await?.to_bytes())
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
