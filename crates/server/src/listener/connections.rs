//! Who is connected, what each is at, and who gives way when there is no room for another.
//!
//! A connection is *silent* until the head of its first request is there, *busy* from the head of a
//! request to the end of its answer, and *idle* between two requests. Busy ones are left alone; of the
//! others one gives way to each that comes when all places are taken. It is one of whoever holds most
//! of them, so that nobody is crowded out by somebody else; of these a silent one rather than an idle
//! one, and the oldest.

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// All connections.
pub(super) struct Connections {
    entries: Mutex<BTreeMap<u64, Entry>>,
    places: Arc<Semaphore>,
    /// A connection that could not give way before may be able to now.
    look_again: Notify,
}

struct Entry {
    /// Where it comes from.
    network: IpAddr,
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
    /// Room for so many.
    pub(super) fn new(places: usize) -> Arc<Self> {
        let (entries, look_again) = (Mutex::default(), Notify::new());
        Arc::new(Self { entries, places: Arc::new(Semaphore::new(places)), look_again })
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
    pub(super) fn join(self: &Arc<Self>, peer: IpAddr, place: OwnedSemaphorePermit) -> Arc<Connection> {
        let leave = Arc::new(Notify::new());
        let entry = Entry {
            network: network(peer),
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
    let mut of_network: HashMap<IpAddr, u32> = HashMap::new();
    for (_, entry) in candidates() {
        *of_network.entry(entry.network).or_default() += 1;
    }
    let rank = |entry: &Entry| {
        let (silent, since) = match entry.activity {
            Activity::Silent(since) => (true, since),
            Activity::Idle(since) => (false, since),
            Activity::Busy => (false, Instant::now()),
        };
        (of_network.get(&entry.network).copied(), silent, Reverse(since))
    };
    candidates().max_by_key(|(_, entry)| rank(entry)).map(|(id, _)| *id)
}

/// Whom an address belongs to: with version 6 a host has as many as it likes below one prefix.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// One connection.
pub(super) struct Connection {
    id: u64,
    all: Arc<Connections>,
    leave: Arc<Notify>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// A request has come. The connection is busy with it until the result is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.now(Activity::Busy);
        Busy(Arc::clone(self))
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

    fn now(&self, activity: Activity) {
        if let Some(entry) = self.all.entries().get_mut(&self.id) {
            entry.activity = activity;
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
        BusyBody { body, _busy: self }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.now(Activity::Idle(Instant::now()));
        self.0.all.look_again.notify_one();
    }
}

/// The body of an answer.
pub(super) struct BusyBody {
    body: Body,
    _busy: Busy,
}

impl HttpBody for BusyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn join(all: &Arc<Connections>, peer: &str) -> Arc<Connection> {
        let place = all.place().await.unwrap();
        all.join(peer.parse().unwrap(), place)
    }

    fn chosen(all: &Connections) -> Option<u64> {
        who_gives_way(&all.entries())
    }

    #[tokio::test(start_paused = true)]
    async fn who_holds_most_gives_way_first_silent_before_idle_and_oldest_first() {
        let all = Connections::new(9);
        let step = || tokio::time::advance(Duration::from_secs(1));
        let other = join(&all, "10.0.0.2").await;
        step().await;
        let idle = join(&all, "10.0.0.1").await;
        drop(idle.begin());
        step().await;
        let silent = join(&all, "10.0.0.1").await;
        step().await;
        let younger = join(&all, "10.0.0.1").await;
        step().await;
        let busy = join(&all, "10.0.0.1").await;
        let request = busy.begin();
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
    async fn who_was_asked_and_became_busy_stays_and_another_goes() {
        let all = Connections::new(2);
        let (one, two) = (join(&all, "10.0.0.1").await, join(&all, "10.0.0.1").await);
        let coming = {
            let all = Arc::clone(&all);
            tokio::spawn(async move { join(&all, "10.0.0.3").await })
        };
        tokio::task::yield_now().await;
        let request = one.begin();
        // It was asked, but its next request was faster.
        let stays = tokio::time::timeout(Duration::from_secs(1), one.gives_way()).await;
        assert!(stays.is_err(), "a busy connection gave way");
        tokio::time::timeout(Duration::from_secs(1), two.gives_way()).await.expect("the other one goes");
        drop(two);
        coming.await.unwrap();
        drop(request);
    }

    #[test]
    fn all_addresses_of_a_prefix_are_one_host() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
