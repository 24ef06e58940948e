//! The log of one job: entries are written here and delivered in the background.
//!
//! Nothing here fails a job or makes one wait, however long the control plane is away: text waits
//! on disk, up to a limit per entry. What can't be delivered is told once, in the agent's own log.

mod delivery;
mod entry;
mod lines;
mod shipper;
mod spool;
mod tail;
mod utf8;

pub(crate) use entry::{EntryWriter, NO_EXIT_CODE};

use crate::api::{Api, JobAuth, Patience};
use entry::Entry;
use jobs::Redactor;
use spool::Spool;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

/// The log of one job.
pub(crate) struct JobLog {
    api: Api,
    redactor: Redactor,
    /// As many as a job has stages and steps, which its payload bounds.
    entries: mpsc::UnboundedSender<Arc<Entry>>,
    shipper: AbortOnDropHandle<()>,
}

impl JobLog {
    /// Begins to deliver what will be written.
    pub(crate) fn start(api: Api, job: JobAuth, redactor: Redactor) -> Self {
        let (entries, queue) = mpsc::unbounded_channel();
        let shipper = AbortOnDropHandle::new(tokio::spawn(shipper::ship(api.clone(), job, queue)));
        Self { api, redactor, entries, shipper }
    }

    /// Opens an entry; `command` is redacted here.
    pub(crate) fn entry(&self, key: &str, command: Option<&[String]>) -> EntryWriter {
        let config = self.api.config();
        let spool = Spool::new(config.work_dir.clone(), config.log_cap);
        let entry = Arc::new(Entry::new(key, command, &self.redactor, spool));
        // The shipper is gone when the job turned out not to be ours any more.
        let _ = self.entries.send(Arc::clone(&entry));
        EntryWriter(entry)
    }

    /// A text without the job's secrets.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.redactor.redact(text)
    }

    /// Waits until everything is delivered, as long as `patience` lasts.
    pub(crate) async fn flush(self, patience: &Patience) {
        let Self { entries, mut shipper, .. } = self;
        drop(entries);
        tokio::select! {
            ended = &mut shipper => {
                if let Err(panic) = ended {
                    warn!(%panic, "delivering the log failed");
                }
            }
            () = patience.over() => warn!("gave up on delivering the rest of the log"),
        }
    }
}
