//! Delivers one entry: opens it, then sends what is new until its end has arrived.
//!
//! A control plane of ours gets each byte once, at its offset. A stock one gets the whole text with
//! every update, so updates come at most once a second and less often as the text grows.

use super::calls::LogCalls;
use super::entry::{Delivered, Entry, View};
use crate::api::{ApiError, AppendOutcome, Backoff, JobAuth, LogText, retry};
use crate::text;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use wire::additions::{AppendLog, OUTPUT_REFUSED};
use wire::{LogEntry, LogEntryUpdate};

/// The most text in one call that appends or opens.
const CHUNK: usize = 1 << 20;
/// Output within this time goes out together.
const COALESCE: Duration = Duration::from_millis(20);
/// The shortest time between two updates with the whole text.
const UPDATE_PACE: Duration = Duration::from_secs(1);
/// The rate at which updates with the whole text may cost traffic, in bytes per second.
const UPDATE_RATE: u64 = 2 << 20;
/// How often in a row the control plane may send us back without a byte of progress.
const MAX_REWINDS: u32 = 20;
/// How many times in a row an append may be answered as by a control plane that does not know the call.
const MOST_UNKNOWN: u32 = 3;

/// For how long an entry that has ended waits for room: a job's end waits for its log, and the room may not come back for hours.
pub(super) const ROOM_PATIENCE: Duration = Duration::from_mins(1);

/// Since when there is no room for the rest of an entry that has ended.
#[derive(Debug, Default)]
struct NoRoom(Option<Instant>);

impl NoRoom {
    /// Whether that was waited for long enough, now that a call failed.
    fn lasts(&mut self, error: &ApiError, entry: &Entry) -> bool {
        if !error.is_no_room() || entry.view().end.is_none() {
            self.0 = None;
            return false;
        }
        self.0.get_or_insert_with(Instant::now).elapsed() >= ROOM_PATIENCE
    }
}

pub(super) struct Delivery {
    api: Arc<dyn LogCalls>,
    job: JobAuth,
    entry: Arc<Entry>,
    /// Fires when there is no more patience.
    give_up: CancellationToken,
    id: i64,
    /// What the control plane has for sure.
    acked: u64,
    end_acked: bool,
    sent_at: Option<Instant>,
    rewinds: u32,
    /// How many times in a row it seemed to know nothing of appending.
    unknown: u32,
}

