//! [`Results`], method by method.

use super::{SqlStore, artifacts, logs, loose, uploads};
use crate::contract::Results;
use crate::error::StoreError;
use crate::model::{ArtifactRow, NewArtifact, NewObject, NewUpload, UploadFilter, UploadPartRow, UploadRow};
use crate::objects::Objects;
use async_trait::async_trait;
use jiff::Timestamp;
use jobs::{JobId, Lease, Namespace};

type Result<T> = std::result::Result<T, StoreError>;

#[async_trait]
impl Results for SqlStore {
    fn objects(&self) -> &Objects {
        &self.objects
    }

    async fn new_object(&self, beginning: &str, ending: &str) -> Result<String> {
        let key = Objects::new_key(beginning, ending)?;
        loose::note_new(self, std::slice::from_ref(&key)).await?;
        Ok(key)
    }

    async fn give_up_object(&self, key: &str) -> Result<()> {
        loose::give_up(self, key).await
    }

    async fn check_objects(&self) -> Result<()> {
        loose::check(self).await
    }

    async fn sweep_objects(&self) -> Result<u64> {
        loose::sweep(self).await
    }

    async fn seal_logs(&self, all: bool) -> Result<u64> {
        logs::seal(self, all).await
    }

    async fn add_artifact(&self, id: JobId, lease: &Lease, artifact: NewArtifact) -> Result<()> {
        artifacts::add(self, id, lease, &artifact).await
    }

    async fn artifacts(&self, id: JobId, epoch: u32) -> Result<Vec<ArtifactRow>> {
        artifacts::list(self, id, epoch).await
    }

    async fn artifacts_size(&self) -> Result<u64> {
        artifacts::size(self).await
    }

    async fn artifacts_size_of(&self, namespace: &Namespace) -> Result<u64> {
        artifacts::size_of(self, namespace).await
    }

    async fn begin_upload(&self, upload: NewUpload) -> Result<i64> {
        uploads::begin(self, &upload).await
    }

    async fn add_upload_part(&self, id: i64, part: u32, object: NewObject) -> Result<()> {
        uploads::add_part(self, id, part, &object).await
    }

    async fn finish_upload(&self, id: i64, looked_at: &[NewObject]) -> Result<()> {
        uploads::finish(self, id, looked_at).await
    }

    async fn add_upload(&self, upload: NewUpload, object: NewObject) -> Result<i64> {
        uploads::add(self, &upload, &object).await
    }

    async fn upload(&self, id: i64) -> Result<Option<UploadRow>> {
        uploads::by_id(self, id).await
    }

    async fn upload_parts(&self, id: i64) -> Result<Vec<UploadPartRow>> {
        uploads::parts(self, id).await
    }

    async fn uploads(&self, filter: UploadFilter) -> Result<Vec<UploadRow>> {
        uploads::list(self, filter).await
    }

    async fn uploads_size(&self) -> Result<u64> {
        uploads::size(self).await
    }

    async fn uploads_size_of(&self, namespace: &Namespace) -> Result<u64> {
        uploads::size_of(self, namespace).await
    }

    async fn forget_uploads(&self, finished: Timestamp, begun: Timestamp) -> Result<u64> {
        uploads::forget(self, finished, begun).await
    }
}
