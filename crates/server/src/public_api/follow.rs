//! Following a job: what to tell of it next, from what was told so far.

use super::cursor::{Cursor, MAX_OPEN};
use super::paging::length;
use super::{jobs, sent, views};
use crate::answers::{Reader, Room};
use crate::api::{JobView, LogEvent};
use crate::app::App;
use crate::auth::principal::{Caller, Proof};
use crate::bodies::FREE;
use crate::pages::is_unseen;
use crate::public_api::Refusal;
use crate::slots::Slot;
use ::jobs::JobId;
use std::time::{Duration, Instant};
use store::{Change, JobRow, LogEntryRow};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::mpsc;
use tokio::time::sleep;

/// Bytes of text in one event at most.
const TEXT: usize = 32 << 10;
/// The same where they are more than they seem. So an event with text needs no room, neither as it is nor painted.
const ODD_TEXT: usize = 4 << 10;
/// Bytes that a line's end, a control character, or one that is not seen, may take when it is painted: its number, and what says how
/// it is painted.
const ODD: usize = 15;
/// Changes are hints and may be lost; so look again this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long entries wait for the end of one before them. Executors send each entry by itself, so that one may be opened before
/// the last lines of the one before it are here; but one may also end much later, or never, and then the others go on.
const IN_TURN: Duration = Duration::from_secs(5);

/// Entries that are told of before it is looked again which there are.
const AT_ONCE: usize = 4 * MAX_OPEN;

/// How often it is looked whether what the listener showed still is good.
const LOOK_AT_PROOF: Duration = Duration::from_secs(5);

/// An event, the cursor that resumes after it, and the room of one that is large.
pub(crate) struct Told {
    pub(crate) event: LogEvent,
    pub(crate) cursor: String,
    pub(crate) room: Room,
}

