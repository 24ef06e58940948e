//! The texts of a try that is over, as one object.
//!
//! ```text
//! object   the texts one after the other, each cut into chunks of so many bytes, each chunk a gzip member
//! pieces   {"chunk": bytes of text in a chunk, "texts": [[entry, bytes of text, [bytes of each chunk as it is kept]]]}
//! ```
//!
//! So the object by itself is what `zcat` reads, and any part of a text is found without what is before it.

use super::super::SqlStore;
use super::super::session::Session;
use super::super::statements::statements;
use super::super::values::{from_json, job_name};
use super::cache::Cache;
use super::read::blocking;
use crate::error::StoreError;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jobs::JobId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of text in a chunk: what is read and unpacked to get at any one of them.
pub(super) const CHUNK: usize = 256 << 10;
/// Bytes of text that a chunk may say it has: what a damaged row may make us take.
const MAX_CHUNK: u64 = 16 << 20;
/// Chunks and indexes that are kept in memory, of those that were read last.
const CHUNKS_KEPT: usize = 32;
const INDEXES_KEPT: usize = 64;

statements! {
    /// Whether the try has the entry, and where its texts are if they are no files.
    FIND = "SELECT EXISTS (SELECT 1 FROM log_entries WHERE job = $1 AND epoch = $2 AND entry = $3), \
            (SELECT object FROM sealed_logs WHERE job = $1 AND epoch = $2)";
    OBJECT = "SELECT object FROM sealed_logs WHERE job = $1 AND epoch = $2";
    PIECES = "SELECT pieces FROM sealed_logs WHERE object = $3 AND job = $1 AND epoch = $2";
}

/// Where in an object which text is, as it is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Pieces {
    pub(super) chunk: u64,
    /// Entry, bytes of text, bytes of each of its chunks in the object; in the object's order.
    pub(super) texts: Vec<(i64, u64, Vec<u32>)>,
}

/// The same, to look things up in.
pub(super) struct Index {
    chunk: u64,
    texts: BTreeMap<i64, Text>,
}

struct Text {
    begin: u64,
    length: u64,
    chunks: Vec<u32>,
}

impl Index {
    fn of(pieces: Pieces) -> Option<Self> {
        let mut begin = 0;
        let mut texts = BTreeMap::new();
        for (entry, length, chunks) in pieces.texts {
            let text = Text { begin, length, chunks };
            begin += text.chunks.iter().copied().map(u64::from).sum::<u64>();
            texts.insert(entry, text);
        }
        (1..=MAX_CHUNK).contains(&pieces.chunk).then_some(Self { chunk: pieces.chunk, texts })
    }

    /// The entries that have text.
    pub(super) fn entries(&self) -> impl Iterator<Item = i64> {
        self.texts.keys().copied()
    }

    /// The length of one entry's text. One without text is not in the object.
    pub(super) fn length_of(&self, entry: i64) -> u64 {
        self.texts.get(&entry).map_or(0, |text| text.length)
    }
}

/// What was read of objects lately.
#[derive(Default)]
pub(super) struct SealedCache {
    indexes: Cache<String, Arc<Index>, INDEXES_KEPT>,
    /// By object, entry and number of the chunk.
    chunks: Cache<(String, i64, u64), Bytes, CHUNKS_KEPT>,
}

/// Refuses an entry that the try does not have; says which object has its text, if one has.
pub(super) async fn find(
    session: &mut Session,
    id: JobId,
    epoch: u32,
    entry: i64,
) -> Result<Option<String>, StoreError> {
    let find = session.query(FIND).bind(id.0).bind(i64::from(epoch)).bind(entry);
    match find.one::<(bool, Option<String>)>().await? {
        (true, object) => Ok(object),
        (false, _) => Err(StoreError::UnknownLogEntry { job: id, entry }),
    }
}

/// Which object has the texts of a try, if one has.
pub(super) async fn object(
    session: &mut Session,
    id: JobId,
    epoch: u32,
) -> Result<Option<String>, StoreError> {
    let object = session.query(OBJECT).bind(id.0).bind(i64::from(epoch)).optional().await?;
    Ok(object.map(|(object,)| object))
}

