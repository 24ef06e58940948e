//! Log entries and their texts.

use super::world::{Setup, World, lease};
use jiff::SignedDuration;
use jobs::Rejected;
use std::sync::Arc;
use store::{Finish, LogEntryRow, NewLogEntry, StoreError};

pub(crate) async fn entries_are_numbered_from_one(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, _) = world.running().await;
    assert_eq!(world.open_entry(id, &lease, "").await, 1);
    assert_eq!(world.open_entry(id, &lease, "zwei\n").await, 2);
    let entries = world.store.log_entries(id, None).await.unwrap();
    assert_eq!(entries.iter().map(|entry| (entry.entry, entry.length)).collect::<Vec<_>>(), [(1, 0), (2, 5)]);
    let expect = LogEntryRow {
        entry: 2,
        epoch: 1,
        key: "step.docker.step.0.run".to_owned(),
        command: Some(["sh", "-c", "true"].map(str::to_owned).to_vec()),
        start_time: world.now() + SignedDuration::from_micros(1),
        exit_code: None,
        duration_ms: None,
        length: 5,
    };
    assert_eq!(entries[1], expect);
    for row in entries {
        assert_eq!(world.store.log_entry(id, None, row.entry).await.unwrap(), row);
    }
    for (epoch, number) in [(None, 3), (Some(2), 1)] {
        let unknown = world.store.log_entry(id, epoch, number).await;
        assert!(matches!(unknown, Err(StoreError::UnknownLogEntry { .. })), "{unknown:?}");
    }
    assert_eq!(world.text(id, 1, 1).await, "");
    assert_eq!(world.text(id, 1, 2).await, "zwei\n");
    let unknown = world.store.read_log(id, 1, 3, 0, 10).await;
    assert!(matches!(unknown, Err(StoreError::UnknownLogEntry { entry: 3, .. })), "{unknown:?}");
}

pub(crate) async fn an_outline_has_no_commands(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, _) = world.running().await;
    for text in ["one", "two", "three"] {
        world.open_entry(id, &lease, text).await;
    }
    let mut whole = world.store.log_entries(id, None).await.unwrap();
    for row in &whole {
        assert_eq!(world.store.log_command(id, 1, row.entry).await.unwrap(), row.command);
    }
    assert_eq!(world.store.log_command(id, 1, 4).await.unwrap(), None);
    assert!(whole.iter_mut().all(|entry| entry.command.take().is_some()));
    assert_eq!(world.store.log_outline(id, 1, 0, 9).await.unwrap(), whole);
    assert_eq!(world.store.log_outline(id, 1, 1, 9).await.unwrap(), whole[1..]);
    assert_eq!(world.store.log_outline(id, 1, 1, 1).await.unwrap(), whole[1..2]);
    assert!(world.store.log_outline(id, 1, 3, 9).await.unwrap().is_empty());
    assert!(world.store.log_outline(id, 2, 0, 9).await.unwrap().is_empty());
}

pub(crate) async fn an_entry_that_is_opened_again_is_the_same(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, _) = world.running().await;
    let entry = world.entry("one ");
    let again = async |out: &str, exit_code| {
        let entry = NewLogEntry {
            out: out.to_owned(),
            exit_code,
            duration_ms: exit_code.map(i64::from),
            ..entry.clone()
        };
        let number = world.store.add_log_entry(id, &lease, entry).await.unwrap();
        let row = world.store.log_entries(id, None).await.unwrap().pop().unwrap();
        (number, world.text(id, 1, number).await, row.exit_code, row.duration_ms)
    };
    assert_eq!(again("one ", None).await, (1, "one ".to_owned(), None, None));
    assert_eq!(again("one ", None).await, (1, "one ".to_owned(), None, None));
    // By then there is more to tell, and a late copy of the first call takes nothing of it back.
    for (out, exit_code) in [("one two", Some(3)), ("one ", None)] {
        assert_eq!(again(out, exit_code).await, (1, "one two".to_owned(), Some(3), Some(3)));
    }
    assert_eq!(world.store.log_entries(id, None).await.unwrap().len(), 1);
    let other = NewLogEntry { key: "teardown".to_owned(), ..entry.clone() };
    assert_eq!(world.store.add_log_entry(id, &lease, other).await.unwrap(), 2);
    world.stall_all().await;
    let second = super::world::lease(&world.claim("exec-1").await.unwrap());
    assert_eq!(world.store.add_log_entry(id, &second, entry).await.unwrap(), 1);
    assert_eq!(world.text(id, 2, 1).await, "one ", "every try has entries of its own");
}