/// What is told that may be large.
enum About<'a> {
    /// Without its steps: of a job that is tried again and again they would be most of what is told.
    State(&'a JobRow),
    /// With its command: what changes by the second is texts, so commands are read only here.
    Entry(&'a LogEntryRow),
    /// With its steps.
    End(&'a JobRow),
}

/// Why following ended before the job did.
pub(super) enum Ended {
    /// Nobody listens any more, or the server stops.
    Left,
    /// The store failed.
    Failed(Refusal),
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Failed(refusal)
    }
}

impl From<store::StoreError> for Ended {
    fn from(fault: store::StoreError) -> Self {
        Self::Failed(fault.into())
    }
}

/// How it is waited for entries: for all that are there at one time at once, so that many take no longer than one.
#[derive(Debug, Clone, Copy)]
struct Wait {
    since: Instant,
    /// The last entry that was there then.
    up_to: i64,
}

/// Somebody who follows a job.
pub(super) struct Follower {
    app: App,
    id: JobId,
    cursor: Cursor,
    /// What is waited for, if something is.
    wait: Option<Wait>,
    /// The entries of this try up to this one were waited for, for as long as any is.
    passed: i64,
    /// Takes no more than a few events ahead of the client, so a slow client costs no memory.
    events: mpsc::Sender<Told>,
    /// Whose turns are taken for what costs much, and whose room for what is large.
    reader: Reader,
    /// What shows who listens, and when it was last looked whether that still is good.
    proof: Proof,
    looked_at: Instant,
}

impl Follower {
    /// One for whoever showed `proof`, from `cursor` on.
    pub(super) fn new(
        app: App,
        id: JobId,
        cursor: Cursor,
        events: mpsc::Sender<Told>,
        caller: &Caller,
    ) -> Self {
        let (reader, proof) = (Reader::from(caller), caller.proof);
        // Others came after all that were announced before the last one.
        let passed = cursor.seen - 1;
        let looked_at = Instant::now();
        Self { app, id, cursor, wait: None, passed, events, reader, proof, looked_at }
    }

    /// Tells everything until the job has ended.
    pub(super) async fn run(mut self) -> Result<(), Ended> {
        // Listen first, look second: what comes in between is not missed.
        let mut changes = self.app.store.changes();
        let mut shown = None;
        loop {
            self.look_at_proof().await?;
            let job = self.app.store.job(self.id).await?;
            self.turn_to_latest_try(&job).await?;
            self.tell_state(&job, &mut shown).await?;
            self.tell_log(job.record.state.is_terminal()).await?;
            if job.record.state.is_terminal() {
                return self.tell(About::End(&job)).await;
            }
            self.wait(&mut changes).await?;
        }
    }

    /// Leaves when the token was revoked, the session ended, or either has expired meanwhile.
    async fn look_at_proof(&mut self) -> Result<(), Ended> {
        if self.looked_at.elapsed() < LOOK_AT_PROOF {
            return Ok(());
        }
        self.looked_at = Instant::now();
        let good = match self.proof {
            Proof::Root => true,
            Proof::Token(token) => self.app.store.token_is_good(token).await?,
            Proof::Session(session) => {
                self.app.store.session_is_good(session, self.app.limits.sessions()).await?
            }
        };
        if good { Ok(()) } else { Err(Ended::Left) }
    }

    /// A new try begins a new log, after the rest of the one that was followed and all in between.
    /// Who has seen none yet begins with the latest.
    async fn turn_to_latest_try(&mut self, job: &JobRow) -> Result<(), Ended> {
        let latest = job.record.attempt();
        while (1..latest).contains(&self.cursor.attempt) {
            self.tell_log(true).await?;
            self.begin(self.cursor.attempt + 1);
        }
        if self.cursor.attempt != latest {
            self.begin(latest);
        }
        Ok(())
    }

    fn begin(&mut self, attempt: u32) {
        (self.cursor, self.wait, self.passed) = (Cursor::begin(attempt), None, 0);
    }

    async fn tell_state(&mut self, job: &JobRow, shown: &mut Option<JobView>) -> Result<(), Ended> {
        let view = views::job(job.clone());
        if shown.as_ref() != Some(&view) {
            *shown = Some(view);
            self.tell(About::State(job)).await?;
        }
        Ok(())
    }

    /// Tells what is new, in the order of the entries. `over`: no more of this try will come.
    async fn tell_log(&mut self, over: bool) -> Result<(), Ended> {
        if self.cursor.attempt == 0 {
            return Ok(());
        }
        loop {
            let rows = self.new_rows(over).await?;
            let is_all = rows.len() < AT_ONCE;
            for row in rows {
                self.tell_entry(row).await?;
            }
            if is_all {
                return Ok(());
            }
        }
    }

    /// Entries of which there is something to tell, the first of them only: who reads nothing keeps us waiting with these.
    async fn new_rows(&mut self, over: bool) -> Result<Vec<LogEntryRow>, Ended> {
        let Cursor { attempt, seen, .. } = self.cursor;
        // Many that ended are read again and again where one before them has not.
        let is_costly = usize::try_from(seen - self.cursor.done()).is_ok_and(|many| many > AT_ONCE);
        let _turn = if is_costly { Some(self.turn().await?) } else { None };
        let mut rows = self.app.store.log_outline(self.id, attempt, self.cursor.done(), u32::MAX).await?;
        let waited_for = if over { None } else { self.waited_for(&rows) };
        // What was announced goes on in any case.
        let up_to = waited_for.map_or(i64::MAX, |number| number.max(self.cursor.seen));
        rows.retain(|row| row.entry <= up_to && self.owes(row));
        rows.truncate(AT_ONCE);
        rows.shrink_to_fit();
        Ok(rows)
    }

    /// Whether there is something to tell of an entry.
    fn owes(&self, row: &LogEntryRow) -> bool {
        let is_new = row.entry > self.cursor.seen;
        let goes_on = |sent| row.exit_code.is_some() || row.length > sent;
        is_new || self.cursor.offset(row.entry).is_some_and(goes_on)
    }

    /// The first entry that has not ended and that others wait for.
    fn waited_for(&mut self, rows: &[LogEntryRow]) -> Option<i64> {
        let last = rows.last()?.entry;
        let first = |above: i64| {
            let mut open = rows.iter().filter(|row| row.exit_code.is_none() && row.entry > above);
            open.find(|row| row.entry < last && self.cursor.offset(row.entry).is_some()).map(|row| row.entry)
        };
        let mut number = first(self.passed);
        if let (Some(waited_for), Some(wait)) = (number, self.wait)
            && waited_for <= wait.up_to
            && wait.since.elapsed() >= IN_TURN
        {
            (self.passed, self.wait) = (wait.up_to, None);
            number = first(self.passed);
        }
        match (number, self.wait) {
            (None, _) => self.wait = None,
            (Some(number), Some(wait)) if number <= wait.up_to => {}
            (Some(_), _) => self.wait = Some(Wait { since: Instant::now(), up_to: last }),
        }
        number
    }

    /// Tells that the entry was opened, its text, and that it ended: each once, in this order.
    async fn tell_entry(&mut self, entry: LogEntryRow) -> Result<(), Ended> {
        if entry.entry > self.cursor.seen {
            self.cursor.announce(entry.entry, 0);
            let opened = LogEntryRow { exit_code: None, duration_ms: None, ..entry.clone() };
            self.tell(About::Entry(&opened)).await?;
        }
        self.tell_text(&entry).await?;
        if entry.exit_code.is_some() {
            self.cursor.end(entry.entry);
            self.tell(About::Entry(&entry)).await?;
        }
        Ok(())
    }

    async fn tell_text(&mut self, entry: &LogEntryRow) -> Result<(), Ended> {
        let number = entry.entry;
        loop {
            let Some(&offset) = self.cursor.open.get(&number) else { return Ok(()) };
            if offset >= entry.length {
                return Ok(());
            }
            let (mut event, mut bytes) = self.text(entry, offset, TEXT).await?;
            if is_odd(&event) {
                (event, bytes) = self.text(entry, offset, ODD_TEXT).await?;
            }
            if bytes == 0 {
                return Ok(());
            }
            self.cursor.announce(number, offset + bytes as u64);
            self.pass_on(event, Room::of_little()).await?;
        }
    }

    /// Up to `most` bytes of an entry's text from `offset` on, and how many they are.
    async fn text(&self, entry: &LogEntryRow, offset: u64, most: usize) -> Result<(LogEvent, usize), Ended> {
        let (attempt, entry) = (entry.epoch, entry.entry);
        let bytes = self.app.store.read_log(self.id, attempt, entry, offset, most).await?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok((LogEvent::Text { attempt, entry, offset, text }, bytes.len()))
    }

    /// Tells what may be large, which has its room before it waits for its client. While there is none it is nowhere in memory:
    /// many may wait for room at one time.
    async fn tell(&self, about: About<'_>) -> Result<(), Ended> {
        let mut kept: Option<(usize, Room)> = None;
        loop {
            let event = self.event(&about).await?;
            let bytes = length(&event);
            let room = match kept.take() {
                Some((most, room)) if bytes <= most => Some(room),
                _ => self.app.answers.room(&self.reader, bytes),
            };
            if let Some(room) = room {
                return self.pass_on(event, room).await;
            }
            drop(event);
            kept = Some((bytes, self.room(bytes).await?));
        }
    }

    async fn event(&self, about: &About<'_>) -> Result<LogEvent, Ended> {
        Ok(match *about {
            About::State(job) => {
                LogEvent::State(Box::new(jobs::with_earlier_tries(&self.app, job.clone()).await?))
            }
            About::Entry(row) => {
                let command = self.app.store.log_command(self.id, row.epoch, row.entry).await?;
                LogEvent::Entry(views::log_entry(LogEntryRow { command, ..row.clone() }))
            }
            About::End(job) => {
                // All that follow a job come to its end at one time.
                let _turn = self.turn().await?;
                LogEvent::End(Box::new(jobs::with_steps(&self.app, job.clone()).await?))
            }
        })
    }

    /// A turn for what costs much, for as long as somebody listens.
    async fn turn(&self) -> Result<Slot, Ended> {
        tokio::select! {
            () = self.app.stop.cancelled() => Err(Ended::Left),
            () = self.events.closed() => Err(Ended::Left),
            turn = sent::turn_in_time(&self.app, &self.reader) => Ok(turn),
        }
    }

    /// Room for so many bytes, for as long as somebody listens.
    async fn room(&self, bytes: usize) -> Result<Room, Ended> {
        tokio::select! {
            () = self.app.stop.cancelled() => Err(Ended::Left),
            () = self.events.closed() => Err(Ended::Left),
            room = self.app.answers.room_in_time(&self.reader, bytes) => Ok(room),
        }
    }

    /// Passes an event on, no faster than the client takes it.
    async fn pass_on(&self, event: LogEvent, room: Room) -> Result<(), Ended> {
        let told = Told { event, cursor: self.cursor.to_string(), room };
        tokio::select! {
            () = self.app.stop.cancelled() => Err(Ended::Left),
            sent = self.events.send(told) => sent.map_err(|_| Ended::Left),
        }
    }

    /// Waits until there may be news.
    async fn wait(&self, changes: &mut Receiver<Change>) -> Result<(), Ended> {
        tokio::select! {
            () = self.app.stop.cancelled() => Err(Ended::Left),
            () = self.events.closed() => Err(Ended::Left),
            () = sleep(LOOK_AGAIN) => Ok(()),
            () = news(changes, self.id) => Ok(()),
        }
    }
}

/// Whether text takes far more room than it has bytes.
fn is_odd(event: &LogEvent) -> bool {
    let LogEvent::Text { text, .. } = event else { return false };
    let odd = text.chars().filter(|&c| c.is_control() || is_unseen(c)).count();
    text.len() + odd * ODD > FREE
}

/// Returns when something happened to the job. Everything heard of it by then is one piece of news.
async fn news(changes: &mut Receiver<Change>, id: JobId) {
    let about_it = |change: &Change| matches!(change, Change::Job(of) | Change::Log(of) if *of == id);
    loop {
        match changes.recv().await {
            Ok(change) if about_it(&change) => break,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => break,
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
    while let Ok(_) | Err(TryRecvError::Lagged(_)) = changes.try_recv() {}
}
