//! Work of which only so much may go on at one time, and of that only a part for any one client, or whoever else it is for.

use crate::peer::Peer;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// Slots for one kind of work.
pub(crate) struct Slots<Client = Peer> {
    all: Arc<Semaphore>,
    per_client: usize,
    /// What one may have at one time, since there are no more.
    most: usize,
    /// The shares of those who have a slot or wait for one.
    shares: Mutex<HashMap<Client, Weak<Semaphore>>>,
}

/// A slot, held until it is dropped.
pub(crate) struct Slot {
    _of_all: OwnedSemaphorePermit,
    /// It also keeps the share that it is from.
    _of_client: OwnedSemaphorePermit,
}

impl<Client: Eq + Hash> Slots<Client> {
    /// So many slots for all clients together, and for each of them.
    pub(crate) fn new(all: usize, per_client: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            per_client,
            most: per_client.min(all),
            shares: Mutex::default(),
        }
    }

    /// A slot for `client`, or none if there is none within `wait`. Whoever waits for one of its own
    /// keeps nobody else waiting.
    pub(crate) async fn take(&self, client: Client, wait: Duration) -> Option<Slot> {
        self.take_several(client, 1, wait).await
    }

    /// So many slots as one: as many as one client may have, if it would be more.
    pub(crate) async fn take_several(&self, client: Client, several: usize, wait: Duration) -> Option<Slot> {
        let share = self.share(client);
        let several = self.fitting(several)?;
        let slot = async {
            let of_client = share.acquire_many_owned(several).await.ok()?;
            let of_all = Arc::clone(&self.all).acquire_many_owned(several).await.ok()?;
            Some(Slot { _of_all: of_all, _of_client: of_client })
        };
        timeout(wait, slot).await.ok().flatten()
    }

    /// The same if they are to be had now.
    pub(crate) fn try_take_several(&self, client: Client, several: usize) -> Option<Slot> {
        let several = self.fitting(several)?;
        let of_client = self.share(client).try_acquire_many_owned(several).ok()?;
        let of_all = Arc::clone(&self.all).try_acquire_many_owned(several).ok()?;
        Some(Slot { _of_all: of_all, _of_client: of_client })
    }

    fn fitting(&self, several: usize) -> Option<u32> {
        u32::try_from(several.min(self.most).max(1)).ok()
    }

    fn share(&self, client: Client) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.retain(|_, share| share.strong_count() > 0);
        if let Some(share) = shares.get(&client).and_then(Weak::upgrade) {
            return share;
        }
        let share = Arc::new(Semaphore::new(self.per_client));
        shares.insert(client, Arc::downgrade(&share));
        share
    }
}

/// A slot of those that are shared in two ways: among those of the namespace, and of the address.
pub(crate) type Turn = (Option<Slot>, Slot);

/// Slots that are shared among addresses and namespaces alike: one namespace may call from many addresses, and behind a proxy
/// several are one address.
pub(crate) struct InTurn {
    by_address: Slots,
    /// The others tell how many there are: so whoever has one of its namespace's and waits for one of its address's keeps only its own
    /// from any.
    by_namespace: Slots<String>,
}

/// The namespace with this key, if it is one that may have only a part of what there is for all: not the global one, which may
/// be all there is.
pub(crate) fn sharing(key: &str) -> Option<&str> {
    Some(key).filter(|key| !key.is_empty())
}

impl InTurn {
    /// So many slots for everybody together, and for each address; for any one namespace half of them.
    pub(crate) fn new(all: usize, per_address: usize) -> Self {
        Self::sharing(all, per_address, all.div_ceil(2))
    }

    /// The same where no namespace calls, or nobody knows which one.
    pub(crate) fn among_addresses(all: usize, per_address: usize) -> Self {
        Self::sharing(all, per_address, Semaphore::MAX_PERMITS)
    }

    fn sharing(all: usize, per_address: usize, per_namespace: usize) -> Self {
        Self {
            by_address: Slots::new(all, per_address),
            by_namespace: Slots::new(Semaphore::MAX_PERMITS, per_namespace),
        }
    }

    /// A slot for somebody at an address and for a namespace, which is named by its key, if it is one that shares with others;
    /// none if there is none within `wait`. Who waits for one of its namespace's keeps nobody from those of the address.
    pub(crate) async fn take(&self, from: Peer, of: impl Into<Option<&str>>, wait: Duration) -> Option<Turn> {
        self.take_several((from, of.into()), 1, wait).await
    }

