//! How much one try may log.

use super::world::{Setup, World, lease};
use store::StoreError;

pub(crate) async fn one_try_has_a_size_limit(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup { max_log_bytes: 100, ..Setup::default() }).await;
    let (id, lease, _) = world.running().await;
    let full = |error: Option<StoreError>| {
        assert!(matches!(error, Some(StoreError::LogFull { limit: 100, .. })), "{error:?}");
    };
    let one = world.open_entry(id, &lease, &"a".repeat(60)).await;
    let two = world.open_entry(id, &lease, &"b".repeat(30)).await;
    full(world.append(id, &lease, one, 60, &"a".repeat(11)).await.err());
    full(world.store.put_log_entry(id, &lease, two, world.entry(&"c".repeat(41))).await.err());
    full(world.store.add_log_entry(id, &lease, world.entry(&"d".repeat(11))).await.err());
    assert_eq!(world.store.log_entries(id, None).await.unwrap().len(), 2, "a refused one is not opened");
    assert_eq!(world.text(id, 1, two).await, "b".repeat(30), "a refused text changes nothing");

    world.append(id, &lease, one, 0, &"a".repeat(70)).await.unwrap();
    full(world.append(id, &lease, two, 30, "b").await.err());
    world.store.put_log_entry(id, &lease, one, world.entry("")).await.unwrap();
    assert_eq!(world.append(id, &lease, two, 30, &"b".repeat(70)).await.unwrap(), 100);
}

pub(crate) async fn the_next_try_starts_from_nothing(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup { max_log_bytes: 10, ..Setup::default() }).await;
    let (id, first, _) = world.running().await;
    world.open_entry(id, &first, "0123456789").await;
    world.stall_all().await;
    let second = lease(&world.claim("exec-1").await.unwrap());
    world.open_entry(id, &second, "0123456789").await;
}
