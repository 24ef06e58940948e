//! What becomes of a call that came through a door.

use super::container::{Confined, check_again, confine};
use super::images::Images;
use super::passage::{Passage, Tasks};
use super::rules::{Verdict, judge, query};
use super::{Body, Shut, Workspace, whole};
use crate::RuntimeError;
use crate::docker::error::EngineError;
use crate::docker::percent_encoded;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::http::response::Parts;
use hyper::{Request, Response, Uri};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Bytes of a container's description, and of the answer to it.
const LONGEST_DESCRIPTION: usize = 4 << 20;
/// How many containers a job's programs may make. Each name and id of them is remembered.
const MOST_CONTAINERS: usize = 10_000;
const MAKE: &str = "create a container";

/// What all connections through a door share.
pub(super) struct Behind {
    pub(super) passage: Passage,
    pub(super) images: Images,
    /// What every container is made with, in the engine's words.
    pub(super) ours: Map<String, Value>,
    pub(super) workspace: Workspace,
    /// The containers that were made here, by their ids and names.
    made: Mutex<BTreeMap<String, Made>>,
    /// Those that the engine is making; none are made any more once this is gone.
    making: Mutex<Option<JoinSet<()>>>,
}

/// A container that was made here.
#[derive(Debug, Clone)]
pub(super) struct Made {
    id: String,
    /// What of this host it sees.
    sources: Arc<[PathBuf]>,
}

impl Behind {
    pub(super) fn new(
        passage: Passage,
        images: Images,
        ours: Map<String, Value>,
        workspace: Workspace,
    ) -> Self {
        let making = Mutex::new(Some(JoinSet::new()));
        Self { passage, images, ours, workspace, made: Mutex::default(), making }
    }

    /// Has no more containers made, and waits until none is being made.
    pub(super) async fn finish(&self, limit: Duration) -> Result<(), EngineError> {
        let Some(mut making) = self.making().take() else { return Ok(()) };
        let all = async { while making.join_next().await.is_some() {} };
        let late = |_| EngineError::Late { what: MAKE, limit };
        timeout(limit, all).await.map_err(late)
    }