pub(crate) async fn text_is_added_at_its_offset(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, _) = world.running().await;
    let entry = world.open_entry(id, &lease, "").await;
    assert_eq!(world.append(id, &lease, entry, 0, "one ").await.unwrap(), 4);
    assert_eq!(world.append(id, &lease, entry, 4, "two ").await.unwrap(), 8);
    assert_eq!(world.append(id, &lease, entry, 8, "").await.unwrap(), 8);
    assert_eq!(world.text(id, 1, entry).await, "one two ");
    assert_eq!(world.store.read_log(id, 1, entry, 4, 100).await.unwrap(), b"two ");
    assert_eq!(world.store.read_log(id, 1, entry, 8, 100).await.unwrap(), b"");
    assert_eq!(world.store.read_log(id, 1, entry, 800, 100).await.unwrap(), b"");
    let unknown = world.append(id, &lease, 9, 0, "x").await;
    assert!(matches!(unknown, Err(StoreError::UnknownLogEntry { entry: 9, .. })), "{unknown:?}");
}

pub(crate) async fn text_sent_twice_is_there_once(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, _) = world.running().await;
    let entry = world.open_entry(id, &lease, "").await;
    for _ in 0..2 {
        assert_eq!(world.append(id, &lease, entry, 0, "one ").await.unwrap(), 4);
    }
    assert_eq!(world.append(id, &lease, entry, 2, "e two").await.unwrap(), 7);
    assert_eq!(world.append(id, &lease, entry, 0, "on").await.unwrap(), 7);
    assert_eq!(world.text(id, 1, entry).await, "one two");
}

pub(crate) async fn a_gap_is_refused_with_the_length(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, _) = world.running().await;
    let entry = world.open_entry(id, &lease, "abc").await;
    let gap = world.append(id, &lease, entry, 4, "x").await;
    assert!(matches!(gap, Err(StoreError::LogGap { length: 3, offset: 4 })), "{gap:?}");
    assert_eq!(world.text(id, 1, entry).await, "abc");
}

pub(crate) async fn the_end_is_kept(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, _) = world.running().await;
    let entry = world.open_entry(id, &lease, "").await;
    let append = async |offset, text, exit_code, duration_ms| {
        let length = world.store.append_log(id, &lease, entry, offset, text, exit_code, duration_ms).await;
        let row = world.store.log_entries(id, None).await.unwrap().remove(0);
        (length.unwrap(), row.exit_code, row.duration_ms)
    };
    assert_eq!(append(0, "x", None, None).await, (1, None, None));
    assert_eq!(append(1, "y", Some(3), Some(1_200)).await, (2, Some(3), Some(1_200)));
    assert_eq!(append(2, "", None, None).await, (2, Some(3), Some(1_200)));
    assert_eq!(append(2, "", Some(-1), None).await, (2, Some(-1), Some(1_200)));
}

pub(crate) async fn put_grows_the_text(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, _) = world.running().await;
    let entry = world.open_entry(id, &lease, "").await;
    let mut out = String::new();
    for line in 0..5 {
        out.extend(["stdout: ", &"x".repeat(50_000 + line), "\n"]);
        world.store.put_log_entry(id, &lease, entry, world.entry(&out)).await.unwrap();
        assert_eq!(world.text(id, 1, entry).await, out);
    }
    let key = "teardown".to_owned();
    let ended = NewLogEntry { key, exit_code: Some(0), duration_ms: Some(7), ..world.entry(&out) };
    world.store.put_log_entry(id, &lease, entry, ended).await.unwrap();
    let row = world.store.log_entries(id, None).await.unwrap().remove(0);
    assert_eq!((row.key.as_str(), row.exit_code, row.duration_ms), ("teardown", Some(0), Some(7)));
    assert_eq!(row.length, out.len() as u64);
    assert_eq!(world.append(id, &lease, entry, row.length, "more").await.unwrap(), row.length + 4);
    let unknown = world.store.put_log_entry(id, &lease, 2, world.entry("")).await;
    assert!(matches!(unknown, Err(StoreError::UnknownLogEntry { entry: 2, .. })), "{unknown:?}");
}

