//! The client of the control plane's API.

mod download;
#[cfg(test)]
pub(crate) mod fake;
mod query;
mod sending;
mod settings;
mod sse;

pub(crate) use query::with_query;
pub(crate) use settings::Settings;

use crate::exit::{Exit, Failure};
use jiff::Timestamp;
use jobs::JobSpec;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use sending::{Again, refusal_and_problem, send};
use serde::Serialize;
use serde::de::DeserializeOwned;
use server::api::{FileView, JobFault, JobView, Page, SubmittedJobs};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tls::Roots;
use tokio::io::AsyncReadExt;
use tokio_util::io::{InspectReader, ReaderStream};
use url::Url;
use wire::additions::IDEMPOTENCY_KEY;

/// Items of a list that are asked for at one time.
const PAGE: u32 = 500;
/// How long one call may take, streams aside.
const CALL_TIMEOUT: Duration = Duration::from_mins(2);
/// How long a call may take for which the control plane may have to fetch a repository: as long as it
/// tries, and as long as any call.
const FETCH_TIMEOUT: Duration = server::GIT_FETCH.saturating_add(CALL_TIMEOUT);
/// How long a call may take that submits many jobs: the control plane begins to fetch one more repository as long as it has not
/// fetched for longer than one takes.
const BATCH_TIMEOUT: Duration = FETCH_TIMEOUT.saturating_add(server::GIT_FETCH);
/// How long an upload may take.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(30);
/// How long to look for a server that is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept: half of what the server keeps it, so that no call meets one that
/// was just closed.
const IDLE: Duration = Duration::from_secs(30);

/// A control plane and the right to use it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    /// The same, with a connection of its own for each request.
    anew: reqwest::Client,
    base: Url,
    token: SecretString,
}

/// A key that tells a submission from all others.
pub(crate) fn new_key() -> Result<String, Failure> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|fault| Failure::chain(Exit::System, &fault))?;
    Ok(hex::encode(key))
}

impl Client {
    pub(crate) fn new(base: Url, token: SecretString, roots: &Roots) -> Result<Self, Failure> {
        let build = |kept: usize| {
            let http = reqwest::Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .user_agent(concat!("executor/", env!("CARGO_PKG_VERSION")))
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(kept)
                .tls_backend_preconfigured(roots.client_config());
            http.build().map_err(|fault| Failure::chain(Exit::System, &fault))
        };
        Ok(Self { http: build(usize::MAX)?, anew: build(0)?, base, token })
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.read(self.request(Method::GET, path).timeout(CALL_TIMEOUT)).await
    }

    /// All of a list, read page by page.
    pub(crate) async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Failure> {
        self.all_of(path, []).await
    }

