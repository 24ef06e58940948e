//! Uploaded files, which jobs bring along into their workspaces.
//!
//! ```text
//! DIR/files/<id>           one file's content; what is known of it is in the store
//! DIR/files/unfinished-…   one that is arriving
//! ```
//!
//! A content is put in place before its row is written, and removed after its row is: so a crash
//! leaves at most a content without a row, which the next start removes. Where the object store is one that other servers have too,
//! a content that has arrived becomes an object there instead.

mod fault;
mod receive;
mod room;

pub(crate) use fault::FileFault;

use crate::config::Limits;
use crate::disk_floor::DiskFloor;
use crate::slots::InTurn;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use jobs::files::is_file_id;
use room::Promised;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use store::{FileRow, Store};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

/// What a content is read from.
pub(crate) type Content = Pin<Box<dyn AsyncRead + Send>>;

/// Contents that are arriving. Whatever is left of them at a start goes.
const UNFINISHED: &str = "unfinished-";

/// The uploaded files.
pub(crate) struct Files {
    dir: PathBuf,
    store: Arc<dyn Store>,
    limits: Limits,
    disk_floor: Arc<DiskFloor>,
    /// One per upload under way.
    uploads: InTurn,
    /// Bytes that uploads under way may take.
    promised: Promised,
}

impl Files {
    /// Opens the directory and clears away what a crash may have left in it.
    pub(crate) async fn open(
        dir: PathBuf,
        store: Arc<dyn Store>,
        limits: Limits,
        disk_floor: Arc<DiskFloor>,
    ) -> Result<Self, FileFault> {
        crate::private_files::make_private_dir(&dir)?;
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let orphan = is_file_id(&name) && store.file(&name).await?.is_none();
            if orphan || name.starts_with(UNFINISHED) {
                tracing::info!(file = name, "clearing away an unfinished upload");
                std::fs::remove_file(entry.path())?;
            }
        }
        let uploads = InTurn::new(limits.uploads, limits.uploads_per_client);
        Ok(Self { dir, store, limits, disk_floor, uploads, promised: Promised::default() })
    }

    /// The content of a file that the store knows, and its length.
    pub(crate) async fn content(&self, row: &FileRow) -> io::Result<(Content, u64)> {
        let Some(key) = &row.object else {
            let file = tokio::fs::File::open(self.path(&row.id)).await?;
            let length = file.metadata().await?.len();
            return Ok((Box::pin(file), length));
        };
        let mut pieces = Box::pin(self.store.objects().stream(key.clone(), 0..row.size));
        // What can't be had is told while it still can be.
        let first = pieces.next().await.transpose().map_err(io::Error::other)?;
        let pieces = stream::iter(first.map(Ok)).chain(pieces).map_err(io::Error::other);
        Ok((Box::pin(StreamReader::new(pieces)), row.size))
    }

    /// Removes files that no job has needed since `cutoff`; says how many.
    pub(crate) async fn forget(&self, cutoff: Timestamp) -> Result<u64, FileFault> {
        let mut count = 0;
        loop {
            let forgotten = self.store.forget_files(cutoff).await?;
            if forgotten.is_empty() {
                return Ok(count);
            }
            count += forgotten.len() as u64;
            for id in forgotten {
                match tokio::fs::remove_file(self.path(&id)).await {
                    Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(fault.into()),
                    _ => {}
                }
            }
        }
    }

    /// Where a file's content is. Nothing but an id of ours may become part of a path.
    fn path(&self, id: &str) -> PathBuf {
        debug_assert!(is_file_id(id), "{id:?} is no file id");
        self.dir.join(id)
    }
}
