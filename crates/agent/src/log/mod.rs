//! The log of one job: entries are written here and delivered in the background.
//!
//! Nothing here fails a job or makes one wait, however long the control plane is away: text waits
//! on disk, up to a limit per entry and one for all. What can't be delivered is told once, in the agent's own log.

mod backlog;
mod calls;
mod delivery;
mod entry;
mod kept;
mod lines;
#[cfg(test)]
mod no_room;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod plane;
mod quota;
mod shipper;
mod spool;
mod tail;
mod utf8;

pub(crate) use entry::{EntryWriter, NO_EXIT_CODE};
pub(crate) use kept::{KeptEntry, Undelivered, deliver_kept};

use crate::api::{Api, JobAuth, Patience};
use calls::LogCalls;
use entry::Entry;
use jobs::Redactor;
use quota::Quota;
use spool::Spool;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

/// Entries that wait to be opened: more than most jobs have at all. What a job opens beyond that
/// while the control plane is away is left out, since a step must not wait.
const MOST_WAITING: usize = 1_000;

/// The log of one job.
pub(crate) struct JobLog {
    api: Api,
    redactor: Redactor,
    quota: Quota,
    entries: mpsc::Sender<Arc<Entry>>,
    /// Those that may not be delivered yet, in the order in which they were opened.
    opened: Mutex<Vec<Weak<Entry>>>,
    /// Some did not fit into `entries`.
    left_out: AtomicBool,
    shipper: AbortOnDropHandle<()>,
    /// There is no more patience with what is not taken.
    give_up: CancellationToken,
}

impl JobLog {
    /// Begins to deliver what will be written.
    pub(crate) fn start(api: Api, job: JobAuth, redactor: Redactor) -> Self {
        Self::with_calls(Arc::new(api.clone()), api, job, redactor)
    }

    fn with_calls(calls: Arc<dyn LogCalls>, api: Api, job: JobAuth, redactor: Redactor) -> Self {
        let (entries, queue) = mpsc::channel(MOST_WAITING);
        let give_up = CancellationToken::new();
        let shipper = AbortOnDropHandle::new(tokio::spawn(shipper::ship(calls, job, queue, give_up.clone())));
        let (opened, left_out) = (Mutex::default(), AtomicBool::new(false));
        let quota = Quota::new(api.config().job_log_cap);
        Self { api, redactor, quota, entries, opened, left_out, shipper, give_up }
    }

    /// Opens an entry; `command` is redacted here.
    pub(crate) fn entry(&self, key: &str, command: Option<&[String]>) -> EntryWriter {
        let config = self.api.config();
        let spool = Spool::new(config.work_dir.clone(), config.log_cap, &self.quota);
        let entry = Arc::new(Entry::new(key, command, &self.redactor, spool, config.monitor.clone()));
        match self.entries.try_send(Arc::clone(&entry)) {
            Ok(()) => self.note_opened(&entry),
            Err(TrySendError::Full(entry)) if !self.left_out.swap(true, Ordering::Relaxed) => warn!(
                key = entry.key,
                "too many log entries wait for the control plane: from here on some are left out"
            ),
            Err(_) => {}
        }
        EntryWriter(entry)
    }

    fn note_opened(&self, entry: &Arc<Entry>) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        // Whatever was delivered is gone.
        opened.retain(|entry| entry.strong_count() > 0);
        opened.push(Arc::downgrade(entry));
    }

    /// What the control plane does not have yet, for somebody else to deliver. Call it once all entries are closed.
    pub(crate) fn undelivered(&self) -> Undelivered {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        Undelivered::of(opened.iter().filter_map(Weak::upgrade).collect(), self.api.can_append())
    }

    /// A text without the job's secrets.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.redactor.redact(text)
    }

    /// Waits until everything is delivered that can be, as long as `patience` lasts; tells whether that was so.
    pub(crate) async fn flush(self, patience: &Patience) -> bool {
        let Self { entries, shipper, give_up, .. } = self;
        drop(entries);
        match shipper::wait(shipper, &give_up, patience).await {
            Some(Err(panic)) => warn!(%panic, "delivering the log failed"),
            Some(Ok(())) => {}
            None => return false,
        }
        true
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
