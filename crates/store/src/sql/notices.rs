//! Telling those who wait that something changed: in this process, and where several servers share a database, in all of
//! them.
//!
//! A notice is a hint. It is given after the change, apart from its transaction: a database that has many writers tells
//! such notices one by one, and they would wait for each other. Whoever dies in between has told nobody; those who wait
//! look again now and then. Where it is known that something was not told, or not heard, that is told instead: then
//! whoever hears of it believes nothing of what it knew.

use super::lanes::Lanes;
use super::news::News;
use crate::error::StoreError;
use crate::model::Change;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

/// Changes that a slow listener may fall behind by before it misses some.
const CAPACITY: usize = 4_096;
/// Changes that wait for being told to other servers; more are not told.
const OUTBOX: usize = 16_384;
/// Changes that are told other servers at once at most.
const AT_ONCE: usize = 512;
/// Bytes that the database takes as one notice: 8000, and some to spare.
const MAX_NOTICE_BYTES: usize = 7_900;
/// How long to wait before the database is asked again that could not be.
const PAUSE: Duration = Duration::from_secs(1);
/// What notices are told under.
const CHANNEL: &str = "executor_changes";
/// Nobody needs a notice any more after the power was lost.
const TELL: &str = "SELECT set_config('synchronous_commit', 'off', true), pg_notify('executor_changes', $1)";

/// Who is told of changes.
pub(super) struct Notices {
    here: broadcast::Sender<Change>,
    /// Hears everything before those who wait for it.
    lanes: Arc<Lanes>,
    elsewhere: Option<Elsewhere>,
}

/// The other servers of a database.
struct Elsewhere {
    outbox: mpsc::Sender<News>,
    /// Whether there was no room in it.
    untold: Arc<AtomicBool>,
    teller: JoinHandle<()>,
    listener: JoinHandle<()>,
}

impl Notices {
    /// For those in this process.
    pub(super) fn here(lanes: Arc<Lanes>) -> Self {
        Self { here: broadcast::channel(CAPACITY).0, lanes, elsewhere: None }
    }

    /// For those in every process that has this database.
    pub(super) async fn everywhere(pool: PgPool, lanes: Arc<Lanes>) -> Result<Self, StoreError> {
        let mut notices = Self::here(Arc::clone(&lanes));
        let listener = listener(&pool).await?;
        let own = own_name()?;
        let (outbox, inbox) = mpsc::channel(OUTBOX);
        let untold = Arc::<AtomicBool>::default();
        notices.elsewhere = Some(Elsewhere {
            outbox,
            untold: Arc::clone(&untold),
            teller: tokio::spawn(tell(pool.clone(), own.clone(), inbox, untold)),
            listener: tokio::spawn(listen(pool, listener, own, notices.here.clone(), lanes)),
        });
        Ok(notices)
    }

    /// Nobody listening is fine.
    pub(super) fn announce(&self, news: News) {
        if let Some(elsewhere) = &self.elsewhere
            && elsewhere.outbox.try_send(news.clone()).is_err()
        {
            elsewhere.untold.store(true, Ordering::Release);
        }
        let _ = self.here.send(news.heard(&self.lanes));
    }

    /// The same for those in this process alone.
    pub(super) fn announce_here(&self, change: Change) {
        let _ = self.here.send(change);
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.here.subscribe()
    }

