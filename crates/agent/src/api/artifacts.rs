//! Files that jobs leave.

use super::{Api, ApiError, JobAuth};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method};
use reqwest::Body;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio_util::io::{InspectReader, ReaderStream};
use wire::additions::{KeptArtifact, artifacts_path};

/// How long delivering one file may take.
const DELIVERY: Duration = Duration::from_mins(30);

impl Api {
    /// Delivers a file of `size` bytes. What arrived otherwise than it was sent is to be sent again.
    pub(crate) async fn put_artifact(
        &self,
        job: &JobAuth,
        (name, path): (&str, &str),
        file: File,
        size: u64,
    ) -> Result<KeptArtifact, ApiError> {
        let hash = Arc::new(Mutex::new(Sha256::new()));
        let hashing = Arc::clone(&hash);
        let content = InspectReader::new(tokio::fs::File::from_std(file).take(size), move |bytes| {
            hashing.lock().unwrap_or_else(PoisonError::into_inner).update(bytes);
        });
        let mut about = self.job_headers(job);
        about.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        about.insert(CONTENT_LENGTH, size.into());
        let request =
            self.as_job(Method::POST, &format!("{}/{name}/{path}", artifacts_path(&job.queue)), job);
        let request = request.headers(about).body(Body::wrap_stream(ReaderStream::new(content)));
        let reply = self.exchange(request, DELIVERY).await?;
        let foreign = ApiError::Foreign { body: reply.body.clone() };
        let kept: KeptArtifact = serde_json::from_slice(&reply.body).map_err(|_| foreign)?;
        let sent = hash.lock().unwrap_or_else(PoisonError::into_inner).finalize_reset();
        if kept.sha256 == hex::encode(sent) && kept.size == size {
            return Ok(kept);
        }
        // Cut short, or changed, by whatever is in between.
        let source = io::Error::new(io::ErrorKind::TimedOut, "it arrived otherwise than it was sent");
        Err(ApiError::Local { what: "deliver a file", source })
    }
}
