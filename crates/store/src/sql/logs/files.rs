//! The texts of one try. Everything here blocks.

use super::super::directory::make_private_dir;
use super::lengths::Lengths;
use crate::error::StoreError;
use jobs::JobId;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file is compared with a text in pieces of this size.
const COMPARED_AT_ONCE: usize = 64 << 10;

/// The texts of one try's log entries.
pub(super) struct TryFiles {
    job: JobId,
    dir: PathBuf,
    /// Bytes of all texts together at most.
    limit: u64,
    /// Not known before the first use, nor after a write that failed half-way.
    lengths: Option<Lengths>,
}

impl TryFiles {
    pub(super) const fn new(job: JobId, dir: PathBuf, limit: u64) -> Self {
        Self { job, dir, limit, lengths: None }
    }

    /// Adds what is new in `text`, which begins at byte `offset` of the entry's text, and returns where
    /// the latter ends now.
    pub(super) fn add_at(&mut self, entry: i64, offset: u64, text: &[u8]) -> Result<u64, StoreError> {
        let news = news_in(text, offset, self.lengths()?.of(entry))?;
        self.append(entry, news)
    }

    /// Makes `text` the entry's text.
    pub(super) fn put(&mut self, entry: i64, text: &[u8]) -> Result<(), StoreError> {
        let news = match self.after_present(entry, text)? {
            Some(news) => self.append(entry, news),
            None => self.replace(entry, text),
        };
        news.map(drop)
    }

    /// Waits until the entry's text is on the disk.
    pub(super) fn sync(&self, entry: i64) -> Result<(), StoreError> {
        let path = text_path(&self.dir, entry);
        match File::open(&path).and_then(|file| file.sync_data()) {
            // Nothing was ever written.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            synced => synced.map_err(|error| failed(&path, error)),
        }
    }

    /// What follows in `text` after all of the present one; `None` if it begins otherwise.
    fn after_present<'a>(&mut self, entry: i64, text: &'a [u8]) -> Result<Option<&'a [u8]>, StoreError> {
        let length = self.lengths()?.of(entry);
        let split = usize::try_from(length).ok().and_then(|length| text.split_at_checked(length));
        let Some((same, news)) = split else { return Ok(None) };
        if same.is_empty() {
            return Ok(Some(news));
        }
        let path = text_path(&self.dir, entry);
        let equal = File::open(&path).and_then(|file| equals(file, same));
        Ok(equal.map_err(|error| failed(&path, error))?.then_some(news))
    }

    fn append(&mut self, entry: i64, news: &[u8]) -> Result<u64, StoreError> {
        let present = self.lengths()?.of(entry);
        if news.is_empty() {
            return Ok(present);
        }
        let length = present + news.len() as u64;
        self.check_size(entry, length)?;
        let path = text_path(&self.dir, entry);
        let written = open_or_create(&path).and_then(|file| file.write_all_at(news, present));
        self.note(entry, length, written.map_err(|error| failed(&path, error)))
    }

    /// Through a second file, so that a reader sees the one text or the other.
    fn replace(&mut self, entry: i64, text: &[u8]) -> Result<u64, StoreError> {
        let length = text.len() as u64;
        self.check_size(entry, length)?;
        let path = text_path(&self.dir, entry);
        let new = path.with_extension("new");
        let written = write_new(&new, text).and_then(|()| std::fs::rename(&new, &path));
        self.note(entry, length, written.map_err(|error| failed(&path, error)))
    }

    fn check_size(&mut self, entry: i64, length: u64) -> Result<(), StoreError> {
        let (job, limit) = (self.job, self.limit);
        self.lengths()?.check(job, entry, length, limit)
    }

    fn note(&mut self, entry: i64, length: u64, written: Result<(), StoreError>) -> Result<u64, StoreError> {
        if let Err(error) = written {
            self.lengths = None;
            return Err(error);
        }
        self.lengths()?.set(entry, length);
        Ok(length)
    }

    fn lengths(&mut self) -> Result<&mut Lengths, StoreError> {
        let lengths = match self.lengths.take() {
            Some(lengths) => lengths,
            None => Lengths::scan(&self.dir)?,
        };
        Ok(self.lengths.insert(lengths))
    }
}

/// What is new in `text`, which begins at byte `offset` of a text that has `length` bytes.
pub(super) fn news_in(text: &[u8], offset: u64, length: u64) -> Result<&[u8], StoreError> {
    let overlap = length.checked_sub(offset).ok_or(StoreError::LogGap { length, offset })?;
    let news = usize::try_from(overlap).ok().and_then(|overlap| text.get(overlap..));
    Ok(news.unwrap_or_default())
}

/// Up to `max` bytes of a text from `offset`; says whether more follow.
pub(super) fn read_at(path: &Path, offset: u64, max: usize) -> Result<(Vec<u8>, bool), StoreError> {
    let read = || {
        let file = match File::open(path) {
            Ok(file) => file,
            // Nothing was ever written.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Vec::new(), false)),
            Err(error) => return Err(error),
        };
        let follows = file.metadata()?.len().saturating_sub(offset);
        let wanted = usize::try_from(follows).unwrap_or(max).min(max);
        let mut bytes = vec![0; wanted];
        file.read_exact_at(&mut bytes, offset)?;
        Ok((bytes, follows > wanted as u64))
    };
    read().map_err(|error| failed(path, error))
}

/// Where an entry's text is.
pub(super) fn text_path(dir: &Path, entry: i64) -> PathBuf {
    dir.join(format!("{entry}.log"))
}

/// The error for a log file.
pub(super) fn failed(path: &Path, source: io::Error) -> StoreError {
    StoreError::LogFile { path: path.display().to_string(), source }
}

fn open_or_create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    match (options.open(path), path.parent()) {
        (Err(error), Some(dir)) if error.kind() == ErrorKind::NotFound => {
            make_private_dir(dir)?;
            options.open(path)
        }
        (opened, _) => opened,
    }
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let file = open_or_create(path)?;
    // Somebody may have died over an earlier one.
    file.set_len(0)?;
    file.write_all_at(text, 0)
}

fn equals(mut file: File, expected: &[u8]) -> io::Result<bool> {
    let mut buffer = vec![0; COMPARED_AT_ONCE.min(expected.len())];
    for expected in expected.chunks(COMPARED_AT_ONCE) {
        let piece = &mut buffer[..expected.len()];
        file.read_exact(piece)?;
        if piece != expected {
            return Ok(false);
        }
    }
    Ok(true)
}