pub(crate) async fn put_can_change_the_text(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, _) = world.running().await;
    let entry = world.open_entry(id, &lease, "first text").await;
    let long = "y".repeat(200_000);
    for out in ["other", "other and more", &long, &long.replace('y', "z"), "", "last"] {
        world.store.put_log_entry(id, &lease, entry, world.entry(out)).await.unwrap();
        assert_eq!(world.text(id, 1, entry).await, out);
        let row = world.store.log_entries(id, None).await.unwrap().remove(0);
        assert_eq!(row.length, out.len() as u64);
    }
}

pub(crate) async fn epochs_keep_their_own_logs(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, first, _) = world.running().await;
    world.open_entry(id, &first, "first").await;
    world.stall_all().await;
    let while_queued = world.store.log_entries(id, None).await.unwrap();
    assert_eq!(while_queued.len(), 1, "the latest try is the one that stalled");
    let second = lease(&world.claim("exec-1").await.unwrap());
    assert!(world.store.log_entries(id, None).await.unwrap().is_empty());
    assert_eq!(world.open_entry(id, &second, "second").await, 1);
    assert_eq!(world.text(id, 1, 1).await, "first");
    assert_eq!(world.text(id, 2, 1).await, "second");
    assert_eq!(world.store.log_entries(id, Some(1)).await.unwrap()[0].epoch, 1);
    assert_eq!(world.store.log_entries(id, None).await.unwrap()[0].epoch, 2);
}

pub(crate) async fn logs_need_the_lease(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let queued = world.submit("batches").await;
    let nobody = jobs::Lease { epoch: 0, executor: "exec-1".to_owned() };
    let refused = world.store.add_log_entry(queued, &nobody, world.entry("x")).await;
    assert!(matches!(refused, Err(StoreError::Rejected(Rejected::LeaseLost))), "{refused:?}");
}

pub(crate) async fn concurrent_appends_do_not_mix(open: impl AsyncFn(Setup) -> World) {
    let world = Arc::new(open(Setup::default()).await);
    let (id, lease, _) = world.running().await;
    let entry = world.open_entry(id, &lease, "").await;
    let line = |n: u64| format!("{n:03}\n");
    // All of them know the whole text so far; who comes late repeats what is there already.
    let mut writers = tokio::task::JoinSet::new();
    for writer in 1..=32 {
        let (world, lease) = (Arc::clone(&world), lease.clone());
        let text: String = (0..writer).map(line).collect();
        writers.spawn(async move { world.append(id, &lease, entry, 0, &text).await.unwrap() });
    }
    let lengths = writers.join_all().await;
    let expect: String = (0..32).map(line).collect();
    assert_eq!(lengths.into_iter().max(), Some(expect.len() as u64));
    assert_eq!(world.text(id, 1, entry).await, expect);
}

pub(crate) async fn reading_stops_between_characters(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, _) = world.running().await;
    let text = "aä€😀".repeat(7);
    let entry = world.open_entry(id, &lease, &text).await;
    for max in [0, 1, 4, 5, 6, 7, 64, 1_000] {
        let mut read = String::new();
        while read.len() < text.len() {
            let piece = world.store.read_log(id, 1, entry, read.len() as u64, max).await.unwrap();
            assert!(!piece.is_empty(), "reading {max} at once gets on");
            assert!(piece.len() <= max.max(4));
            read.push_str(std::str::from_utf8(&piece).unwrap());
        }
        assert_eq!(read, text);
    }
}

pub(crate) async fn an_ended_job_takes_no_text(open: impl AsyncFn(Setup) -> World) {
    let world = Arc::new(open(Setup::default()).await);
    let (id, lease, _) = world.running().await;
    let entry = world.open_entry(id, &lease, "").await;
    let writer = {
        let (world, lease) = (Arc::clone(&world), lease.clone());
        tokio::spawn(async move {
            let mut length = 0;
            loop {
                match world.append(id, &lease, entry, length, "0123456789").await {
                    Ok(now) => length = now,
                    Err(refused) => return (length, refused),
                }
            }
        })
    };
    while world.text(id, 1, entry).await.is_empty() {
        tokio::task::yield_now().await;
    }
    world.store.finish(id, &lease, Finish::Complete).await.unwrap();
    let at_the_end = world.text(id, 1, entry).await.len() as u64;
    let (acknowledged, refused) = writer.await.unwrap();
    assert!(
        matches!(refused, StoreError::Rejected(Rejected::LeaseLost) | StoreError::LogFull { .. }),
        "{refused:?}"
    );
    assert_eq!(acknowledged, at_the_end, "nothing came after the end, and nothing was lost before it");
}