impl Delivery {
    /// Opens the entry, with the text there is by now. A command that has ended already needs no
    /// other call.
    pub(super) async fn open(
        api: Arc<dyn LogCalls>,
        job: JobAuth,
        entry: Arc<Entry>,
        give_up: CancellationToken,
    ) -> Result<Self, ApiError> {
        if let Some(delivered) = entry.delivered() {
            // Somebody else has opened it.
            return Ok(Self::of(api, job, entry, give_up, delivered));
        }
        let (mut backoff, mut without_text) = (Backoff::default(), false);
        loop {
            let view = entry.view();
            without_text |= give_up.is_cancelled();
            let out = if without_text { String::new() } else { read(&entry, 0, CHUNK)? };
            let acked = out.len() as u64;
            let end = view.end.filter(|_| acked == view.len);
            let log_entry = LogEntry {
                exit_code: end.map(|end| end.exit_code),
                duration_ms: end.map(|end| end.duration_ms),
                out,
                ..describe(&*api, &job, &entry)
            };
            match api.add_entry(&job, &log_entry).await {
                Ok(id) => {
                    let (sent_at, end_acked) = (Some(Instant::now()), end.is_some());
                    let sent_at = sent_at.filter(|_| !api.can_append());
                    let delivered = Delivered { id, acked };
                    entry.note_delivered(delivered);
                    return Ok(Self { end_acked, sent_at, ..Self::of(api, job, entry, give_up, delivered) });
                }
                // There is room for the entry. Its text waits, and keeps no other from being opened.
                Err(error) if error.is_no_room() && !without_text => without_text = true,
                Err(error) if error.may_pass() => {
                    // The last try, without the text, comes at once.
                    let pausing = pause(&mut backoff, &error);
                    if give_up.is_cancelled() {
                        pausing.await;
                    } else {
                        give_up.run_until_cancelled(pausing).await;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn of(
        api: Arc<dyn LogCalls>,
        job: JobAuth,
        entry: Arc<Entry>,
        give_up: CancellationToken,
        Delivered { id, acked }: Delivered,
    ) -> Self {
        let (end_acked, sent_at) = (false, None);
        Self { api, job, entry, give_up, id, acked, end_acked, sent_at, rewinds: 0, unknown: 0 }
    }

    /// Runs until the entry has ended and the control plane has all of it.
    pub(super) async fn run(mut self) -> Result<(), ApiError> {
        let (mut backoff, mut no_room) = (Backoff::default(), NoRoom::default());
        loop {
            let view = self.entry.view();
            if self.end_acked {
                return Ok(());
            }
            if view.len == self.acked && view.end.is_none() {
                self.wait(view.look_again).await;
                continue;
            }
            self.keep_pace(view.len).await;
            match self.send().await {
                Ok(()) => backoff.reset(),
                Err(error) if error.may_pass() => {
                    if no_room.lasts(&error, &self.entry) {
                        return self.end_without_the_rest().await;
                    }
                    self.note_unknown_call(&error);
                    if self.give_up.run_until_cancelled(pause(&mut backoff, &error)).await.is_none() {
                        return self.end_without_the_rest().await;
                    }
                }
                Err(error) if error.code() == Some(StatusCode::PAYLOAD_TOO_LARGE) => {
                    return self.end_without_the_rest().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn wait(&self, look_again: Option<Duration>) {
        let later = async {
            match look_again {
                Some(rest) => sleep(rest).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.entry.changed.notified() => {}
            () = later => {}
        }
    }

    /// Waits until the next call is due, or the entry has ended.
    async fn keep_pace(&self, len: u64) {
        let Some(sent_at) = self.sent_at else { return };
        let pace =
            if self.appends() { COALESCE } else { UPDATE_PACE.max(Duration::from_secs(len / UPDATE_RATE)) };
        let due = sent_at + pace;
        while self.entry.view().end.is_none() {
            tokio::select! {
                () = sleep_until(due) => return,
                () = self.entry.changed.notified() => {}
            }
        }
    }

    async fn send(&mut self) -> Result<(), ApiError> {
        let view = self.entry.view();
        if self.appends() { self.append(view).await } else { self.replace(view).await }?;
        self.entry.note_delivered(Delivered { id: self.id, acked: self.acked });
        self.sent_at = Some(Instant::now());
        Ok(())
    }

    async fn append(&mut self, view: View) -> Result<(), ApiError> {
        let room = usize::try_from(view.len - self.acked).map_or(CHUNK, |rest| rest.min(CHUNK));
        let chunk = read(&self.entry, self.acked, room)?;
        let sent_to = self.acked + chunk.len() as u64;
        let is_last = sent_to == view.len && view.end.is_some();
        let append = self.append_of(self.acked, chunk, view.filter_end(is_last));
        match self.api.append(&self.job, &append).await? {
            AppendOutcome::Taken => {
                self.acked = sent_to;
                self.end_acked = is_last;
                (self.rewinds, self.unknown) = (0, 0);
                Ok(())
            }
            AppendOutcome::EndsAt(end) => self.go_on_at(end.min(view.len)).await,
        }
    }

    /// The control plane has more or less of the text than we thought.
    async fn go_on_at(&mut self, end: u64) -> Result<(), ApiError> {
        debug!(job = %self.job.id, key = self.entry.key, from = self.acked, to = end, "log offset corrected");
        self.rewinds += 1;
        if self.rewinds > MAX_REWINDS {
            let source = std::io::Error::other("the control plane keeps asking for what it was sent");
            return Err(ApiError::Local { what: "append to the log", source });
        }
        if self.rewinds > 1 {
            sleep(COALESCE * self.rewinds).await;
        }
        self.acked = end;
        Ok(())
    }

    async fn replace(&mut self, view: View) -> Result<(), ApiError> {
        let text: Arc<dyn LogText> = Arc::clone(&self.entry) as _;
        self.api.put_entry(&self.job, self.update_of(view), text, view.len).await?;
        self.acked = view.len;
        self.end_acked = view.end.is_some();
        Ok(())
    }

    /// The control plane's own limit for this entry is reached, or our patience over. Its end is told all the same,
    /// with a word on the missing text if even that is taken.
    async fn end_without_the_rest(self) -> Result<(), ApiError> {
        warn!(job = %self.job.id, key = self.entry.key, "the control plane takes no more output of this entry");
        let view = loop {
            let view = self.entry.view();
            if view.end.is_some() {
                break view;
            }
            self.wait(view.look_again).await;
        };
        for more in [OUTPUT_REFUSED, ""] {
            match retry("end a log entry", || self.send_end(view, more)).await {
                Err(error) if error.code() == Some(StatusCode::PAYLOAD_TOO_LARGE) => {}
                outcome => return outcome,
            }
        }
        Ok(())
    }

    /// Sends the end of an entry whose text ends with what was taken so far and `more`.
    async fn send_end(&self, view: View, more: &str) -> Result<(), ApiError> {
        if self.appends() {
            let append = self.append_of(self.acked, more.to_owned(), view);
            return self.api.append(&self.job, &append).await.map(drop);
        }
        let text = Shortened { entry: Arc::clone(&self.entry), len: self.acked, more: more.to_owned() };
        let length = self.acked + more.len() as u64;
        self.api.put_entry(&self.job, self.update_of(view), Arc::new(text), length).await
    }

    fn update_of(&self, view: View) -> LogEntryUpdate {
        LogEntryUpdate {
            entry_id: self.id,
            entry: LogEntry {
                exit_code: view.end.map(|end| end.exit_code),
                duration_ms: view.end.map(|end| end.duration_ms),
                ..describe(&*self.api, &self.job, &self.entry)
            },
        }
    }

    fn append_of(&self, offset: u64, chunk: String, view: View) -> AppendLog {
        AppendLog {
            executor_name: self.api.executor_name().to_owned(),
            job_id: self.job.id,
            entry_id: self.id,
            offset,
            chunk,
            exit_code: view.end.map(|end| end.exit_code),
            duration_ms: view.end.map(|end| end.duration_ms),
        }
    }

    fn appends(&self) -> bool {
        self.api.can_append() && self.unknown < MOST_UNKNOWN
    }

    /// A control plane that knows nothing of appending after all says so with 404 or 405, but so does much that may
    /// stand in front of it for a while.
    fn note_unknown_call(&mut self, error: &ApiError) {
        if !self.appends() {
            return;
        }
        match error.code() {
            Some(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) => self.unknown += 1,
            _ => self.unknown = 0,
        }
    }
}

impl View {
    /// The view as it is, or one that has not ended.
    fn filter_end(self, keep: bool) -> Self {
        Self { end: self.end.filter(|_| keep), ..self }
    }
}

/// The beginning of an entry's text, and a word on what is missing.
struct Shortened {
    entry: Arc<Entry>,
    len: u64,
    more: String,
}

impl LogText for Shortened {
    fn read(&self, offset: u64, limit: usize) -> std::io::Result<String> {
        let Some(after) = offset.checked_sub(self.len) else {
            let room = usize::try_from(self.len - offset).map_or(limit, |rest| rest.min(limit));
            return self.entry.read(offset, room);
        };
        let rest = &self.more[usize::try_from(after).unwrap_or(usize::MAX).min(self.more.len())..];
        Ok(text::begin(rest, limit).to_owned())
    }
}

fn describe(api: &dyn LogCalls, job: &JobAuth, entry: &Entry) -> LogEntry {
    LogEntry {
        executor_name: api.executor_name().to_owned(),
        job_id: job.id,
        key: entry.key.clone(),
        command: entry.command.clone(),
        start_time: entry.start_time,
        exit_code: None,
        out: String::new(),
        duration_ms: None,
    }
}

fn read(entry: &Entry, offset: u64, limit: usize) -> Result<String, ApiError> {
    entry.read(offset, limit).map_err(|source| ApiError::Local { what: "read back the log", source })
}

async fn pause(backoff: &mut Backoff, error: &ApiError) {
    sleep(backoff.pause_after("deliver a log entry", error)).await;
}
