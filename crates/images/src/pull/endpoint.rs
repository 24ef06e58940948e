//! One place that has a repository: its registry, or a mirror of that.

use super::answers::{self, Asked};
use super::auth::{self, Challenge, TOKEN_BYTES};
use super::mirror::Mirror;
use super::transport::{self, Transport};
use crate::{ImageError, Login, Reference, RegistryCredentials};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;

/// Manifests and indexes, in both dialects.
const DOCUMENTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
const ANYTHING: &str = "*/*";
const FORM: &str = "application/x-www-form-urlencoded";
/// For connections that fail and servers that stumble. A mirror has others behind it.
const ATTEMPTS: u32 = 3;
const MIRROR_ATTEMPTS: u32 = 1;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A place, and how we are known there.
pub(super) struct Endpoint<'a> {
    transport: &'a Transport,
    reference: &'a Reference,
    credentials: &'a RegistryCredentials,
    mirror: Option<&'a Mirror>,
    base: OnceCell<Url>,
    /// Or why it could not be looked up.
    login: OnceCell<Result<Option<Login>, String>>,
    authorization: Mutex<Option<HeaderValue>>,
    used_login: AtomicBool,
    given_up: AtomicBool,
}

/// One request.
struct Call<'a> {
    method: Method,
    url: &'a Url,
    accept: &'static str,
    authorization: Option<HeaderValue>,
    form: Option<String>,
}

impl<'a> Endpoint<'a> {
    pub(super) fn new(
        transport: &'a Transport,
        reference: &'a Reference,
        credentials: &'a RegistryCredentials,
        mirror: Option<&'a Mirror>,
    ) -> Self {
        Self {
            transport,
            reference,
            credentials,
            mirror,
            base: OnceCell::new(),
            login: OnceCell::new(),
            authorization: Mutex::new(None),
            used_login: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
        }
    }

    /// What messages call it.
    pub(super) fn name(&self) -> String {
        self.mirror.map_or_else(|| self.reference.registry().to_owned(), ToString::to_string)
    }

    pub(super) fn is_mirror(&self) -> bool {
        self.mirror.is_some()
    }

    /// From now on nothing is asked here.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Whether anything was had here for a login.
    pub(super) fn used_login(&self) -> bool {
        self.used_login.load(Ordering::Relaxed)
    }

    /// A manifest or index by tag or digest.
    pub(super) async fn manifest(&self, wanted: &str, limit: u64) -> Result<Vec<u8>, ImageError> {
        let response = self.ask(Method::GET, &format!("manifests/{wanted}"), DOCUMENTS).await?;
        self.read(response, "the manifest", limit).await
    }

    /// Whether a manifest may be had, without having it.
    pub(super) async fn has_manifest(&self, digest: &str) -> Result<(), ImageError> {
        self.ask(Method::HEAD, &format!("manifests/{digest}"), DOCUMENTS).await.map(drop)
    }

    /// A configuration.
    pub(super) async fn configuration(&self, digest: &str, limit: u64) -> Result<Vec<u8>, ImageError> {
        let response = self.blob(digest).await?;
        self.read(response, "the configuration", limit).await
    }

    /// A blob, to be read piece by piece.
    pub(super) async fn blob(&self, digest: &str) -> Result<Response, ImageError> {
        self.ask(Method::GET, &format!("blobs/{digest}"), ANYTHING).await
    }

    /// For `map_err` on what the transport does.
    pub(super) fn network(&self) -> impl FnOnce(reqwest::Error) -> ImageError {
        answers::network(self.name())
    }

    /// The login for this place. Looked up when it is first asked for, which may mean to ask a program.
    pub(super) async fn login(&self) -> Result<Option<&Login>, &str> {
        let look_up = async || {
            let found = match self.mirror {
                // What is meant for the registry is nothing that a mirror may see.
                Some(mirror) => self.credentials.login_at(&mirror.registry(), "").await,
                None => self.credentials.login(self.reference).await,
            };
            found.map_err(|error| error.to_string())
        };
        self.login.get_or_init(look_up).await.as_ref().map(Option::as_ref).map_err(String::as_str)
    }

