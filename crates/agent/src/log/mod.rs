//! The log of one job: entries are written here and delivered in the background.
//!
//! Nothing here fails a job or makes one wait, however long the control plane is away: text waits
//! on disk, up to a limit per entry. What can't be delivered is told once, in the agent's own log.

mod backlog;
mod calls;
mod delivery;
mod entry;
mod lines;
#[cfg(test)]
mod outages;
mod shipper;
mod spool;
mod tail;
mod utf8;

pub(crate) use entry::{EntryWriter, NO_EXIT_CODE};

use crate::api::{Api, JobAuth, Patience};
use calls::LogCalls;
use entry::Entry;
use jobs::Redactor;
use spool::Spool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

/// Entries that wait to be opened: more than most jobs have at all. What a job opens beyond that
/// while the control plane is away is left out, since a step must not wait.
const MOST_WAITING: usize = 1_000;

/// The log of one job.
pub(crate) struct JobLog {
    api: Api,
    redactor: Redactor,
    entries: mpsc::Sender<Arc<Entry>>,
    /// Some did not fit into `entries`.
    left_out: AtomicBool,
    shipper: AbortOnDropHandle<()>,
}

impl JobLog {
    /// Begins to deliver what will be written.
    pub(crate) fn start(api: Api, job: JobAuth, redactor: Redactor) -> Self {
        Self::with_calls(Arc::new(api.clone()), api, job, redactor)
    }

    fn with_calls(calls: Arc<dyn LogCalls>, api: Api, job: JobAuth, redactor: Redactor) -> Self {
        let (entries, queue) = mpsc::channel(MOST_WAITING);
        let shipper = AbortOnDropHandle::new(tokio::spawn(shipper::ship(calls, job, queue)));
        Self { api, redactor, entries, left_out: AtomicBool::new(false), shipper }
    }

    /// Opens an entry; `command` is redacted here.
    pub(crate) fn entry(&self, key: &str, command: Option<&[String]>) -> EntryWriter {
        let config = self.api.config();
        let spool = Spool::new(config.work_dir.clone(), config.log_cap);
        let entry = Arc::new(Entry::new(key, command, &self.redactor, spool, config.monitor.clone()));
        if let Err(TrySendError::Full(entry)) = self.entries.try_send(Arc::clone(&entry))
            && !self.left_out.swap(true, Ordering::Relaxed)
        {
            warn!(
                key = entry.key,
                "too many log entries wait for the control plane: from here on some are left out"
            );
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AgentConfig;
    use secrecy::SecretString;
    use wire::JobId;

    #[tokio::test]
    async fn entries_that_nobody_takes_are_bounded() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let secret = SecretString::from("hunter2hunter2");
        let url = "http://127.0.0.1:1".parse().unwrap();
        let config = AgentConfig::new(url, secret.clone(), "batches", "agent-1", std::env::temp_dir());
        let auth = JobAuth { id: JobId(1), queue: "batches".to_owned(), token: secret };
        let api = Api::new(Arc::new(config)).unwrap();
        let log = JobLog::start(api, auth, Redactor::default());
        // The shipper does not run while this test does not wait.
        let writers: Vec<_> = (0..MOST_WAITING + 3).map(|_| log.entry("key", None)).collect();
        let waiting = writers.iter().filter(|writer| Arc::strong_count(&writer.0) > 1).count();
        assert_eq!(waiting, MOST_WAITING);
        writers.last().unwrap().line("can be written to all the same");
    }
}
