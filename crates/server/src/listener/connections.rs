//! Who is connected, what each is at, and who gives way when there is no room for another.
//!
//! A connection is *silent* until the head of its first request is there, *busy* from the head of a
//! request to the end of its answer, and *idle* between two requests. Busy ones are left alone; of the
//! others one gives way to each that comes when all places are taken. It is one of whoever holds most
//! of them, so that nobody is crowded out by somebody else; of these a silent one rather than an idle
//! one, and the oldest. As busy ones give no way, no host may have all places with those.

use crate::body::Along;
use crate::peer::Peer;
use axum::body::Body;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// One of so many places is kept free of one host's busy connections.
const KEPT_FOR_OTHERS: usize = 4;

/// All connections.
pub(super) struct Connections {
    entries: Mutex<BTreeMap<u64, Entry>>,
    places: Arc<Semaphore>,
    /// Busy ones of one host at most.
    busy_per_peer: usize,
    /// A connection that could not give way before may be able to now.
    look_again: Notify,
}

struct Entry {
    peer: Peer,
    activity: Activity,
    /// It is asked to give way.
    asked: bool,
    leave: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    Silent(Instant),
    Busy,
    Idle(Instant),
}

impl Connections {
    /// Room for so many, of which one host may have so many busy ones, but never all.
    pub(super) fn new(places: usize, busy_per_peer: usize) -> Arc<Self> {
        let busy_per_peer = busy_per_peer.min(places - places / KEPT_FOR_OTHERS);
        let (entries, look_again) = (Mutex::default(), Notify::new());
        Arc::new(Self { entries, places: Arc::new(Semaphore::new(places)), busy_per_peer, look_again })
    }

