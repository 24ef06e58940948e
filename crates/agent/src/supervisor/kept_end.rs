//! How a job ended, kept beside its record until the control plane knows it: its supervisor may be killed while it
//! still makes the final call, and then the job must not run again.
//!
//! ```text
//! end              one line of JSON: the final call, and what entries of the log the control plane does not have
//!                  whole; then their texts, redacted, one after the other
//! log-delivered    it has them by now
//! ```

use super::job_dir::JobDir;
use crate::account::Account;
use crate::api::Final;
use crate::log::{KeptEntry, Undelivered};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

pub(super) const END: &str = "end";
pub(super) const LOG_DELIVERED: &str = "log-delivered";
/// The most of its first line that is read, in bytes: a few thousand entries.
const LONGEST_LINE: u64 = 16 << 20;

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptEnd {
    /// What is to be said of it, redacted.
    pub(crate) last: Final,
    /// What is told of it on this host.
    pub(crate) account: Account,
    /// The control plane takes log text at an offset.
    pub(crate) appends: bool,
    /// What it does not have of the log.
    pub(crate) entries: Vec<KeptEntry>,
}

/// The texts of a kept log: they follow each other in the file from a byte on.
pub(crate) struct KeptTexts {
    pub(crate) file: File,
    pub(crate) at: u64,
}

impl JobDir {
    /// Keeps the end of its job, and the texts of `undelivered` that `end` has the entries of. It survives the death
    /// of this process and of the host once this returns without a fault. Blocks.
    pub(crate) fn keep_end(&self, end: &KeptEnd, undelivered: &Undelivered) -> io::Result<()> {
        self.write_by(END, |file| {
            let mut writer = BufWriter::new(&mut *file);
            serde_json::to_writer(&mut writer, end)?;
            writer.write_all(b"\n")?;
            undelivered.write_texts(&mut writer)?;
            writer.flush()?;
            drop(writer);
            file.sync_all()
        })?;
        self.sync()
    }

    /// Its log needs nobody any more. If this gets lost, what was delivered is delivered again.
    pub(crate) fn note_log_delivered(&self) -> io::Result<()> {
        File::create(self.path().join(LOG_DELIVERED)).map(drop)
    }

    /// The end of its job, if its supervisor got so far, with what is left of the log.
    pub(crate) fn kept_end(&self) -> Option<(KeptEnd, KeptTexts)> {
        let read = || -> io::Result<(KeptEnd, KeptTexts)> {
            let mut reader = BufReader::new(self.open(END)?);
            let mut line = Vec::new();
            let at = reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? as u64;
            let mut end: KeptEnd = serde_json::from_slice(&line)?;
            if self.open(LOG_DELIVERED).is_ok() {
                end.entries.clear();
            }
            Ok((end, KeptTexts { file: reader.into_inner(), at }))
        };
        match read() {
            Ok(kept) => Some(kept),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => None,
            Err(fault) => {
                tracing::warn!(%fault, dir = %self.path().display(), "failed to read how a job ended");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::job_dir::tests::record;
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn end() -> KeptEnd {
        let end = wire::additions::EndDetail { reason: "exit_code".to_owned(), ..Default::default() };
        let last = Final::Errored { message: "command failed".to_owned(), end };
        KeptEnd { last, account: Account::default(), appends: true, entries: Vec::new() }
    }

    #[test]
    fn an_end_is_there_as_it_was_kept_for_its_owner_only_until_the_job_is_forgotten() {
        let jobs = tempfile::tempdir().unwrap();
        let dir = JobDir::create(jobs.path()).unwrap();
        dir.note(&record(), "t0ken").unwrap();
        assert!(dir.kept_end().is_none());
        dir.keep_end(&end(), &Undelivered::none()).unwrap();
        let (kept, texts) = dir.kept_end().unwrap();
        assert_eq!((kept, texts.at), (end(), texts.file.metadata().unwrap().len()));
        let mode = fs::metadata(dir.path().join(END)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        dir.forget_job();
        assert!(dir.kept_end().is_none());
    }

    #[test]
    fn half_an_end_is_none() {
        let jobs = tempfile::tempdir().unwrap();
        let dir = JobDir::create(jobs.path()).unwrap();
        for half in ["", "{\"last\":", "{}\n"] {
            fs::write(dir.path().join(END), half).unwrap();
            assert!(dir.kept_end().is_none(), "{half:?}");
        }
    }
}