/// Where in `object` which text is.
pub(super) async fn index(
    store: &SqlStore,
    id: JobId,
    epoch: u32,
    object: &str,
) -> Result<Arc<Index>, StoreError> {
    let cache = &store.logs.sealed.indexes;
    if let Some(index) = cache.get(object) {
        return Ok(index);
    }
    let mut lookup = store.database.lookup().await?;
    let pieces = lookup.query(PIECES).bind(id.0).bind(i64::from(epoch)).bind(object);
    // It was there a moment ago.
    let (pieces,): (String,) = pieces.optional().await?.ok_or(StoreError::UnknownJob(id))?;
    drop(lookup);
    let row = || format!("the sealed log of {}", job_name(id));
    let pieces: Pieces = from_json(&pieces, "pieces", row)?;
    let index = Arc::new(Index::of(pieces).ok_or_else(|| corrupt(id))?);
    cache.put(object.to_owned(), Arc::clone(&index));
    Ok(index)
}

/// Up to `max` bytes of a text from `offset`; says whether more follow.
pub(super) async fn read(
    store: &SqlStore,
    (id, epoch, entry): (JobId, u32, i64),
    object: &str,
    offset: u64,
    max: usize,
) -> Result<(Vec<u8>, bool), StoreError> {
    let index = index(store, id, epoch, object).await?;
    let Some(text) = index.texts.get(&entry).filter(|text| offset < text.length) else {
        return Ok((Vec::new(), false));
    };
    let end = text.length.min(offset.saturating_add(max as u64));
    let first = offset / index.chunk;
    let needed = first..end.div_ceil(index.chunk);
    let mut bytes = Vec::new();
    for chunk in chunks(store, id, (object, entry), text, needed).await? {
        bytes.extend_from_slice(&chunk);
    }
    let begin = usize::try_from(offset - first * index.chunk).unwrap_or(usize::MAX);
    let wanted = usize::try_from(end - offset).unwrap_or(usize::MAX);
    let part = bytes.get(begin..).and_then(|rest| rest.get(..wanted)).ok_or_else(|| corrupt(id))?;
    Ok((part.to_vec(), end < text.length))
}

async fn chunks(
    store: &SqlStore,
    id: JobId,
    (object, entry): (&str, i64),
    text: &Text,
    needed: Range<u64>,
) -> Result<Vec<Bytes>, StoreError> {
    let cache = &store.logs.sealed.chunks;
    let name = |number| (object.to_owned(), entry, number);
    let known: Option<Vec<Bytes>> = needed.clone().map(|number| cache.get(&name(number))).collect();
    if let Some(known) = known {
        return Ok(known);
    }
    // They lie side by side.
    let lengths = |numbers: Range<u64>| {
        let numbers = usize::try_from(numbers.start).ok()?..usize::try_from(numbers.end).ok()?;
        text.chunks.get(numbers)
    };
    let sum = |lengths: &[u32]| lengths.iter().copied().map(u64::from).sum::<u64>();
    let begin = text.begin + sum(lengths(0..needed.start).ok_or_else(|| corrupt(id))?);
    let lengths = lengths(needed.clone()).ok_or_else(|| corrupt(id))?.to_vec();
    let packed = store.objects.read(object, begin..begin + sum(&lengths)).await?;
    let unpacked = blocking(move || unpack_all(packed, &lengths).ok_or_else(|| corrupt(id))).await?;
    for (number, chunk) in needed.zip(&unpacked) {
        cache.put(name(number), chunk.clone());
    }
    Ok(unpacked)
}

fn unpack_all(mut packed: Bytes, lengths: &[u32]) -> Option<Vec<Bytes>> {
    lengths.iter().map(|length| unpack(&packed.split_to(*length as usize)).ok()).collect()
}

/// One chunk as it is kept.
pub(super) fn pack(text: &[u8]) -> io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::default());
    packer.write_all(text)?;
    packer.finish()
}

/// The other way round. Its checksum is checked.
fn unpack(packed: &[u8]) -> io::Result<Bytes> {
    let mut text = Vec::new();
    let mut unpacker = GzDecoder::new(packed).take(MAX_CHUNK);
    unpacker.read_to_end(&mut text)?;
    Ok(text.into())
}

fn corrupt(id: JobId) -> StoreError {
    StoreError::corrupt(format!("the sealed log of {}", job_name(id)), "text")
}