    pub(super) async fn pass(
        &self,
        request: Request<Incoming>,
        tasks: &Tasks,
    ) -> Result<Response<Body>, Shut> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        match judge(&method, &path) {
            Verdict::Pass => self.passage.forward(plain(request.map(BodyExt::boxed)), tasks).await,
            Verdict::Pull => self.pull(request.uri()).await,
            Verdict::Inspect(name) => self.inspect(name, request, tasks).await,
            Verdict::Create => self.create(request).await,
            Verdict::About(name, what) => self.ask(name, what, request, tasks).await,
            Verdict::Refuse => {
                Err(Shut::Refused(format!("a job may not ask the engine for {method} {path}")))
            }
        }
    }

    /// Has an image ready by the rules for those of steps, whatever credentials the call brings.
    async fn pull(&self, uri: &Uri) -> Result<Response<Body>, Shut> {
        let asked = query(uri.query(), ["fromImage", "tag", "platform"]).map_err(Shut::Refused)?;
        let [image, tag, platform] = asked.map(Option::unwrap_or_default);
        if image.is_empty() || !platform.is_empty() {
            return Err(Shut::Refused("an image is pulled by its name, for this host's platform".to_owned()));
        }
        let image = match tag.as_str() {
            "" => image,
            digest if digest.contains(':') => format!("{image}@{digest}"),
            tag => format!("{image}:{tag}"),
        };
        self.images.resolve(&image).await.map_err(|error| of_image(&error))?;
        let line = format!("{}\n", json!({ "status": format!("Status: {image} is there") }));
        let mut answer = Response::new(whole(line.into()));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(answer)
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
        self.passage.forward(plain(request.map(BodyExt::boxed)), tasks).await
    }

    /// Makes a container as one of the sandbox.
    async fn create(&self, request: Request<Incoming>) -> Result<Response<Body>, Shut> {
        let (mut head, body) = request.into_parts();
        let [name, platform] = query(head.uri.query(), ["name", "platform"]).map_err(Shut::Refused)?;
        let described = read(body).await.map_err(|source| Shut::Refused(source.to_string()))?;
        let asked = serde_json::from_slice(&described).map_err(|fault| Shut::Refused(fault.to_string()))?;
        let Confined { mut description, sources } =
            confine(asked, &self.ours, &self.workspace).map_err(Shut::Refused)?;
        let image = description.get("Image").and_then(Value::as_str).unwrap_or_default();
        let image = self.images.resolve(image).await.map_err(|error| of_image(&error))?;
        description.insert("Image".to_owned(), image.into());
        let described = Bytes::from(Value::Object(description).to_string());
        head.headers.remove(TRANSFER_ENCODING);
        head.headers.insert(CONTENT_LENGTH, described.len().into());
        let of = |key: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("{key}={}", percent_encoded(value)))
        };
        let parts: Vec<String> = of("name", &name).into_iter().chain(of("platform", &platform)).collect();
        head.uri = with_path(&format!("{}?{}", head.uri.path(), parts.join("&")))?;
        if self.made().len() >= MOST_CONTAINERS {
            return Err(Shut::Refused(format!("a job may make no more than {MOST_CONTAINERS} containers")));
        }

        let request = plain(Request::from_parts(head, whole(described)));
        let (mut head, said) = self.make(request).await?;
        let created = serde_json::from_slice::<Value>(&said).unwrap_or_default();
        if let Some(id) = created["Id"].as_str().filter(|_| head.status.is_success()) {
            let container = Made { id: id.to_owned(), sources: sources.into() };
            let mut made = self.made();
            // A name may be spelled as somebody's id: what it means here is this container.
            name.filter(|name| !name.is_empty()).map(|name| made.entry(name).or_insert(container.clone()));
            made.insert(id.to_owned(), container);
        }
        head.headers.remove(TRANSFER_ENCODING);
        Ok(Response::from_parts(head, whole(said)))
    }

    /// Has the engine make a container, to the end even if nobody waits for that any more: it goes on as well, and
    /// lists a container only once it has made it.
    async fn make(&self, request: Request<Body>) -> Result<(Parts, Bytes), Shut> {
        let over = || Shut::Refused("the job is over".to_owned());
        let passage = self.passage.clone();
        let (tell, told) = oneshot::channel();
        {
            let mut making = self.making();
            let making = making.as_mut().ok_or_else(over)?;
            while making.try_join_next().is_some() {}
            making.spawn(async move {
                // Nobody may be there to be told.
                let _ = tell.send(ask_to_make(&passage, request).await);
            });
        }
        told.await.unwrap_or_else(|_| Err(over()))
    }

    /// Asks about a container that was made here.
    async fn ask(
        &self,
        name: &str,
        what: &str,
        mut request: Request<Incoming>,
        tasks: &Tasks,
    ) -> Result<Response<Body>, Shut> {
        let none = || Shut::NotFound(format!("No such container: {name}"));
        let Made { id, sources } = self.made().get(name).cloned().ok_or_else(none)?;
        if what == "start" {
            check_again(&sources).map_err(Shut::Refused)?;
        }
        let version = request.uri().path().split("containers/").next().unwrap_or_default();
        let parts: Vec<&str> = [id.as_str(), what].into_iter().filter(|part| !part.is_empty()).collect();
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        *request.uri_mut() = with_path(&format!("{version}containers/{}{query}", parts.join("/")))?;
        let request = request.map(BodyExt::boxed);
        // Only a container's streams take a connection over.
        let request = if what == "attach" { request } else { plain(request) };
        self.passage.forward(request, tasks).await
    }

    fn made(&self) -> MutexGuard<'_, BTreeMap<String, Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn making(&self) -> MutexGuard<'_, Option<JoinSet<()>>> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask_to_make(passage: &Passage, request: Request<Body>) -> Result<(Parts, Bytes), Shut> {
    let tasks = Tasks::default();
    let (head, body) = passage.forward(request, &tasks).await?.into_parts();
    let said = read(body).await.map_err(|source| EngineError::Broken { what: MAKE, source })?;
    Ok((head, said))
}

/// A request that the engine can only answer.
fn plain(mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().remove(UPGRADE);
    request.headers_mut().remove(CONNECTION);
    request
}

fn with_path(path: &str) -> Result<Uri, Shut> {
    path.parse().map_err(|_| Shut::Refused(format!("{path:?} is no address")))
}

/// As the engine says it of an image that is not there: its client pulls that then.
fn of_image(error: &RuntimeError) -> Shut {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    Shut::NotFound(format!("{error}{source}"))
}

async fn read<B>(body: B) -> Result<Bytes, Box<dyn Error + Send + Sync>>
where
    B: hyper::body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    Ok(Limited::new(body, LONGEST_DESCRIPTION).collect().await?.to_bytes())
}
