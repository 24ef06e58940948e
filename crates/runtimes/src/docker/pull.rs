//! An image in the engine's own store, pulled when it is not there, and pinned: what was a name before
//! is an id from here on, which nobody can move.

use super::client::{Ask, Client};
use super::error::{EngineError, told};
use super::percent_encoded;
use super::progress::{Event, Reporter};
use super::refusal::{self, Said};
use crate::RuntimeError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use images::{Progress, Reference, RegistryCredentials};
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::time::{Duration, Instant};

const DOCKER_HUB: &str = "docker.io";
/// How long the engine may say nothing during a pull.
const SILENCE_LIMIT: Duration = Duration::from_mins(5);
/// Bytes of one message during a pull.
const LONGEST_MESSAGE: usize = 256 << 10;

/// Where images come from.
pub(super) struct Source<'a> {
    pub(super) client: &'a Client,
    pub(super) mirrors: &'a [String],
    pub(super) credentials: &'a RegistryCredentials,
}

impl Source<'_> {
    /// The id of the image that `name` means now.
    pub(super) async fn resolve(&self, name: &str, progress: &dyn Progress) -> Result<String, RuntimeError> {
        let reference: Reference = name.parse()?;
        let places = places(&reference, self.mirrors);
        for place in &places {
            if let Some(id) = self.find(&place.name()).await? {
                return Ok(id);
            }
        }
        let (last, mirrors) =
            places.split_last().ok_or_else(|| RuntimeError::Host("no registry".to_owned()))?;
        for mirror in mirrors {
            match self.pull(mirror, &reference, progress).await {
                Ok(id) => return Ok(id),
                Err(error) => progress.line(&format!("mirror {}: {}", mirror.registry, told(&error))),
            }
        }
        self.pull(last, &reference, progress).await
    }

    async fn find(&self, name: &str) -> Result<Option<String>, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Inspected {
            id: String,
        }
        // A reference has nothing in it that a path could take for something else.
        let ask = Ask::get(format!("/images/{name}/json"), "look for an image");
        match self.client.read::<Inspected>(ask).await {
            Ok(image) => Ok(Some(image.id)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn pull(
        &self,
        place: &Place<'_>,
        reference: &Reference,
        progress: &dyn Progress,
    ) -> Result<String, RuntimeError> {
        const WHAT: &str = "pull an image";
        let refused = |said: Said| RuntimeError::from(refusal::judge(reference, &place.registry, said));
        let from = percent_encoded(&format!("{}/{}", place.registry, place.repository));
        let path = format!("/images/create?fromImage={from}&tag={}", percent_encoded(place.version));
        let mut ask = Ask::post(path, WHAT).without_limit();
        if let Some(auth) = self.authorisation(place).await {
            ask = ask.registry_auth(auth);
        }
        progress.line(&format!("pulling {}", place.name()));
        let begun = Instant::now();
        let mut messages = match self.client.begin(ask).await {
            Ok(response) => Messages { body: response.into_body(), buffer: Vec::new() },
            Err(EngineError::Refused { status, said, .. }) => {
                return Err(refused(Said { status: Some(status), text: said }));
            }
            Err(error) => return Err(error.into()),
        };
        let (mut reporter, mut digest) = (Reporter::new(begun), None);
        while let Some(message) = messages.next().await? {
            if let Some(text) = message.error {
                return Err(refused(Said { status: None, text }));
            }
            if let Some(pulled) = message.status.strip_prefix("Digest: ") {
                digest = Some(pulled.trim().to_owned());
            }
            if let Some(line) = reporter.hear(&message.into(), Instant::now()) {
                progress.line(&line);
            }
        }
        // By digest, since the tag may point elsewhere already.
        let pinned =
            digest.as_ref().map(|digest| format!("{}/{}@{digest}", place.registry, place.repository));
        let name = pinned.unwrap_or_else(|| place.name());
        let id = match self.find(&name).await? {
            Some(id) => id,
            None => self.find(&place.name()).await?.ok_or_else(|| {
                RuntimeError::Host(format!(
                    "the container engine pulled image {reference} and does not have it"
                ))
            })?,
        };
        let version = digest.as_deref().unwrap_or(&id);
        progress.line(&format!("pulled {} as {version} in {:.1?}", place.name(), begun.elapsed()));
        Ok(id)
    }

    /// What the engine shall tell the registry, for `X-Registry-Auth`.
    async fn authorisation(&self, place: &Place<'_>) -> Option<HeaderValue> {
        let login = self.credentials.login_at(&place.registry, place.repository).await;
        let login = login.unwrap_or_else(|error| {
            // The engine tells what comes of it, if anything does.
            tracing::warn!(%error, registry = place.registry, "no credentials could be looked up");
            None
        });
        let text = login?.for_engine(&place.registry);
        let mut header = HeaderValue::from_str(&URL_SAFE.encode(text.expose_secret())).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

/// One registry that may have the image.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    registry: String,
    repository: &'a str,
    /// A digest, or a tag.
    version: &'a str,
}

impl Place<'_> {
    fn name(&self) -> String {
        let separator = if self.version.contains(':') { '@' } else { ':' };
        format!("{}/{}{separator}{}", self.registry, self.repository, self.version)
    }
}

/// Where to look for an image, the place that it names itself last.
fn places<'a>(reference: &'a Reference, mirrors: &[String]) -> Vec<Place<'a>> {
    let version = reference.digest().or(reference.tag()).unwrap_or("latest");
    let place =
        |registry: &str| Place { registry: registry.to_owned(), repository: reference.repository(), version };
    let mirrors = if reference.registry() == DOCKER_HUB { mirrors } else { &[] };
    mirrors.iter().map(|mirror| place(mirror)).chain([place(reference.registry())]).collect()
}