    /// Makes room for another connection, or waits for it when all are busy.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                return Some(place);
            }
            self.ask_one_to_leave();
            tokio::select! {
                place = Arc::clone(&self.places).acquire_owned() => return place.ok(),
                () = self.look_again.notified() => {}
            }
        }
    }

    /// Another connection, which takes up its place until it is dropped.
    pub(super) fn join(self: &Arc<Self>, peer: Peer, place: OwnedSemaphorePermit) -> Arc<Connection> {
        let leave = Arc::new(Notify::new());
        let entry = Entry {
            peer,
            activity: Activity::Silent(Instant::now()),
            asked: false,
            leave: Arc::clone(&leave),
        };
        let mut entries = self.entries();
        let id = entries.last_key_value().map_or(0, |(last, _)| last + 1);
        entries.insert(id, entry);
        drop(entries);
        Arc::new(Connection { id, all: Arc::clone(self), leave, _place: place })
    }

    fn ask_one_to_leave(&self) {
        let mut entries = self.entries();
        if entries.values().any(|entry| entry.asked) {
            return;
        }
        if let Some(entry) = who_gives_way(&entries).and_then(|id| entries.get_mut(&id)) {
            entry.asked = true;
            entry.leave.notify_one();
        }
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn who_gives_way(entries: &BTreeMap<u64, Entry>) -> Option<u64> {
    let candidates = || entries.iter().filter(|(_, entry)| entry.activity != Activity::Busy);
    let mut of_peer: HashMap<Peer, u32> = HashMap::new();
    for (_, entry) in candidates() {
        *of_peer.entry(entry.peer).or_default() += 1;
    }
    let rank = |entry: &Entry| {
        let (silent, since) = match entry.activity {
            Activity::Silent(since) => (true, since),
            Activity::Idle(since) => (false, since),
            Activity::Busy => (false, Instant::now()),
        };
        (of_peer.get(&entry.peer).copied(), silent, Reverse(since))
    };
    candidates().max_by_key(|(_, entry)| rank(entry)).map(|(id, _)| *id)
}

/// One connection.
pub(super) struct Connection {
    id: u64,
    all: Arc<Connections>,
    leave: Arc<Notify>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// A request has come. The connection is busy with it until the result is dropped. There is none if
    /// its host has as many requests under way as one may.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Busy> {
        let mut entries = self.all.entries();
        let peer = entries.get(&self.id)?.peer;
        let busy = entries.values().filter(|entry| entry.peer == peer && entry.activity == Activity::Busy);
        if busy.count() >= self.all.busy_per_peer {
            return None;
        }
        entries.get_mut(&self.id)?.activity = Activity::Busy;
        Some(Busy(Arc::clone(self)))
    }

    /// No request has ever come.
    pub(super) fn is_silent(&self) -> bool {
        let entries = self.all.entries();
        entries.get(&self.id).is_some_and(|entry| matches!(entry.activity, Activity::Silent(_)))
    }

    /// Returns when somebody else needs the place and this connection can give way.
    pub(super) async fn gives_way(&self) {
        loop {
            self.leave.notified().await;
            let mut entries = self.all.entries();
            match entries.get_mut(&self.id) {
                Some(entry) if entry.activity == Activity::Busy => entry.asked = false,
                _ => return,
            }
            drop(entries);
            self.all.look_again.notify_one();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.all.entries().remove(&self.id);
    }
}

/// A connection is busy as long as this is there.
pub(super) struct Busy(Arc<Connection>);

impl Busy {
    /// Keeps the connection busy until all of the body was sent.
    pub(super) const fn with(self, body: Body) -> BusyBody {
        Along::new(body, Some(self))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(entry) = self.0.all.entries().get_mut(&self.0.id) {
            entry.activity = Activity::Idle(Instant::now());
        }
        self.0.all.look_again.notify_one();
    }
}

/// The body of an answer, which keeps its connection busy.
pub(super) type BusyBody = Along<Option<Busy>>;

/// The body of a refusal. Whoever does not take it is as good as silent.
pub(super) fn of_refusal(text: &'static str) -> BusyBody {
    Along::new(Body::from(text), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn join(all: &Arc<Connections>, peer: &str) -> Arc<Connection> {
        let place = all.place().await.unwrap();
        all.join(Peer::of(peer.parse().unwrap()), place)
    }

    fn chosen(all: &Connections) -> Option<u64> {
        who_gives_way(&all.entries())
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_most_gives_way_first_silent_before_idle_and_oldest_first() {
        let all = Connections::new(9, 9);
        let step = || tokio::time::advance(Duration::from_secs(1));
        let other = join(&all, "10.0.0.2").await;
        step().await;
        let idle = join(&all, "10.0.0.1").await;
        drop(idle.begin().unwrap());
        step().await;
        let silent = join(&all, "10.0.0.1").await;
        step().await;
        let younger = join(&all, "10.0.0.1").await;
        step().await;
        let busy = join(&all, "10.0.0.1").await;
        let request = busy.begin().unwrap();
        assert_eq!(chosen(&all), Some(silent.id));
        drop(silent);
        assert_eq!(chosen(&all), Some(younger.id));
        drop(younger);
        assert_eq!(chosen(&all), Some(other.id), "both hold one now, and this one is silent");
        drop(other);
        assert_eq!(chosen(&all), Some(idle.id));
        drop(idle);
        assert_eq!(chosen(&all), None);
        drop(request);
        assert_eq!(chosen(&all), Some(busy.id));
    }

    #[tokio::test(start_paused = true)]
    async fn no_host_is_busy_on_all_places() {
        for (places, limit, share) in [(8, 100, 6), (8, 2, 2), (2, 100, 2), (1, 100, 1)] {
            let all = Connections::new(places, limit);
            let mut connections = Vec::new();
            for _ in 0..places {
                connections.push(join(&all, "10.0.0.1").await);
            }
            let mut requests: Vec<_> = connections.iter().filter_map(Connection::begin).collect();
            assert_eq!(requests.len(), share, "of {places}");
            requests.pop();
            assert!(connections[0].begin().is_some(), "another one has ended");
        }
        let all = Connections::new(2, 1);
        let (one, other) = (join(&all, "10.0.0.1").await, join(&all, "10.0.0.2").await);
        let requests = (one.begin(), other.begin());
        assert!(requests.0.is_some() && requests.1.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_asked_and_became_busy_stays_and_another_goes() {
        let all = Connections::new(2, 2);
        let (one, two) = (join(&all, "10.0.0.1").await, join(&all, "10.0.0.1").await);
        let coming = {
            let all = Arc::clone(&all);
            tokio::spawn(async move { join(&all, "10.0.0.3").await })
        };
        tokio::task::yield_now().await;
        let request = one.begin().unwrap();
        // It was asked, but its next request was faster.
        let stays = tokio::time::timeout(Duration::from_secs(1), one.gives_way()).await;
        assert!(stays.is_err(), "a busy connection gave way");
        tokio::time::timeout(Duration::from_secs(1), two.gives_way()).await.expect("the other one goes");
        drop(two);
        coming.await.unwrap();
        drop(request);
    }
}
