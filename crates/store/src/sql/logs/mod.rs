//! Log entries: what is known of them in the database, their texts in files until their try is over, then in one object.
//!
//! The file of a text tells its length, so that text can be added without a write to the database.
//! All writes to the log of one try happen one after the other, under [`hold::Held`].

mod add;
mod append;
mod cache;
mod ended;
mod files;
mod hold;
mod lease;
mod lengths;
mod pack;
mod put;
mod read;
mod remove;
mod seal;
mod sealed;

pub(super) use add::add;
pub(super) use append::{KnownEnd, append};
pub(super) use lease::check_held_for_now;
pub(super) use put::put;
pub(super) use read::{entries, read};
pub(super) use seal::seal;

use ended::Ended;
use files::TryFiles;
use hold::{Held, Tries};
use jobs::JobId;
use sealed::SealedCache;
use std::path::PathBuf;

#[cfg(test)]
pub(super) const ALL: [&[(&str, super::session::Sql)]; 7] =
    [add::ALL, append::ALL, lease::ALL, put::ALL, read::ALL, seal::ALL, sealed::ALL];

/// The texts of all logs.
pub(super) struct Logs {
    root: PathBuf,
    /// Bytes of one try's texts at most.
    max_bytes: u64,
    tries: Tries,
    ended: Ended,
    sealed: SealedCache,
}

impl Logs {
    pub(super) fn new(root: PathBuf, max_bytes: u64) -> Self {
        Self {
            root,
            max_bytes,
            tries: Tries::default(),
            ended: Ended::default(),
            sealed: SealedCache::default(),
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