/// What the engine says during a pull.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Message {
    status: String,
    id: String,
    progress_detail: Option<Detail>,
    error: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    current: u64,
    total: u64,
}

impl From<Message> for Event {
    fn from(message: Message) -> Self {
        let detail = message.progress_detail.unwrap_or_default();
        Self { layer: message.id, status: message.status, current: detail.current, total: detail.total }
    }
}

/// Objects of JSON, one after the other.
struct Messages {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Messages {
    async fn next(&mut self) -> Result<Option<Message>, EngineError> {
        const WHAT: &str = "pull an image";
        let odd = |why: String| EngineError::Odd { what: WHAT, why };
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                match line.trim_ascii() {
                    [] => continue,
                    line => {
                        return serde_json::from_slice(line).map(Some).map_err(|why| odd(why.to_string()));
                    }
                }
            }
            if self.buffer.len() > LONGEST_MESSAGE {
                return Err(odd("it says too much at once".to_owned()));
            }
            let frame = tokio::time::timeout(SILENCE_LIMIT, self.body.frame()).await;
            let frame = frame.map_err(|_| EngineError::Late { what: WHAT, limit: SILENCE_LIMIT })?;
            match frame {
                Some(frame) => {
                    let frame = frame.map_err(super::client::broken(WHAT))?;
                    self.buffer.extend(frame.into_data().unwrap_or_else(|_| Bytes::new()));
                }
                None if self.buffer.trim_ascii().is_empty() => return Ok(None),
                // The last one may have no newline.
                None => self.buffer.push(b'\n'),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_asked_first_and_only_for_docker_hub() {
        let mirrors = ["mirror:5000".to_owned()];
        let names = |text: &str| -> Vec<String> {
            let reference: Reference = text.parse().unwrap();
            places(&reference, &mirrors).iter().map(Place::name).collect()
        };
        assert_eq!(names("alpine"), ["mirror:5000/library/alpine:latest", "docker.io/library/alpine:latest"]);
        assert_eq!(names("ghcr.io/a/b:1"), ["ghcr.io/a/b:1"]);
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(names(&format!("r.example/a:1@{digest}")), [format!("r.example/a@{digest}")]);
    }

    #[tokio::test]
    async fn credentials_go_to_their_registry_only() {
        let login = |key: &str| (key.to_owned(), images::Login::password("jane", "pass"));
        let credentials =
            RegistryCredentials::of_logins([login("https://index.docker.io/v1/"), login("r.example:5000")]);
        let client = Client::new(super::super::Endpoint::default());
        let source = Source { client: &client, mirrors: &[], credentials: &credentials };
        let read = async |registry: &str| {
            let place = Place { registry: registry.to_owned(), repository: "a/b", version: "1" };
            let value = source.authorisation(&place).await?;
            String::from_utf8(URL_SAFE.decode(value.as_bytes()).unwrap()).ok()
        };
        assert!(read("docker.io").await.unwrap().contains("https://index.docker.io/v1/"));
        assert!(read("r.example:5000").await.unwrap().contains(r#""password":"pass""#));
        assert_eq!(read("r.example").await, None);
    }
}
