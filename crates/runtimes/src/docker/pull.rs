//! An image in the engine's own store, pulled when it is not there, and pinned: what was a name before
//! is an id from here on, which nobody can move.

use super::DockerOptions;
use super::access::Access;
use super::client::{Ask, Client};
use super::error::{EngineError, told};
use super::messages::Messages;
use super::percent_encoded;
use super::progress::Reporter;
use super::refusal::{self, Said};
use super::stored::{self, Stored};
use crate::RuntimeError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use hyper::header::HeaderValue;
use images::{Mirror, Progress, Reference, RegistryCredentials};
use secrecy::ExposeSecret;
use std::collections::BTreeSet;
use std::time::Instant;

const DOCKER_HUB: &str = "docker.io";
/// No registry: Podman's name for what was made on its host.
const LOCALHOST: &str = "localhost";

/// Where images come from.
pub(super) struct Source<'a> {
    pub(super) client: &'a Client,
    /// The engine, by the name that what is known of its images is kept under.
    pub(super) engine: &'a str,
    pub(super) options: &'a DockerOptions,
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
        let places = places(&reference, &self.options.mirrors);
        for place in &places {
            if let Some(stored) = stored::find(self.client, &place.name()).await?
                && self.may_use(place, &stored, &reference, progress).await
            {
                return Ok(stored.id);
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

    /// Whether this job may have what the engine has stored under the name of `place`.
    async fn may_use(
        &mut self,
        place: &Place<'_>,
        stored: &Stored,
        reference: &Reference,
        progress: &dyn Progress,
    ) -> bool {
        let repository = place.repository();
        let digests = stored.digests_in(&repository);
        if place.is_digest() && !digests.iter().any(|digest| digest == place.version) {
            // Podman finds it by its digest in whatever repository.
            return false;
        }
        // Without a digest it came out of no registry under that name: whoever runs the engine put it there.
        let Some(digest) = digests.first() else { return true };
        let open = self.options.shares_images
            || (place.registry == LOCALHOST
                && self.client.engine().await.is_ok_and(|engine| engine.is_podman()))
            || self.proven.contains(&repository)
            || self.access.is_public(self.engine, &repository);
        open || self.prove(place, digest, reference, progress).await
    }

    /// Has the engine ask for what it has already.
    async fn prove(
        &mut self,
        place: &Place<'_>,
        digest: &str,
        reference: &Reference,
        progress: &dyn Progress,
    ) -> bool {
        let (name, registry, repository) = (place.name(), &place.registry, place.repository());
        progress.line(&format!("{name} is here already; asking {registry} who may have it"));
        let here = Place { registry: registry.clone(), path: place.path, version: digest };
        if self.is_given(&here, reference, None).await.is_ok() {
            self.access.make_public(self.engine, &repository);
            return true;
        }
        let Some(login) = self.authorisation(place).await else { return false };
        let proved = self.is_given(&here, reference, Some(login)).await.is_ok();
        if proved {
            self.proven.insert(repository);
        }
        proved
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
            let note = RuntimeError::io(format!("note that {repository} may want a login"));
            self.access.doubt(self.engine, &repository).map_err(note)?;
        }
        if place.is_digest() {
            self.is_given(place, reference, login.clone()).await?;
        }
        let digest = self.ask_for(place, reference, login, progress).await?;
        // By digest, since the tag may point elsewhere already.
        let pinned = digest.as_ref().map(|digest| format!("{repository}@{digest}"));
        let name = pinned.unwrap_or_else(|| place.name());
        let stored = match stored::find(self.client, &name).await? {
            Some(stored) => stored,
            None => stored::find(self.client, &place.name()).await?.ok_or_else(|| {
                RuntimeError::Host(format!(
                    "the container engine pulled image {reference} and does not have it"
                ))
            })?,
        };
        let everyones = !has_login || self.is_given(place, reference, None).await.is_ok();
        if everyones {
            self.access.make_public(self.engine, &repository);
        }
        let id = stored.id;
        let version = digest.as_deref().unwrap_or(&id);
        progress.line(&format!("pulled {} as {version} in {:.1?}", place.name(), begun.elapsed()));
        self.proven.insert(repository);
        Ok(id)
    }

    /// Whether the registry gives it to whoever has this login. That an engine pulls it tells nothing: what it
    /// has already, Docker pulls by digest without a question to anyone.
    async fn is_given(
        &self,
        place: &Place<'_>,
        reference: &Reference,
        login: Option<HeaderValue>,
    ) -> Result<(), RuntimeError> {
        if self.client.engine().await?.is_podman() {
            return self.ask_for(place, reference, login, &Silent).await.map(drop);
        }
        let mut ask = Ask::get(format!("/distribution/{}/json", place.name()), "ask a registry for an image");
        if let Some(login) = login {
            ask = ask.registry_auth(login);
        }
        match self.client.tell(ask).await {
            Err(EngineError::Refused { status, said, .. }) => {
                let said = Said { status: Some(status), text: said };
                Err(refusal::judge(reference, &place.registry, said).into())
            }
            told => Ok(told?),
        }
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
pub(super) struct Silent;

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
        let separator = if self.is_digest() { '@' } else { ':' };
        format!("{}{separator}{}", self.repository(), self.version)
    }

    fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    fn is_digest(&self) -> bool {
        self.version.contains(':')
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
        let options = DockerOptions::new("/", "/", crate::oci::Helper::new("/nowhere", Vec::new()));
        let (client, options, access, credentials) = (&client, &options, &access, &credentials);
        let proven = &mut BTreeSet::new();
        let source = Source { client, engine: "e", options, access, credentials, proven };
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
