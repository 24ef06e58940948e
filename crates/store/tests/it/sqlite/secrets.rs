//! What the files do not hold.

use super::open_store;
use crate::contract::world::{Setup, asking, errored, failed, lease, new_job, somebody};
use jiff::{SignedDuration, Timestamp};
use jobs::{Clock, Judgement};
use std::path::Path;
use store::{Claimed, Finish, SqlStore, Store};

#[tokio::test]
async fn secrets_leave_the_files_when_their_job_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, store) = open_store(dir.path(), Setup::with_failures(2)).await.unwrap();
    // Of all sizes, from a part of a page to many pages, so that pages are split, merged and freed.
    let secret = |job: usize| format!("secret-{job:03}-{}", "s".repeat((job * 7_919) % 9_000));
    let marker = |job: usize| format!("secret-{job:03}-");
    for job in 0..120 {
        let mut new = new_job("batches");
        new.spec.secrets.insert("KEY".to_owned(), secret(job));
        store.submit(new).await.unwrap();
    }
    let mut running = Vec::new();
    for job in 0..100 {
        let claimed = claim(&store).await;
        assert_eq!(claimed.secrets["KEY"], secret(job));
        running.push(claimed);
    }
    // Out of order, so that rows go from the middle of pages.
    for job in (0..100).map(|n| (n * 37) % 100) {
        end_in_some_way(&store, &running[job], job).await;
    }
    for reset in 1..=4 {
        clock.advance(SignedDuration::from_secs(60));
        store
            .reset_stalled(Judgement { now: clock.now(), attentive_since: Timestamp::UNIX_EPOCH })
            .await
            .unwrap();
        for _ in 0..if reset < 4 { 20 } else { 0 } {
            assert!(claim(&store).await.job.id.0 <= 100);
        }
    }
    store.checkpoint().await.unwrap();
    let text = all_text(dir.path());
    for job in 0..120 {
        assert_eq!(text.contains(&marker(job)), job >= 100, "the secret of job {job}");
    }
    store.close().await.unwrap();
    let text = all_text(dir.path());
    for job in 0..100 {
        assert!(!text.contains(&marker(job)), "the secret of job {job}, after closing");
    }
}

async fn claim(store: &SqlStore) -> Claimed {
    store.claim(&asking(&["batches"], "exec-1")).await.unwrap().pop().unwrap()
}

async fn end_in_some_way(store: &SqlStore, claimed: &Claimed, job: usize) {
    let (id, lease) = (claimed.job.id, lease(claimed));
    match job % 5 {
        0 => drop(store.finish(id, &lease, Finish::Complete).await.unwrap()),
        1 => drop(store.finish(id, &lease, failed()).await.unwrap()),
        2 => {
            store.finish(id, &lease, errored()).await.unwrap();
            store.cancel(id, somebody()).await.unwrap();
        }
        // Will be canceled when it stalls.
        3 => drop(store.cancel(id, somebody()).await.unwrap()),
        // Will be given up when it stalls once too often.
        _ => {}
    }
}

#[tokio::test]
async fn tokens_are_never_in_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let (_, store) = open_store(dir.path(), Setup::default()).await.unwrap();
    store.submit(new_job("batches")).await.unwrap();
    let token = claim(&store).await.token;
    let raw = hex::decode(&token).unwrap();
    let bytes = all_bytes(dir.path());
    let contains = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    assert!(contains(b"alpine:3"), "the job itself is there");
    assert!(!contains(token.as_bytes()));
    assert!(!contains(&raw));
}

fn all_text(dir: &Path) -> String {
    String::from_utf8_lossy(&all_bytes(dir)).into_owned()
}

fn all_bytes(dir: &Path) -> Vec<u8> {
    let files = ["executor.db", "executor.db-wal", "executor.db-shm"];
    files.into_iter().flat_map(|file| std::fs::read(dir.join(file)).unwrap_or_default()).collect()
}
