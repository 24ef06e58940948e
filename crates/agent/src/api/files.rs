//! Workspace files that the control plane keeps.

use super::{Api, ApiError, CALL_TIMEOUT, JobAuth, refusal};
use http::{Method, StatusCode};
use reqwest::Response;
use std::time::Instant;
use wire::paths::FILES;

impl Api {
    /// Begins to download a file. The caller reads the body, each piece within [`CALL_TIMEOUT`].
    pub(crate) async fn file(&self, job: &JobAuth, bucket: &str, key: &str) -> Result<Response, ApiError> {
        let request = self.as_job(Method::GET, &format!("{FILES}/{bucket}/{key}"), job);
        let began = Instant::now();
        let answer = tokio::time::timeout(CALL_TIMEOUT, request.send()).await;
        let worked = matches!(&answer, Ok(Ok(response)) if response.status().is_success());
        self.config().monitor.metrics().file_calls.done(&["Get"], began.elapsed(), worked);
        let response = answer
            .map_err(|_| ApiError::Local {
                what: "get an answer within the time for a call",
                source: std::io::ErrorKind::TimedOut.into(),
            })?
            .map_err(ApiError::transport)?;
        match response.status() {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(response),
            status => {
                let all = response.headers().clone();
                let body = refusal(response).await;
                Err(ApiError::status(status, &all, body))
            }
        }
    }
}
