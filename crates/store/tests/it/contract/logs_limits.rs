//! How much one try may log.

use super::world::{Setup, World, lease};
use store::{LogEntryRow, NewLogEntry, StoreError};

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

/// Bytes of the commands of a try's entries that were stored.
fn bytes(entries: &[LogEntryRow]) -> usize {
    entries.iter().flat_map(|entry| entry.command.iter().flatten()).map(String::len).sum()
}

pub(crate) async fn the_commands_of_one_try_have_a_size_limit(open: impl AsyncFn(Setup) -> World) {
    const EACH: usize = 1 << 20;
    let world = open(Setup::default()).await;
    let (id, held, _) = world.running().await;
    let long = |mark: usize| Some(vec![format!("{mark}"), "x".repeat(EACH)]);
    let mut opened = Vec::new();
    for mark in 1..=12 {
        let entry = NewLogEntry { command: long(mark), ..world.entry("") };
        let number = world.store.add_log_entry(id, &held, entry.clone()).await.unwrap();
        opened.push((number, entry));
    }
    let short = world.open_entry(id, &held, "").await;
    let entries = world.store.log_entries(id, None).await.unwrap();
    assert!((7 * EACH..9 * EACH).contains(&bytes(&entries)), "{}", bytes(&entries));
    assert_eq!(entries[0].command, long(1));
    let cut = entries[11].command.as_ref().unwrap();
    assert!(cut[0] == "12" && cut[1].starts_with("xxx") && cut[1].ends_with("x…"), "{cut:?}");
    assert_eq!(entries[12].command.as_ref().unwrap().len(), 3, "a short one is whole whatever there is");

    // Who replaces entries tells the command each time.
    for (number, entry) in opened {
        let ended = NewLogEntry { exit_code: Some(0), ..entry };
        world.store.put_log_entry(id, &held, number, ended).await.unwrap();
    }
    let after = world.store.log_entries(id, None).await.unwrap();
    let commands =
        |entries: &[LogEntryRow]| -> Vec<_> { entries.iter().map(|entry| entry.command.clone()).collect() };
    assert!(commands(&entries) == commands(&after), "telling the same again changes nothing");
    let longer = NewLogEntry { command: long(13), ..world.entry("") };
    world.store.put_log_entry(id, &held, short, longer).await.unwrap();
    assert!(bytes(&world.store.log_entries(id, None).await.unwrap()) < 9 * EACH, "nor does another way in");

    world.stall_all().await;
    let next = lease(&world.claim("exec-1").await.unwrap());
    let entry = NewLogEntry { command: long(1), ..world.entry("") };
    world.store.add_log_entry(id, &next, entry).await.unwrap();
    assert_eq!(world.store.log_entries(id, None).await.unwrap()[0].command, long(1), "each try has its own");
}
