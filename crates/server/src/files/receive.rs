//! Taking a file in: hashed and written as it comes, whole or not at all.

use super::room::Room;
use super::{FileFault, Files, UNFINISHED};
use crate::disk_floor::Growing;
use crate::pace::Pace;
use crate::peer::Peer;
use axum::body::{Body, HttpBody};
use bytes::BytesMut;
use futures_util::StreamExt;
use jiff::Timestamp;
use jobs::Namespace;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use store::{FileRow, NewFile, ObjectWriter};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::time::timeout_at;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 1 << 20;
/// What keys of contents begin with, where they are objects.
const KEYS: &str = "files";
/// Random bytes of an id.
const ID_BYTES: usize = 16;

/// A file that has arrived whole and lies on the disk, but is nobody's yet. Dropping it removes it.
pub(crate) struct Arrived {
    content: NamedTempFile,
    size: u64,
    sha256: String,
    /// After the content, so that it outlasts that.
    room: Room,
}

impl Files {
    /// Writes `body` to the disk. If the client hangs up meanwhile, nothing is left of it.
    pub(crate) async fn receive(&self, body: Body, from: Peer, of: &Namespace) -> Result<Arrived, FileFault> {
        let slots = self.uploads.take(from, of.key().as_str(), self.limits.upload_queue).await;
        let _slots = slots.ok_or(FileFault::Busy)?;
        self.disk_floor.check(Growing::Files)?;
        let mut room = self.room(of, body.size_hint().exact()).await?;
        let private = PermissionsExt::from_mode(0o600);
        let content =
            tempfile::Builder::new().prefix(UNFINISHED).permissions(private).tempfile_in(&self.dir)?;
        let file = tokio::fs::File::from_std(content.as_file().try_clone()?);
        let (size, sha256) = self.write(body, file, &room).await?;
        room.shrink_to(size);
        Ok(Arrived { content, size, sha256, room })
    }

    /// Makes an arrived file one that jobs may name: all of it, or nothing.
    pub(crate) async fn keep(
        &self,
        arrived: Arrived,
        name: String,
        modified_at: Timestamp,
        namespace: Namespace,
    ) -> Result<FileRow, FileFault> {
        let Arrived { content, size, sha256, room: _room } = arrived;
        let id = new_id()?;
        let (path, dir) = (self.path(&id), self.dir.clone());
        let object = if self.store.objects().is_shared() {
            Some(self.make_object(&content, &id).await?)
        } else {
            let target = path.clone();
            tokio::task::spawn_blocking(move || put_in_place(content, &target, &dir))
                .await
                .map_err(io::Error::other)??;
            None
        };
        let new = NewFile { id, name, size, sha256, modified_at, namespace, object: object.clone() };
        match self.store.add_file(new).await {
            Ok(row) => Ok(row),
            Err(fault) => {
                match object {
                    Some(key) => self.store.give_up_object(&key).await?,
                    None => tokio::fs::remove_file(&path).await?,
                }
                Err(fault.into())
            }
        }
    }

    /// Makes the content an object, which every server can read; returns its key.
    async fn make_object(&self, content: &NamedTempFile, id: &str) -> Result<String, FileFault> {
        let key = self.store.new_object(&format!("{KEYS}/{id}"), "").await?;
        let mut writer = self.store.objects().writer(&key);
        let made = match copy(content, &mut writer).await {
            Ok(()) => writer.finish().await.map_err(FileFault::from),
            Err(fault) => {
                writer.abort().await;
                Err(fault)
            }
        };
        if let Err(fault) = made {
            self.store.give_up_object(&key).await?;
            return Err(fault);
        }
        Ok(key)
    }

    async fn write(
        &self,
        body: Body,
        file: tokio::fs::File,
        room: &Room,
    ) -> Result<(u64, String), FileFault> {
        let pace = self.limits.upload_pace();
        let Pace { idle, rate, whole } = pace;
        let mut arrival = pace.begin();
        let limit = room.bytes().min(self.limits.file);
        let mut file = BufWriter::with_capacity(BUFFER, file);
        let mut hash = Sha256::new();
        let mut body = body.into_data_stream();
        loop {
            let next = timeout_at(arrival.late(), body.next()).await;
            let Some(chunk) = next.map_err(|_| FileFault::TooSlow { idle, rate, whole })? else { break };
            let chunk = chunk.map_err(|_| FileFault::Broken)?;
            arrival.add(chunk.len() as u64);
            if arrival.bytes() > limit {
                return Err(self.too_large(limit, room));
            }
            self.disk_floor.check(Growing::Files)?;
            hash.update(&chunk);
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        file.get_ref().sync_all().await?;
        Ok((arrival.bytes(), hex::encode(hash.finalize())))
    }

    /// The refusal of what does not fit, by what it does not fit into.
    fn too_large(&self, limit: u64, room: &Room) -> FileFault {
        if limit < self.limits.file { room.beyond().into() } else { FileFault::TooLarge { limit } }
    }
}

async fn copy(content: &NamedTempFile, writer: &mut ObjectWriter) -> Result<(), FileFault> {
    let mut file = tokio::fs::File::from_std(content.reopen()?);
    loop {
        let mut piece = BytesMut::with_capacity(BUFFER);
        if file.read_buf(&mut piece).await? == 0 {
            return Ok(());
        }
        writer.put(piece.freeze()).await?;
    }
}

/// Blocks until the name is on the disk as well.
fn put_in_place(content: NamedTempFile, path: &Path, dir: &Path) -> io::Result<()> {
    content.persist_noclobber(path).map_err(|fault| fault.error)?;
    File::open(dir)?.sync_all()
}

fn new_id() -> io::Result<String> {
    let mut bytes = [0_u8; ID_BYTES];
    getrandom::fill(&mut bytes).map_err(|fault| io::Error::other(fault.to_string()))?;
    Ok(hex::encode(bytes))
}
