//! An image in the engine's own store, pulled when it is not there, and pinned: what was a name before
//! is an id from here on, which nobody can move.

use super::access::Access;
use super::client::{Ask, Client};
use super::error::{EngineError, told};
use super::messages::Messages;
use super::percent_encoded;
use super::progress::Reporter;
use super::refusal::{self, Said};
use crate::RuntimeError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use hyper::header::HeaderValue;
use images::{Mirror, Progress, Reference, RegistryCredentials};
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Instant;

const DOCKER_HUB: &str = "docker.io";

/// Where images come from.
pub(super) struct Source<'a> {
    pub(super) client: &'a Client,
    pub(super) mirrors: &'a [Mirror],
    pub(super) access: &'a Access,
    pub(super) credentials: &'a RegistryCredentials,
    /// Repositories that these credentials were good for.
    pub(super) proven: &'a mut BTreeSet<String>,
}

impl Source<'_> {
    /// The id of the image that `name` means now.
    pub(super) async fn resolve(
        &mut self,
        name: &str,
        progress: &dyn Progress,
    ) -> Result<String, RuntimeError> {
        let reference: Reference = name.parse()?;
        let places = places(&reference, self.mirrors);
        for place in &places {
            let repository = place.repository();
            let open = self.proven.contains(&repository) || !self.access.is_private(&repository);
            if open && let Some(id) = self.find(&place.name()).await? {
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
        &mut self,
        place: &Place<'_>,
        reference: &Reference,
        progress: &dyn Progress,
    ) -> Result<String, RuntimeError> {
        progress.line(&format!("pulling {}", place.name()));
        let (begun, repository) = (Instant::now(), place.repository());
        let login = self.authorisation(place).await;
        let has_login = login.is_some();
        if has_login {
            let note = RuntimeError::io(format!("note that {repository} wants a login"));
            self.access.make_private(&repository).map_err(note)?;
        }
        let digest = self.ask_for(place, reference, login, progress).await?;
        // By digest, since the tag may point elsewhere already.
        let pinned = digest.as_ref().map(|digest| format!("{repository}@{digest}"));
        let name = pinned.unwrap_or_else(|| place.name());
        let id = match self.find(&name).await? {
            Some(id) => id,
            None => self.find(&place.name()).await?.ok_or_else(|| {
                RuntimeError::Host(format!(
                    "the container engine pulled image {reference} and does not have it"
                ))
            })?,
        };
        let everyones = !has_login || self.ask_for(place, reference, None, &Silent).await.is_ok();
        if everyones {
            self.access.make_public(&repository);
        }
        let version = digest.as_deref().unwrap_or(&id);
        progress.line(&format!("pulled {} as {version} in {:.1?}", place.name(), begun.elapsed()));
        self.proven.insert(repository);
        Ok(id)
    }

    /// Has the engine pull. Returns the digest of what it was given, if it says so.
    async fn ask_for(
        &self,
        place: &Place<'_>,
        reference: &Reference,
        login: Option<HeaderValue>,
        progress: &dyn Progress,
    ) -> Result<Option<String>, RuntimeError> {
        let refused = |said: Said| RuntimeError::from(refusal::judge(reference, &place.registry, said));
        let from = percent_encoded(&place.repository());
        let path = format!("/images/create?fromImage={from}&tag={}", percent_encoded(place.version));
        let mut ask = Ask::post(path, "pull an image").without_limit();
        if let Some(login) = login {
            ask = ask.registry_auth(login);
        }
        let mut messages = match self.client.begin(ask).await {
            Ok(response) => Messages::new(response.into_body()),
            Err(EngineError::Refused { status, said, .. }) => {
                return Err(refused(Said { status: Some(status), text: said }));
            }
            Err(error) => return Err(error.into()),
        };
        let (mut reporter, mut digest) = (Reporter::new(Instant::now()), None);
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
        Ok(digest)
    }

    /// What the engine shall tell the registry, for `X-Registry-Auth`.
    async fn authorisation(&self, place: &Place<'_>) -> Option<HeaderValue> {
        let login = self.credentials.login_at(&place.registry, place.path).await;
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

/// For a question whose answer alone counts.
struct Silent;

impl Progress for Silent {
    fn line(&self, _: &str) {}
}

/// One registry that may have the image.
#[derive(Debug, PartialEq, Eq)]
struct Place<'a> {
    registry: String,
    path: &'a str,
    /// A digest, or a tag.
    version: &'a str,
}

impl Place<'_> {
    fn name(&self) -> String {
        let separator = if self.version.contains(':') { '@' } else { ':' };
        format!("{}{separator}{}", self.repository(), self.version)
    }

    fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }
}

/// Where to look for an image, the place that it names itself last.
fn places<'a>(reference: &'a Reference, mirrors: &[Mirror]) -> Vec<Place<'a>> {
    let version = reference.digest().or(reference.tag()).unwrap_or("latest");
    let place =
        |registry: &str| Place { registry: registry.to_owned(), path: reference.repository(), version };
    let mirrors = if reference.registry() == DOCKER_HUB { mirrors } else { &[] };
    mirrors.iter().map(|mirror| place(&mirror.registry())).chain([place(reference.registry())]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_asked_first_and_only_for_docker_hub() {
        let mirrors = Mirror::list("http://mirror:5000").unwrap();
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
        let state = tempfile::tempdir().unwrap();
        let access = Access::open(state.path()).unwrap();
        let (mirrors, proven) = (&[], &mut BTreeSet::new());
        let source = Source { client: &client, mirrors, access: &access, credentials: &credentials, proven };
        let read = async |registry: &str| {
            let place = Place { registry: registry.to_owned(), path: "a/b", version: "1" };
            let value = source.authorisation(&place).await?;
            String::from_utf8(URL_SAFE.decode(value.as_bytes()).unwrap()).ok()
        };
        assert!(read("docker.io").await.unwrap().contains("https://index.docker.io/v1/"));
        assert!(read("r.example:5000").await.unwrap().contains(r#""password":"pass""#));
        assert_eq!(read("r.example").await, None);
    }
}
