//! One repository of one registry.

use super::auth::{self, Challenge, TOKEN_BYTES};
use super::transport::{self, Transport};
use crate::digest::Digest;
use crate::{ImageError, Reference, RegistryCredentials};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use secrecy::SecretString;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Manifests and indexes, in both dialects.
const DOCUMENTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
const ANYTHING: &str = "*/*";
/// For connections that fail and servers that stumble.
const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A repository, and how we are known there.
pub(super) struct Registry<'a> {
    transport: &'a Transport,
    reference: &'a Reference,
    base: Url,
    credentials: Option<&'a (String, SecretString)>,
    authorization: Mutex<Option<HeaderValue>>,
}

impl<'a> Registry<'a> {
    pub(super) fn new(
        transport: &'a Transport,
        reference: &'a Reference,
        credentials: &'a RegistryCredentials,
    ) -> Result<Self, ImageError> {
        Ok(Self {
            transport,
            reference,
            base: transport::base(reference.registry())?,
            credentials: credentials.for_registry(reference.registry()),
            authorization: Mutex::new(None),
        })
    }

    /// A manifest or index by tag or digest.
    pub(super) async fn manifest(&self, wanted: &str, limit: u64) -> Result<Vec<u8>, ImageError> {
        let response = self.get(&format!("manifests/{wanted}"), DOCUMENTS).await?;
        self.read(response, "the manifest", limit).await
    }

    /// A small blob.
    pub(super) async fn blob_bytes(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, ImageError> {
        let response = self.blob(digest).await?;
        self.read(response, "the configuration", limit).await
    }

    /// A blob, to be read piece by piece.
    pub(super) async fn blob(&self, digest: &Digest) -> Result<Response, ImageError> {
        self.get(&format!("blobs/{digest}"), ANYTHING).await
    }

    /// For `map_err` on what the transport does.
    pub(super) fn network(&self) -> impl FnOnce(reqwest::Error) -> ImageError {
        let registry = self.name();
        // Addresses of blobs are often signed, and a signature is a credential.
        move |error| ImageError::Network { registry, source: error.without_url() }
    }

    fn name(&self) -> String {
        self.reference.registry().to_owned()
    }

    async fn get(&self, path: &str, accept: &str) -> Result<Response, ImageError> {
        let url = self.base.join(&format!("{}/{path}", self.reference.repository()));
        let url = url.map_err(|error| self.odd(format!("nothing, since {path} is no address: {error}")))?;
        let known = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut response = self.send(&url, accept, known).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            // Not known yet, or the token ran out in the middle.
            let fresh = self.authenticate(&response).await?;
            *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh.clone());
            response = self.send(&url, accept, Some(fresh)).await?;
        }
        self.accepted(response)
    }

    async fn send(
        &self,
        url: &Url,
        accept: &str,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, ImageError> {
        let client = self.transport.client(url).map_err(self.network())?;
        let mut pause = FIRST_PAUSE;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut request = client.get(url.clone()).header(ACCEPT, accept);
            if let Some(authorization) = &authorization {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            match request.send().await {
                Ok(response) if attempt == ATTEMPTS || !response.status().is_server_error() => {
                    return Ok(response);
                }
                Err(error) if attempt == ATTEMPTS || error.is_redirect() => {
                    return Err(self.network()(error));
                }
                Ok(_) | Err(_) => tokio::time::sleep(pause).await,
            }
            pause *= 2;
        }
    }

    async fn authenticate(&self, response: &Response) -> Result<HeaderValue, ImageError> {
        match Challenge::find(response.headers()) {
            Some(Challenge::Basic) => {
                let pair = self
                    .credentials
                    .ok_or_else(|| self.refused("it wants user and password and none are set"))?;
                auth::basic(pair)
                    .ok_or_else(|| self.refused("user or password have characters that can't be sent"))
            }
            Some(Challenge::Token { realm, service }) => self.token(&realm, service.as_deref()).await,
            None => Err(self.refused("it wants a kind of authentication that is not supported")),
        }
    }

    async fn token(&self, realm: &str, service: Option<&str>) -> Result<HeaderValue, ImageError> {
        let realm = realm
            .parse::<Url>()
            .ok()
            .filter(|realm| transport::may_speak(realm, transport::is_loopback(&self.base)));
        let realm = realm.ok_or_else(|| self.odd("the address of a token server that must not be asked"))?;
        let url = auth::token_url(realm, service, self.reference.repository());
        let ours = self.credentials.and_then(auth::basic);
        let response = self.accepted(self.send(&url, ANYTHING, ours).await?)?;
        let answer = self.read(response, "the token", TOKEN_BYTES).await?;
        auth::bearer(&answer).ok_or_else(|| self.odd("a token that can't be read"))
    }

    fn accepted(&self, response: Response) -> Result<Response, ImageError> {
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::NOT_FOUND => {
                Err(ImageError::NotFound { image: self.reference.to_string(), place: self.name() })
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if self.credentials.is_some() => {
                Err(self.refused("the credentials that are set were not accepted"))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.refused("it must be pulled with credentials and none are set"))
            }
            StatusCode::TOO_MANY_REQUESTS => {
                let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let retry_after = wait.unwrap_or("not said").chars().take(40).collect();
                Err(ImageError::RateLimited { registry: self.name(), retry_after })
            }
            status => Err(self.odd(format!("status {status}"))),
        }
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

    fn refused(&self, reason: &str) -> ImageError {
        ImageError::Unauthorised {
            image: self.reference.to_string(),
            registry: self.name(),
            reason: reason.to_owned(),
        }
    }

    fn odd(&self, answer: impl Into<String>) -> ImageError {
        ImageError::BadRegistry { registry: self.name(), answer: answer.into() }
    }
}
