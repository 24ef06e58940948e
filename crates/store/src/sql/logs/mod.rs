//! Log entries: what is known of them in the database, their texts in files or rows until their try is over, then in one object.
//!
//! Beside the embedded database they are files: the file of a text tells its length, so that text can be added without a write to
//! the database. In a database that several servers share they are rows, which all of them read and add to. [`turn::Turn`] and
//! [`texts`] know which; all else is the same. All writes to the log of one try happen one after the other.

mod add;
mod append;
mod cache;
mod commands;
mod ended;
mod files;
mod hold;
mod lease;
mod lengths;
mod make;
mod move_in;
mod put;
mod read;
mod remove;
mod rows;
mod seal;
mod sealed;
mod settle;
mod texts;
mod turn;

pub(super) use add::add;
pub(super) use append::{KnownEnd, append};
pub(super) use lease::check_held_for_now;
pub(super) use move_in::move_in;
pub(super) use put::put;
pub(super) use read::{command, entries, entry, outline, read};
pub(super) use seal::seal;
pub(super) use settle::lock_job;

use ended::Ended;
use files::TryFiles;
use hold::{Held, Tries};
use jobs::JobId;
use sealed::SealedCache;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

#[cfg(test)]
pub(super) const ALL: [&[(&str, super::session::Sql)]; 10] = [
    add::ALL,
    append::ALL,
    commands::ALL,
    lease::ALL,
    put::ALL,
    read::ALL,
    rows::ALL,
    seal::ALL,
    sealed::ALL,
    settle::ALL,
];

/// Where texts are until they are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Texts {
    /// In the data directory.
    Files,
    /// In the database.
    Rows,
}

/// The texts of all logs.
pub(super) struct Logs {
    texts: Texts,
    root: PathBuf,
    /// Bytes of one try's texts at most.
    max_bytes: u64,
    tries: Tries,
    ended: Ended,
    sealed: SealedCache,
    /// Whether the object store did not take what it was given last.
    objects_away: AtomicBool,
}

impl Logs {
    pub(super) fn new(texts: Texts, root: PathBuf, max_bytes: u64) -> Self {
        Self {
            texts,
            root,
            max_bytes,
            tries: Tries::default(),
            ended: Ended::default(),
            sealed: SealedCache::default(),
            objects_away: AtomicBool::new(false),
        }
    }

    /// Waits for whoever writes to the log of this try, and keeps others from it.
    pub(super) async fn hold(&self, job: JobId, epoch: u32) -> Held {
        let files = || TryFiles::new(job, self.dir(job, epoch), self.max_bytes);
        self.tries.hold(job, epoch, files).await
    }

    /// Frees what is remembered of a try that nothing will be written to any more, and has it sealed.
    pub(super) fn forget(&self, job: JobId, epoch: u32) {
        self.ended.note(job, epoch);
        self.tries.forget(job, epoch);
    }

    fn dir(&self, job: JobId, epoch: u32) -> PathBuf {
        self.root.join(job.to_string()).join(epoch.to_string())
    }
}
