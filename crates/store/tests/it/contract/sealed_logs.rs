//! Logs of tries that are over, in the object store.

use super::world::{Setup, World, charged, errored, lease, somebody};
use jobs::JobId;
use std::sync::Arc;
use store::{Finish, LogEntryRow};

/// Bytes of text that are one chunk of an object.
const CHUNK: usize = 256 << 10;

async fn lengths(world: &World, id: JobId, epoch: u32) -> Vec<(i64, u64)> {
    let entries: Vec<LogEntryRow> = world.store.log_entries(id, Some(epoch)).await.unwrap();
    for row in &entries {
        assert_eq!(world.store.log_entry(id, Some(epoch), row.entry).await.unwrap(), *row);
    }
    entries.into_iter().map(|row| (row.entry, row.length)).collect()
}

/// Reads a text `at_once` bytes at a time, as somebody does who follows it.
async fn bit_by_bit(world: &World, (id, epoch, entry): (JobId, u32, i64), at_once: usize) -> String {
    let mut text = Vec::new();
    loop {
        let offset = text.len() as u64;
        let more = world.store.read_log(id, epoch, entry, offset, at_once).await.unwrap();
        if more.is_empty() {
            return String::from_utf8(text).unwrap();
        }
        assert!(std::str::from_utf8(&more).is_ok(), "at {offset} it ends within a character");
        text.extend(more);
    }
}

pub(crate) async fn what_a_sealed_log_says_is_the_same(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup { max_log_bytes: 8 << 20, ..Setup::default() }).await;
    let (id, held, _) = world.running().await;
    let short = "stdout: ä€😀\n".to_owned();
    // Chunks end within characters, and one entry fills its last chunk.
    let long = "😀".repeat(CHUNK / 2 + 77);
    let full = "x".repeat(2 * CHUNK);
    let texts = [short, String::new(), long, full];
    for text in &texts {
        world.open_entry(id, &held, text).await;
    }
    world.store.finish(id, &held, Finish::Complete).await.unwrap();
    let before = lengths(&world, id, 1).await;
    assert_eq!(world.store.seal_logs(false).await.unwrap(), 1);
    assert_eq!(world.store.seal_logs(true).await.unwrap(), 0, "no files are left");
    assert_eq!(lengths(&world, id, 1).await, before);
    for (entry, text) in (1..).zip(&texts) {
        for at_once in [1_000, 32 << 10, CHUNK, CHUNK + 1, usize::MAX] {
            let read = bit_by_bit(&world, (id, 1, entry), at_once).await;
            assert!(read == *text, "entry {entry}, {at_once} at once");
        }
        let end = text.len() as u64;
        for offset in [end, end + 1, u64::MAX] {
            assert_eq!(world.store.read_log(id, 1, entry, offset, 9).await.unwrap(), b"", "{offset}");
        }
    }
    for odd in [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 3] {
        let read = world.store.read_log(id, 1, 4, odd as u64, CHUNK).await.unwrap();
        assert_eq!(read, texts[3].as_bytes()[odd..(odd + CHUNK).min(2 * CHUNK)], "from {odd}");
    }
}

pub(crate) async fn a_try_that_runs_is_not_sealed(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, held, _) = world.running().await;
    let entry = world.open_entry(id, &held, "a").await;
    assert_eq!(world.store.seal_logs(true).await.unwrap(), 0);
    assert_eq!(world.append(id, &held, entry, 1, "b").await.unwrap(), 2);
    world.store.finish(id, &held, Finish::Complete).await.unwrap();
    assert_eq!(world.store.seal_logs(true).await.unwrap(), 1);
    assert_eq!(world.text(id, 1, entry).await, "ab");
    assert_eq!(world.store.seal_logs(false).await.unwrap(), 0, "it was noted, but is done");
}

pub(crate) async fn earlier_tries_are_sealed_while_the_next_one_writes(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::with_failures(3)).await;
    let (id, held, _) = world.running().await;
    world.open_entry(id, &held, "first").await;
    world.store.finish(id, &held, charged()).await.unwrap();
    world.advance(3_600);
    let claimed = world.claim("exec-1").await.unwrap();
    assert_eq!(claimed.job.id, id);
    let held = lease(&claimed);
    let entry = world.open_entry(id, &held, "sec").await;
    assert_eq!(world.store.seal_logs(true).await.unwrap(), 1);
    assert_eq!(world.append(id, &held, entry, 3, "ond").await.unwrap(), 6);
    assert_eq!(world.text(id, 1, 1).await, "first");
    assert_eq!(world.text(id, 2, entry).await, "second");
}

pub(crate) async fn however_a_try_ended_its_log_is_sealed(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::with_failures(0)).await;
    let mut tries = Vec::new();
    let (canceled, held, _) = world.running().await;
    world.open_entry(canceled, &held, "text").await;
    world.store.cancel(canceled, somebody()).await.unwrap();
    world.stall_all().await;
    tries.push(canceled);
    let (released, held, _) = world.running().await;
    world.open_entry(released, &held, "text").await;
    world.store.release(released, &held).await.unwrap();
    world.store.cancel(released, somebody()).await.unwrap();
    tries.push(released);
    for finish in [Finish::Complete, charged(), errored()] {
        let (id, held, _) = world.running().await;
        world.open_entry(id, &held, "text").await;
        world.store.finish(id, &held, finish).await.unwrap();
        tries.push(id);
    }
    assert_eq!(world.store.seal_logs(false).await.unwrap(), tries.len() as u64);
    for id in tries {
        assert_eq!(world.text(id, 1, 1).await, "text", "job {id}");
    }
}

pub(crate) async fn a_forgotten_job_lets_go_of_its_object(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, held, _) = world.running().await;
    world.open_entry(id, &held, "text").await;
    world.store.finish(id, &held, Finish::Complete).await.unwrap();
    assert_eq!(world.store.seal_logs(false).await.unwrap(), 1);
    assert_eq!(world.store.sweep_objects().await.unwrap(), 0, "it is of use");
    world.advance(48 * 3_600);
    assert_eq!(world.store.sweep_objects().await.unwrap(), 0, "and stays so");
    assert_eq!(world.text(id, 1, 1).await, "text");
    assert_eq!(world.store.forget_jobs(world.now()).await.unwrap(), 1);
    assert_eq!(world.store.sweep_objects().await.unwrap(), 1);
    assert_eq!(world.store.sweep_objects().await.unwrap(), 0);
}

/// A reader sees the one or the other, whatever happens between its looks.
pub(crate) async fn a_log_is_read_while_it_is_sealed(open: impl AsyncFn(Setup) -> World) {
    let world = Arc::new(open(Setup::default()).await);
    let text = "0123456789".repeat(3_000);
    for _ in 0..10 {
        let (id, held, _) = world.running().await;
        world.open_entry(id, &held, &text).await;
        world.store.finish(id, &held, Finish::Complete).await.unwrap();
        let (reading, expected) = (Arc::clone(&world), text.clone());
        let reader = tokio::spawn(async move {
            for _ in 0..30 {
                assert_eq!(lengths(&reading, id, 1).await, [(1, expected.len() as u64)]);
                assert!(reading.text(id, 1, 1).await == expected);
            }
        });
        world.store.seal_logs(false).await.unwrap();
        reader.await.unwrap();
    }
}
