//! What jobs leave behind.

use super::Result;
use crate::model::{ArtifactRow, NewArtifact, NewObject, NewUpload, UploadFilter, UploadPartRow, UploadRow};
use crate::objects::Objects;
use async_trait::async_trait;
use jiff::Timestamp;
use jobs::{JobId, Lease, Namespace};

/// Sealed logs, uploaded indexes, and the objects that they are in.
///
/// An object is made in three steps: its key is noted ([`Self::new_object`]); it is written to [`Self::objects`]; a row takes
/// it. What is not taken within a day is removed.
#[async_trait]
pub trait Results: Send + Sync + 'static {
    /// Where objects are written to and read from.
    fn objects(&self) -> &Objects;

    /// A key for an object that is about to be made. Durable when this returns.
    async fn new_object(&self, beginning: &str, ending: &str) -> Result<String>;

    /// Gives up an object; one that a row has taken stays. So it is right also after a fault of the call that was to take it,
    /// which may have done so.
    async fn give_up_object(&self, key: &str) -> Result<()>;

    /// Makes, reads and removes an object, so that what can't be used is told before it is needed. Should it not be removed, it
    /// is tried again as with all that is of no use.
    async fn check_objects(&self) -> Result<()>;

    /// Removes objects that are of no use any more; says how many. A call may leave some to the next one.
    async fn sweep_objects(&self) -> Result<u64>;

    /// Moves the texts of tries that are over into the object store: of those that ended lately, or (`all`)
    /// of every one that has texts here. Says of how many; what could not be moved stays where it is, and is looked at again
    /// with all. A call may leave some to the next one.
    async fn seal_logs(&self, all: bool) -> Result<u64>;

    /// Takes a file that a try left, in place of the one that may be there: see [`jobs::artifacts`] for how many and how large.
    async fn add_artifact(&self, id: JobId, lease: &Lease, artifact: NewArtifact) -> Result<()>;

    /// The files that a try left, by name and path.
    async fn artifacts(&self, id: JobId, epoch: u32) -> Result<Vec<ArtifactRow>>;

    /// Bytes of all files that jobs left. What others on the same database change may be seen seconds later.
    async fn artifacts_size(&self) -> Result<u64>;

    /// The same of one namespace's jobs. It takes adding them up.
    async fn artifacts_size_of(&self, namespace: &Namespace) -> Result<u64>;

    /// Begins an index that comes in parts. [`StoreError::TooMany`] and its like where as many are begun as may be, but for those
    /// whose job is over, and [`StoreError::TooManyUploads`] where its job has uploaded as many as one may.
    async fn begin_upload(&self, upload: NewUpload) -> Result<i64>;

    /// Takes a part, in place of the one with its number that may be there. Without such an upload, or when it is complete,
    /// [`crate::StoreError::UnknownUpload`]; a number beyond its parts is [`crate::StoreError::NoSuchPart`].
    async fn add_upload_part(&self, id: i64, part: u32, object: NewObject) -> Result<()>;

    /// Completes an index that came in parts, which were looked at as these objects; the same again does no more. One that
    /// lacks a part is [`crate::StoreError::MissingPart`], one that has another by now [`crate::StoreError::PartsChanged`].
    async fn finish_upload(&self, id: i64, looked_at: &[NewObject]) -> Result<()>;

    /// Takes an index that came whole; returns its id. [`StoreError::TooManyUploads`] where its job has uploaded as many as one may.
    async fn add_upload(&self, upload: NewUpload, object: NewObject) -> Result<i64>;

    /// An upload by its id.
    async fn upload(&self, id: i64) -> Result<Option<UploadRow>>;

    /// The parts that are there of an upload, in order.
    async fn upload_parts(&self, id: i64) -> Result<Vec<UploadPartRow>>;

    /// Uploads that are complete, newest first; a few hundred at most, whatever the limit.
    async fn uploads(&self, filter: UploadFilter) -> Result<Vec<UploadRow>>;

    /// Bytes of all uploads, each counted as [`FILE_CHARGE`](crate::FILE_CHARGE) for each of its parts at least, which may be yet
    /// to come. What others on the same database change may be seen seconds later.
    async fn uploads_size(&self) -> Result<u64>;

    /// The same of one namespace. It takes adding them up.
    async fn uploads_size_of(&self, namespace: &Namespace) -> Result<u64>;

    /// Forgets uploads that were complete before `finished`, and those that never were: begun before `begun`, or by the token of a
    /// job that is over; says how many. A call may leave some to the next one: it is done when it says 0.
    async fn forget_uploads(&self, finished: Timestamp, begun: Timestamp) -> Result<u64>;
}
