//! What becomes of a call that came through a door.

use super::container::{Confined, check_again, confine};
use super::creations::{Creations, Made, Most, read};
use super::images::Images;
use super::passage::{Passage, Tasks};
use super::rules::{Verdict, judge, query};
use super::{Body, Shut, Workspace, whole};
use crate::RuntimeError;
use crate::docker::error::EngineError;
use crate::docker::percent_encoded;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::{Request, Response, Uri};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// How long the rest of a call may stand still that is refused whatever it says, and how long all of it may take.
const SILENT: Duration = Duration::from_secs(5);
const HEARD_OUT: Duration = Duration::from_mins(1);

/// What all connections through a door share.
pub(super) struct Behind {
    pub(super) passage: Passage,
    pub(super) images: Images,
    /// What every container is made with, in the engine's words.
    pub(super) ours: Map<String, Value>,
    pub(super) workspace: Workspace,
    creations: Creations,
}

impl Behind {
    pub(super) fn new(
        passage: Passage,
        images: Images,
        ours: Map<String, Value>,
        workspace: Workspace,
    ) -> Self {
        let creations = Creations::new(passage.clone(), Most::default());
        Self { passage, images, ours, workspace, creations }
    }

    /// Has no more containers made, and waits until none is being made.
    pub(super) async fn finish(&self, limit: Duration) -> Result<(), EngineError> {
        self.creations.finish(limit).await
    }

    pub(super) async fn pass(
        &self,
        request: Request<Incoming>,
        tasks: &Tasks,
    ) -> Result<Response<Body>, Shut> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        match judge(&method, &path) {
            Verdict::Pass => self.passage.forward(plain(request.map(BodyExt::boxed)), tasks).await,
            Verdict::Pull => {
                let (head, body) = request.into_parts();
                // A pull has none; what is imported has.
                hear_out(body).await;
                self.pull(&head.uri).await
            }
            Verdict::Inspect(name) => self.inspect(name, request, tasks).await,
            Verdict::Create => self.create(request).await,
            Verdict::About(name, what) => self.ask(name, what, request, tasks).await,
            Verdict::Refuse => {
                hear_out(request.into_body()).await;
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
        let (mut head, mut body) = request.into_parts();
        let described = match read(&mut body).await {
            Ok(described) => described,
            Err(source) => {
                hear_out(body).await;
                return Err(Shut::Refused(source.to_string()));
            }
        };
        let [name, platform] = query(head.uri.query(), ["name", "platform"]).map_err(Shut::Refused)?;
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
        let request = plain(Request::from_parts(head, whole(described)));
        let (mut head, said) = self.creations.make(request, name, sources).await?;
        head.headers.remove(TRANSFER_ENCODING);
        Ok(Response::from_parts(head, whole(said)))
    }

    /// Asks about a container that was made here.
    async fn ask(
        &self,
        name: &str,
        what: &str,
        mut request: Request<Incoming>,
        tasks: &Tasks,
    ) -> Result<Response<Body>, Shut> {
        let Some(Made { id, sources }) = self.creations.find(name) else {
            hear_out(request.into_body()).await;
            return Err(Shut::NotFound(format!("No such container: {name}")));
        };
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
}

/// Reads what is still being sent: whoever sends it would hear of a broken connection, and not of what is answered.
async fn hear_out(mut body: Incoming) {
    let rest = async { while let Ok(Some(Ok(_))) = timeout(SILENT, body.frame()).await {} };
    let _ = timeout(HEARD_OUT, rest).await;
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