    /// The same of what `filter` leaves in it.
    pub(crate) async fn all_of<T: DeserializeOwned, const N: usize>(
        &self,
        path: &str,
        filter: [(&str, Option<String>); N],
    ) -> Result<Vec<T>, Failure> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let page = [("limit", Some(PAGE.to_string())), ("cursor", cursor)];
            let page: Page<T> = self.get(&with_query(path, filter.clone().into_iter().chain(page))).await?;
            all.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }

    /// Plain text.
    pub(crate) async fn get_text(&self, path: &str) -> Result<String, Failure> {
        let response = self.send(self.request(Method::GET, path).timeout(CALL_TIMEOUT)).await?;
        response.text().await.map_err(|fault| self.unreadable(&fault))
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.read(self.request(Method::POST, path).timeout(CALL_TIMEOUT).json(body)).await
    }

    /// Posts what the control plane may have to fetch a repository for.
    pub(crate) async fn post_fetching<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.read(self.fetching(path, body)).await
    }

    /// Where the control plane is.
    pub(crate) const fn url(&self) -> &Url {
        &self.base
    }

    /// Submits a job. Made again, the call is told from another one by the key, one of its own unless there is one; so a
    /// connection that was cut costs nothing.
    pub(crate) async fn submit(&self, spec: &JobSpec, key: Option<String>) -> Result<JobView, Failure> {
        let key = key.map_or_else(new_key, Ok)?;
        self.read(self.fetching("/api/v1/jobs", spec).header(IDEMPOTENCY_KEY, key)).await
    }

    /// Submits many jobs, each of which has a key; so a connection that was cut costs nothing. Of what is refused it is told
    /// which of the jobs that is about.
    pub(crate) async fn submit_all(
        &self,
        jobs: &impl Serialize,
    ) -> Result<SubmittedJobs, (Failure, Vec<JobFault>)> {
        let none = |failure| (failure, Vec::new());
        let sent = send(self.batch(jobs), Again::Harmless).await;
        let response = sent.map_err(|fault| none(self.unreachable(fault)))?;
        if !response.status().is_success() {
            let (failure, problem) = refusal_and_problem(response).await;
            return Err((failure, problem.map_or_else(Vec::new, |problem| problem.jobs)));
        }
        response.json().await.map_err(|fault| none(self.unreadable(&fault)))
    }

    pub(crate) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.read(self.request(Method::PUT, path).timeout(CALL_TIMEOUT).json(body)).await
    }

    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.read(self.request(Method::PATCH, path).timeout(CALL_TIMEOUT).json(body)).await
    }

    fn fetching(&self, path: &str, body: &impl Serialize) -> RequestBuilder {
        self.request(Method::POST, path).timeout(FETCH_TIMEOUT).json(body)
    }

    fn batch(&self, jobs: &impl Serialize) -> RequestBuilder {
        self.request(Method::POST, "/api/v1/jobs/batch").timeout(BATCH_TIMEOUT).json(jobs)
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.send(self.request(Method::DELETE, path).timeout(CALL_TIMEOUT)).await.map(drop)
    }

    /// Uploads a file that jobs may name.
    pub(crate) async fn upload(
        &self,
        name: &str,
        modified_at: Option<Timestamp>,
        file: tokio::fs::File,
        size: u64,
    ) -> Result<FileView, Failure> {
        let hash = Arc::new(Mutex::new(Sha256::new()));
        let hashing = Arc::clone(&hash);
        let hashed = InspectReader::new(file.take(size), move |bytes| {
            hashing.lock().unwrap_or_else(PoisonError::into_inner).update(bytes);
        });
        let about =
            [("name", Some(name.to_owned())), ("modifiedAt", modified_at.map(|time| time.to_string()))];
        let path = with_query("/api/v1/files", about);
        let request = self
            .request(Method::POST, &path)
            .timeout(UPLOAD_TIMEOUT)
            .header(CONTENT_LENGTH, size)
            .body(Body::wrap_stream(ReaderStream::new(hashed)));
        let response = self.send(request).await?;
        let kept: FileView = response.json().await.map_err(|fault| self.unreadable(&fault))?;
        let sent = hash.lock().unwrap_or_else(PoisonError::into_inner).finalize_reset();
        if kept.sha256 != hex::encode(sent) {
            return Err(Failure::system(format!(
                "file {name} did not arrive at {} as it was sent",
                self.base
            )));
        }
        Ok(kept)
    }

    /// Follows a job's log from its beginning.
    pub(crate) fn follow(&self, job: i64) -> sse::Follow {
        sse::Follow::new(self.clone(), format!("/api/v1/jobs/{job}/logs/stream"))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        self.http.request(method, url).bearer_auth(self.token.expose_secret())
    }

    async fn read<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let response = self.send(request).await?;
        response.json().await.map_err(|fault| self.unreadable(&fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_may_fetch_a_repository_waits_for_longer_than_that_takes() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = "http://127.0.0.1:1".parse().unwrap();
        let client = Client::new(base, "token".into(), &Roots::default()).unwrap();
        let limit = |request: RequestBuilder| request.build().unwrap().timeout().copied().unwrap();
        let (fetch, one) = (server::Limits::default().git_fetch, limit(client.fetching("/x", &())));
        assert!(one > fetch, "{one:?}");
        // The last fetch may begin as late as one may end.
        let many = limit(client.batch(&()));
        assert!(many > 2 * fetch, "{many:?}");
    }
}