    /// Ends what holds connections.
    pub(super) async fn close(&self) {
        let Some(elsewhere) = &self.elsewhere else { return };
        elsewhere.teller.abort();
        elsewhere.listener.abort();
        while !(elsewhere.teller.is_finished() && elsewhere.listener.is_finished()) {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.teller.abort();
        self.listener.abort();
    }
}

/// Tells other servers what changed, many changes at once when there are many.
async fn tell(pool: PgPool, own: String, mut inbox: mpsc::Receiver<News>, untold: Arc<AtomicBool>) {
    let mut changes = Vec::new();
    while inbox.recv_many(&mut changes, AT_ONCE).await > 0 {
        if untold.swap(false, Ordering::Acquire) {
            changes.push(News::Rules);
        }
        for notice in notices(&own, &changes) {
            if let Err(error) = tell_one(&pool, &notice).await {
                tracing::warn!(%error, "could not tell other servers what changed; they will be told to look at all");
                tell_to_look(&pool, &own).await;
                break;
            }
        }
        changes.clear();
    }
}

/// Has others believe nothing of what they know, as soon as they can be told.
async fn tell_to_look(pool: &PgPool, own: &str) {
    for notice in notices(own, &[News::Rules]) {
        while tell_one(pool, &notice).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn tell_one(pool: &PgPool, notice: &str) -> Result<(), sqlx::Error> {
    sqlx::query(TELL).bind(notice).execute(pool).await.map(drop)
}

async fn listener(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Passes on what other servers say.
async fn listen(
    pool: PgPool,
    mut listener: PgListener,
    own: String,
    here: broadcast::Sender<Change>,
    lanes: Arc<Lanes>,
) {
    loop {
        match listener.try_recv().await {
            Ok(Some(notice)) => {
                for news in read(&own, notice.payload()) {
                    let _ = here.send(news.heard(&lanes));
                }
                continue;
            }
            // The connection was lost, and is there again.
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the database does not tell what other servers change; asking again");
                listener = listen_again(&pool).await;
            }
        }
        // Only now that it listens again: what was told meanwhile is lost.
        let _ = here.send(News::Rules.heard(&lanes));
    }
}

async fn listen_again(pool: &PgPool) -> PgListener {
    loop {
        tokio::time::sleep(PAUSE).await;
        if let Ok(listener) = listener(pool).await {
            return listener;
        }
    }
}

/// Who tells something, so that it is not told itself.
fn own_name() -> Result<String, StoreError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Database(Box::new(error)))?;
    Ok(hex::encode(bytes))
}

/// Notices that tell of `changes`, each once.
fn notices(own: &str, changes: &[News]) -> Vec<String> {
    let mut told = HashSet::new();
    let mut notices = Vec::new();
    let mut notice = own.to_owned();
    for change in changes.iter().filter(|change| told.insert(*change)) {
        let word = change.word();
        if notice.len() + 1 + word.len() > MAX_NOTICE_BYTES {
            notices.push(std::mem::replace(&mut notice, own.to_owned()));
        }
        let _ = write!(notice, " {word}");
    }
    notices.push(notice);
    notices
}

/// What another server told. What a later version may say besides is passed over.
fn read<'a>(own: &str, notice: &'a str) -> impl Iterator<Item = News> + use<'a> {
    let mut words = notice.split(' ');
    let is_own = words.next() == Some(own);
    words.filter(move |_| !is_own).filter_map(News::read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::lanes::Rules;
    use jobs::JobId;
    use testkit::Postgres;

    #[test]
    fn what_is_told_is_understood_by_others_only() {
        let queued = News::Queued { queue: "batches".into(), lane: 3, rank: -5 };
        let room = News::Room("codeintel".into());
        let changes = [queued, room, News::Job(JobId(7)), News::Log(JobId(7)), News::Rules];
        let twice: Vec<_> = changes.iter().chain(&changes).cloned().collect();
        let told = notices("me", &twice);
        assert_eq!(told, ["me q3:-5:batches fcodeintel j7 l7 r"]);
        assert_eq!(read("you", &told[0]).collect::<Vec<_>>(), changes);
        assert_eq!(read("me", &told[0]).count(), 0);
        assert_eq!(read("me", "you zebra q1:2 qx:2:b j x jx l9").collect::<Vec<_>>(), [News::Log(JobId(9))]);
    }

    /// More than there is room for: others are told that they missed something.
    #[tokio::test]
    async fn what_can_not_be_told_is_told_of() {
        let Some(postgres) = Postgres::start("what_can_not_be_told_is_told_of") else { return };
        let pool = PgPool::connect(&postgres.url()).await.unwrap();
        let lanes = Arc::<Lanes>::default();
        let here = Notices::everywhere(pool.clone(), Arc::default()).await.unwrap();
        let _there = Notices::everywhere(pool, Arc::clone(&lanes)).await.unwrap();
        lanes.learn(Vec::new(), HashSet::new(), Rules::default(), lanes.since());
        assert!(!lanes.is_stale());
        for id in 0..2 * OUTBOX as i64 {
            here.announce(News::Job(JobId(id)));
        }
        let told = async {
            while !lanes.is_stale() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
    }

    #[test]
    fn many_changes_are_several_notices() {
        let changes: Vec<_> = (0..10_000).map(|id| News::Job(JobId(id))).collect();
        let told = notices("0123456789abcdef", &changes);
        assert!(told.len() > 1 && told.iter().all(|notice| notice.len() <= MAX_NOTICE_BYTES));
        let read: Vec<_> = told.iter().flat_map(|notice| read("other", notice)).collect();
        assert_eq!(read, changes);
    }
}
