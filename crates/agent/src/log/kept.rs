//! The rest of a log that its writer could not deliver: plain data and a text, which may be kept in a file and be
//! delivered from there by somebody else.

use super::calls::LogCalls;
use super::entry::{Delivered, End, Entry, NO_EXIT_CODE};
use super::shipper;
use super::spool::Spool;
use crate::api::{Api, JobAuth, LogText, Patience};
use crate::monitor::Monitor;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How much text is copied at a time, in bytes.
const PIECE: usize = 256 << 10;

/// One entry without its text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptEntry {
    key: String,
    /// Redacted, as the text is.
    command: Option<Vec<String>>,
    start_time: Timestamp,
    end: End,
    delivered: Option<Delivered>,
    /// How long its text is, and from which byte on it is kept.
    len: u64,
    begin: u64,
}

/// What a control plane does not have of a log whose entries are all closed.
pub(crate) struct Undelivered(Vec<(KeptEntry, Arc<Entry>)>);

impl Undelivered {
    /// Where the control plane `appends`, what it has of a text is not needed any more.
    pub(super) fn of(entries: Vec<Arc<Entry>>, appends: bool) -> Self {
        let kept = |entry: &Arc<Entry>| {
            let (view, delivered) = (entry.view(), entry.delivered());
            let begin = delivered.filter(|_| appends).map_or(0, |delivered| delivered.acked);
            KeptEntry {
                key: entry.key.clone(),
                command: entry.command.clone(),
                start_time: entry.start_time,
                end: view.end.unwrap_or(End { exit_code: NO_EXIT_CODE, duration_ms: 0 }),
                delivered,
                len: view.len,
                begin,
            }
        };
        Self(entries.into_iter().map(|entry| (kept(&entry), entry)).collect())
    }

    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// All but the texts.
    pub(crate) fn entries(&self) -> Vec<KeptEntry> {
        self.0.iter().map(|(kept, _)| kept.clone()).collect()
    }

    /// Writes the texts, one after the other.
    pub(crate) fn write_texts(&self, to: &mut impl Write) -> io::Result<()> {
        for (kept, entry) in &self.0 {
            let mut at = kept.begin;
            while at < kept.len {
                let room = usize::try_from(kept.len - at).map_or(PIECE, |rest| rest.min(PIECE));
                let piece = entry.read(at, room)?;
                if piece.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                to.write_all(piece.as_bytes())?;
                at += piece.len() as u64;
            }
        }
        Ok(())
    }
}

/// Delivers what was kept: `entries`, whose texts follow each other in `file` from `at` on. Returns when every one is
/// delivered, or can't be any more, or `patience` is over.
pub(crate) async fn deliver_kept(
    api: &Api,
    job: &JobAuth,
    entries: Vec<KeptEntry>,
    (file, at): (File, u64),
    patience: &Patience,
) {
    let give_up = CancellationToken::new();
    let calls = Arc::new(api.clone());
    let delivering = deliver(calls, &api.config().monitor, job, entries, (file, at), give_up.clone());
    shipper::wait(delivering, &give_up, patience).await;
}

async fn deliver(
    calls: Arc<dyn LogCalls>,
    monitor: &Monitor,
    job: &JobAuth,
    entries: Vec<KeptEntry>,
    (file, mut at): (File, u64),
    give_up: CancellationToken,
) {
    let (sender, queue) = mpsc::channel(entries.len().max(1));
    let file = Arc::new(file);
    for KeptEntry { key, command, start_time, end, delivered, len, begin } in entries {
        let spool = Spool::kept(Arc::clone(&file), at, begin, len);
        at += len.saturating_sub(begin);
        let entry = Entry::complete(&key, command, start_time, (spool, end), delivered, monitor.clone());
        // There is room for all.
        let _ = sender.try_send(Arc::new(entry));
    }
    drop(sender);
    shipper::ship(calls, job.clone(), queue, give_up).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::entry::EntryWriter;
    use crate::log::plane::{Plane, Told};
    use crate::log::quota::Quota;
    use jobs::Redactor;
    use runtimes::Stream;
    use secrecy::SecretString;
    use std::sync::Mutex;
    use tokio::time::Instant;
    use wire::JobId;

    fn lines(before: &str) -> String {
        (0..5_000).flat_map(|n| [before.to_owned(), format!("line {n}\n")]).collect()
    }

    fn entry(key: &str, text: &str, delivered: Option<Delivered>) -> Arc<Entry> {
        let spool = Spool::new(std::env::temp_dir(), 1 << 30, &Quota::new(1 << 30));
        let entry = Arc::new(Entry::new(key, None, &Redactor::default(), spool, Monitor::default()));
        let writer = EntryWriter(Arc::clone(&entry));
        writer.output(Stream::Stdout, text.as_bytes());
        writer.close(7);
        if let Some(delivered) = delivered {
            entry.note_delivered(delivered);
        }
        entry
    }

    /// Two entries, the first of which is known by its first 12 bytes; kept as by a process that ends then.
    async fn delivered_later(appends: bool) -> Vec<Told> {
        let lines = lines("");
        let known = Some(Delivered { id: 1, acked: 12 });
        let entries = vec![entry("one", &lines, known), entry("two", "short\n", None)];
        let undelivered = Undelivered::of(entries, appends);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"what comes first").unwrap();
        undelivered.write_texts(&mut file).unwrap();
        let kept = serde_json::to_string(&undelivered.entries()).unwrap();
        drop(undelivered);

        let first = ("one".to_owned(), "stdout: line".to_owned(), None);
        let plane =
            Arc::new(Plane { appends, room_from: Some(Instant::now()), entries: Mutex::new(vec![first]) });
        let calls: Arc<dyn LogCalls> = Arc::clone(&plane) as _;
        let job = JobAuth { id: JobId(1), queue: "q".to_owned(), token: SecretString::from("t") };
        let kept = serde_json::from_str(&kept).unwrap();
        let texts = (file, b"what comes first".len() as u64);
        deliver(calls, &Monitor::default(), &job, kept, texts, CancellationToken::new()).await;
        plane.entries.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn what_was_kept_is_delivered_whole_and_once() {
        let lines = lines("stdout: ");
        for appends in [true, false] {
            let told = |key: &str, text: &str| (key.to_owned(), text.to_owned(), Some(7));
            let all = delivered_later(appends).await;
            assert_eq!(all, [told("one", &lines), told("two", "stdout: short\n")], "{appends}");
        }
    }

    #[test]
    fn a_text_is_kept_from_where_it_is_needed() {
        let entries = || vec![entry("one", "0123456789\n", Some(Delivered { id: 1, acked: 10 }))];
        let kept = |appends| {
            let mut text = Vec::new();
            Undelivered::of(entries(), appends).write_texts(&mut text).unwrap();
            String::from_utf8(text).unwrap()
        };
        assert_eq!((kept(true).as_str(), kept(false).as_str()), ("23456789\n", "stdout: 0123456789\n"));
    }
}