    /// So many slots as one: as many as an address and a namespace may have, if it would be more.
    pub(crate) async fn take_several(
        &self,
        (from, of): (Peer, Option<&str>),
        several: usize,
        wait: Duration,
    ) -> Option<Turn> {
        let queued = Instant::now();
        let several = self.fitting(of, several);
        let of_namespace = match of {
            Some(of) => Some(self.by_namespace.take_several(of.to_owned(), several, wait).await?),
            None => None,
        };
        let left = wait.saturating_sub(queued.elapsed());
        Some((of_namespace, self.by_address.take_several(from, several, left).await?))
    }

    /// The same if they are to be had now.
    pub(crate) fn try_take_several(&self, (from, of): (Peer, Option<&str>), several: usize) -> Option<Turn> {
        let several = self.fitting(of, several);
        let of_namespace = match of {
            Some(of) => Some(self.by_namespace.try_take_several(of.to_owned(), several)?),
            None => None,
        };
        Some((of_namespace, self.by_address.try_take_several(from, several)?))
    }

    fn fitting(&self, of: Option<&str>, several: usize) -> usize {
        several.min(self.by_address.most).min(of.map_or(usize::MAX, |_| self.by_namespace.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(5);

    fn client(last: u8) -> Peer {
        Peer::of([10, 0, 0, last].into())
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_gets_all_slots_and_nothing_is_kept_of_who_left() {
        let slots = Slots::new(3, 2);
        let first = slots.take(client(1), WAIT).await.expect("a first one");
        let second = slots.take(client(1), WAIT).await.expect("a second one");
        assert!(slots.take(client(1), WAIT).await.is_none(), "one client took all");
        let other = slots.take(client(2), WAIT).await.expect("one is left for somebody else");
        assert!(slots.take(client(2), WAIT).await.is_none(), "there are three");
        drop(first);
        assert!(slots.take(client(2), WAIT).await.is_some());
        drop((second, other));
        assert!(slots.take(client(3), WAIT).await.is_some());
        assert_eq!(slots.shares.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn several_are_taken_at_once_and_never_more_than_there_can_be() {
        let slots = Slots::new(8, 6);
        let six = slots.take_several(client(1), 100, WAIT).await.expect("its whole share");
        assert!(slots.take(client(1), WAIT).await.is_none());
        let _two = slots.take_several(client(2), 2, WAIT).await.expect("two are left");
        assert!(slots.take_several(client(3), 1, WAIT).await.is_none());
        drop(six);
        assert!(slots.take_several(client(3), 6, WAIT).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_its_own_share_stands_in_nobodys_way() {
        let slots = Slots::new(2, 1);
        let _first = slots.take(client(1), WAIT).await.expect("a slot");
        let (greedy, other) = tokio::join!(slots.take(client(1), WAIT), slots.take(client(2), WAIT));
        assert!(greedy.is_none() && other.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn neither_a_namespace_nor_an_address_gets_all() {
        let slots = InTurn::new(4, 3);
        let two = [slots.take(client(1), "org:a", WAIT).await, slots.take(client(2), "org:a", WAIT).await];
        assert!(two.iter().all(Option::is_some));
        assert!(slots.take(client(3), "org:a", WAIT).await.is_none(), "one namespace took all");
        let _third = slots.take(client(1), "org:b", WAIT).await.expect("half of them are left for others");
        assert!(slots.take(client(1), "org:b", WAIT).await.is_some(), "the address has three");
        let slots = InTurn::new(4, 3);
        let _three = [
            slots.take(client(1), "org:a", WAIT).await,
            slots.take(client(1), "org:a", WAIT).await,
            slots.take(client(1), "org:b", WAIT).await,
        ];
        assert!(slots.take(client(1), "org:b", WAIT).await.is_none(), "one address took all");
        assert!(slots.take(client(2), "org:b", WAIT).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_at_an_address_that_has_its_share_keeps_no_other_namespace_waiting() {
        let slots = InTurn::new(2, 1);
        let _first = slots.take(client(1), "org:a", WAIT).await.expect("a slot");
        let waiting = slots.take(client(1), "org:b", WAIT);
        let other = slots.take(client(2), "org:c", WAIT);
        let (waiting, other) = tokio::join!(waiting, other);
        assert!(waiting.is_none() && other.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_global_namespace_may_have_all() {
        let slots = InTurn::new(4, 4);
        let all = slots.take_several((client(1), sharing("")), 4, WAIT).await;
        assert!(all.is_some() && slots.try_take_several((client(2), sharing("")), 1).is_none());
        drop(all);
        let half = slots.take_several((client(1), sharing("org:a")), 4, WAIT).await;
        assert!(half.is_some() && slots.try_take_several((client(2), sharing("org:b")), 2).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn where_no_namespace_calls_there_is_no_share_of_one() {
        let slots = InTurn::among_addresses(4, 4);
        let all = slots.take_several((client(1), Some("")), 4, WAIT).await;
        assert!(all.is_some() && slots.take(client(2), "", WAIT).await.is_none());
    }
}