    async fn ask(&self, method: Method, path: &str, accept: &'static str) -> Result<Response, ImageError> {
        let base = self.base.get_or_try_init(async || match self.mirror {
            Some(mirror) => Ok(mirror.base().clone()),
            None => self.transport.base(self.reference.registry()).await,
        });
        let url = base.await?.join(&format!("{}/{path}", self.reference.repository()));
        let url = url.map_err(|error| self.odd(format!("nothing, since {path} is no address: {error}")))?;
        let call =
            |authorization| Call { method: method.clone(), url: &url, accept, authorization, form: None };
        let known = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut response = self.send(call(known)).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            // Not known yet, or the token ran out in the middle.
            let fresh = self.authenticate(&response, &url).await?;
            *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh.clone());
            response = self.send(call(Some(fresh))).await?;
        }
        self.accepted(response, Asked::Registry).await
    }

    async fn send(&self, call: Call<'_>) -> Result<Response, ImageError> {
        let client = self.transport.client(call.url).map_err(self.network())?;
        let attempts = if self.is_mirror() { MIRROR_ATTEMPTS } else { ATTEMPTS };
        let mut pause = FIRST_PAUSE;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut request =
                client.request(call.method.clone(), call.url.clone()).header(ACCEPT, call.accept);
            if let Some(authorization) = &call.authorization {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            if let Some(form) = &call.form {
                request = request.header(CONTENT_TYPE, FORM).body(form.clone());
            }
            match request.send().await {
                Ok(response) if attempt == attempts || !response.status().is_server_error() => {
                    return Ok(response);
                }
                Err(error) if attempt == attempts || !answers::may_pass(&error) => {
                    return Err(self.network()(error));
                }
                Ok(_) | Err(_) => tokio::time::sleep(pause).await,
            }
            pause *= 2;
        }
    }

    async fn authenticate(&self, response: &Response, url: &Url) -> Result<HeaderValue, ImageError> {
        // One that can't be looked up is none: many images need no login.
        let login = self.login().await.unwrap_or_default();
        let challenge = Challenge::find(response.headers());
        let unsendable = || self.refused("user or password have characters that can't be sent");
        let header = match (challenge, login) {
            (Some(_), Some(Login::RegistryToken(token))) => auth::bearer(token).ok_or_else(unsendable)?,
            (Some(Challenge::Token { realm, service }), login) => {
                self.token(&realm, service.as_deref(), url, login).await?
            }
            (Some(Challenge::Basic), Some(Login::Password { user, password })) => {
                auth::basic(user, password).ok_or_else(unsendable)?
            }
            (Some(Challenge::Basic), Some(Login::IdentityToken(_))) => {
                return Err(self.refused("it wants user and password, and an identity token is set"));
            }
            (Some(Challenge::Basic), None) => {
                return Err(self.without_login("it wants user and password and none are set").await);
            }
            (None, _) => {
                return Err(self.refused("it wants a kind of authentication that is not supported"));
            }
        };
        if login.is_some() {
            self.used_login.store(true, Ordering::Relaxed);
        }
        Ok(header)
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        from: &Url,
        login: Option<&Login>,
    ) -> Result<HeaderValue, ImageError> {
        let realm = realm.parse::<Url>().ok().filter(|realm| transport::may_speak(realm, from));
        let realm = realm.ok_or_else(|| self.odd("the address of a token server that must not be asked"))?;
        let repository = self.reference.repository();
        let asked = auth::token_url(realm.clone(), service, repository);
        let (method, url, authorization, form) = match login {
            Some(Login::IdentityToken(token)) => {
                (Method::POST, &realm, None, Some(auth::exchange(token, service, repository)))
            }
            Some(Login::Password { user, password }) => {
                (Method::GET, &asked, auth::basic(user, password), None)
            }
            Some(Login::RegistryToken(_)) | None => (Method::GET, &asked, None, None),
        };
        let response = self.send(Call { method, url, accept: ANYTHING, authorization, form }).await?;
        let response = self.accepted(response, Asked::TokenServer).await?;
        let answer = self.read(response, "the token", TOKEN_BYTES).await?;
        auth::answered(&answer).ok_or_else(|| self.odd("a token that can't be read"))
    }

    async fn accepted(&self, response: Response, asked: Asked) -> Result<Response, ImageError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let refusal = answers::Refusal::read(response).await;
        if !refusal.is_denial() {
            return Err(refusal.error(&self.reference.to_string(), self.name()));
        }
        let reason = match (self.login().await, asked) {
            (Ok(Some(Login::Password { .. })), Asked::Registry)
                if status == StatusCode::UNAUTHORIZED && !self.has_token() =>
            {
                "the credentials that are set were not accepted"
            }
            (Ok(Some(_)), Asked::Registry) => {
                "the credentials that are set may not pull it, or there is no such image"
            }
            (Ok(Some(_)), Asked::TokenServer) => "the credentials that are set were not accepted",
            (Ok(None) | Err(_), _) => "it must be pulled with credentials and none are set",
        };
        Err(self.without_login(&refusal.with_words(reason)).await)
    }

    /// Whether the registry was shown a token rather than a password.
    fn has_token(&self) -> bool {
        let shown = self.authorization.lock().unwrap_or_else(PoisonError::into_inner);
        shown.as_ref().is_some_and(|header| header.as_bytes().starts_with(b"Bearer "))
    }

    async fn read(&self, mut response: Response, what: &str, limit: u64) -> Result<Vec<u8>, ImageError> {
        let mut all = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(self.network())? {
            if (all.len() + chunk.len()) as u64 > limit {
                return Err(ImageError::too_large(
                    format!("{what} of {}", self.reference),
                    format!("{limit} bytes"),
                ));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    /// Refused, for want of a login if none could be looked up.
    async fn without_login(&self, reason: &str) -> ImageError {
        match self.login().await {
            Ok(_) => self.refused(reason),
            Err(fault) => ImageError::Credentials {
                image: self.reference.to_string(),
                registry: self.name(),
                fault: fault.to_owned(),
            },
        }
    }

    fn refused(&self, reason: &str) -> ImageError {
        ImageError::Unauthorised {
            image: self.reference.to_string(),
            registry: self.name(),
            reason: reason.to_owned(),
        }
    }

    /// A layer goes on beyond its size.
    pub(super) fn too_long(&self, size: u64) -> ImageError {
        self.odd(format!("more than the {size} bytes that a layer has"))
    }

    fn odd(&self, answer: impl Into<String>) -> ImageError {
        ImageError::BadRegistry { registry: self.name(), answer: answer.into() }
    }
}
