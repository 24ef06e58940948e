//! What the files do not hold.

use super::{intruder, open_store, open_with};
use crate::contract::secrets::secret;
use crate::contract::world::{Setup, asking, errored, failed, lease, new_job, somebody};
use jiff::{SignedDuration, Timestamp};
use jobs::{Clock, JobId, Judgement, State};
use secrecy::ExposeSecret;
use std::path::Path;
use store::{Claimed, Finish, NewJob, SqlStore, Store};
use tempfile::TempDir;

/// Those of jobs are sealed, and go when their job ends.
#[tokio::test]
async fn no_secret_is_in_the_files_and_what_is_sealed_leaves_them_with_its_job() {
    let dir = tempfile::tempdir().unwrap();
    let (clock, store) = open_store(dir.path(), Setup::with_failures(2)).await.unwrap();
    // Of all sizes, from a part of a page to many pages, so that pages are split, merged and freed.
    let value = |job: usize| format!("secret-{job:03}-{}", "s".repeat((job * 7_919) % 9_000));
    for job in 0..120 {
        let mut new = new_job("batches");
        new.spec.secrets.insert("KEY".to_owned(), value(job));
        store.submit(new).await.unwrap();
        store.add_secret(secret("global", &format!("KEY_{job}"), &value(job))).await.unwrap();
    }
    let no_value_is_there = |text: &str| {
        assert!(text.contains("alpine:3"), "the jobs are there");
        assert!(!text.contains("secret-"), "a value is there");
    };
    no_value_is_there(&all_text(dir.path()));
    let sealed = sealed(&dir, 120).await;
    let mut running = Vec::new();
    for job in 0..100 {
        let claimed = claim(&store).await;
        assert_eq!(claimed.secrets["KEY"].expose_secret(), value(job));
        let keys = [format!("KEY_{job}")];
        let opened = store.open_secrets(claimed.job.id, &lease(&claimed), &keys).await.unwrap();
        assert_eq!(opened[0].value.expose_secret(), value(job));
        running.push(claimed);
    }
    // Out of order, so that rows go from the middle of pages.
    for job in (0..100).map(|n| (n * 37) % 100) {
        end_in_some_way(&store, &running[job], job).await;
    }
    for reset in 1..=4 {
        clock.advance(SignedDuration::from_secs(60));
        store
            .reset_stalled(Judgement { now: clock.now(), attentive_since: Timestamp::UNIX_EPOCH, era: None })
            .await
            .unwrap();
        for _ in 0..if reset < 4 { 20 } else { 0 } {
            assert!(claim(&store).await.job.id.0 <= 100);
        }
    }
    store.checkpoint().await.unwrap();
    let bytes = all_bytes(dir.path());
    for (job, sealed) in sealed.iter().enumerate() {
        assert_eq!(contains(&bytes, sealed), job >= 100, "what is sealed of job {job}");
    }
    no_value_is_there(&all_text(dir.path()));
    store.close().await.unwrap();
    let bytes = all_bytes(dir.path());
    for (job, sealed) in sealed[..100].iter().enumerate() {
        assert!(!contains(&bytes, sealed), "what is sealed of job {job}, after closing");
    }
    no_value_is_there(&all_text(dir.path()));
}

/// How what is sealed of each job begins.
async fn sealed(dir: &TempDir, jobs: usize) -> Vec<Vec<u8>> {
    let mut intruder = intruder(dir).await;
    let values = sqlx::query_scalar("SELECT value FROM job_secrets ORDER BY job").fetch_all(&mut intruder);
    let values: Vec<Vec<u8>> = values.await.unwrap();
    assert_eq!(values.len(), jobs);
    values.into_iter().map(|value| value[..24].to_vec()).collect()
}

/// Whoever can write to the database, and has no key, can have no secret handed to another job.
#[tokio::test]
async fn what_was_sealed_elsewhere_is_handed_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (_, store) = open_store(dir.path(), Setup::default()).await.unwrap();
    store.add_secret(secret("user:ann", "KEY", "ann's")).await.unwrap();
    store.add_secret(secret("user:bob", "KEY", "bob's")).await.unwrap();
    store.add_secret(secret("user:bob", "OTHER", "bob's other")).await.unwrap();
    for owner in ["user:ann", "user:bob"] {
        let mut job = NewJob { owner: owner.to_owned(), ..new_job("batches") };
        job.spec.secrets.insert("OF_JOB".to_owned(), format!("of the job of {owner}"));
        store.submit(job).await.unwrap();
    }
    let mut intruder = intruder(&dir).await;
    for swap in [
        // Another row's seals, both of them.
        "UPDATE secrets SET (key_id, data_key, value) = (SELECT key_id, data_key, value FROM secrets \
         WHERE namespace = 'user:bob' AND key = 'OTHER') WHERE namespace = 'user:ann'",
        // A row under another namespace and key.
        "DELETE FROM secrets WHERE namespace = 'user:ann'",
        "UPDATE secrets SET namespace = 'user:ann' WHERE key = 'KEY'",
        "UPDATE secrets SET namespace = '' WHERE key = 'OTHER'",
        "UPDATE job_secrets SET (key_id, data_key, value) = (SELECT key_id, data_key, value FROM job_secrets \
         WHERE job = 2) WHERE job = 1",
    ] {
        sqlx::query(swap).execute(&mut intruder).await.unwrap();
    }
    // The first job's own secrets are another one's: it has failed, and the next is given out.
    let claimed = claim(&store).await;
    assert_eq!(claimed.job.id, JobId(2));
    let first = store.job(JobId(1)).await.unwrap();
    assert_eq!((first.record.state, first.end.unwrap().reason.as_str()), (State::Failed, "bad_job"));
    let id = store.submit(NewJob { owner: "user:ann".to_owned(), ..new_job("batches") }).await.unwrap();
    let claimed = claim(&store).await;
    assert_eq!(claimed.job.id, id);
    for key in ["KEY", "OTHER"] {
        let refused = store.open_secrets(id, &lease(&claimed), &[key.to_owned()]).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("secret {key} holds a sealed value that can't be read"));
    }
    let noted = "SELECT COUNT(*) FROM secret_accesses";
    let noted: i64 = sqlx::query_scalar(noted).fetch_one(&mut intruder).await.unwrap();
    assert_eq!(noted, 0);
}

#[tokio::test]
async fn a_server_without_the_key_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let (_, store) = open_store(dir.path(), Setup::default()).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let open = async |keys: &str| {
        let opened = open_with(dir.path(), Setup::default(), keys).await;
        opened.map(drop).map_err(|fault| fault.to_string())
    };
    // Even before anything is sealed: other servers of the same database have the same key.
    let other = "other:2222222222222222222222222222222222222222222222222222222222222222";
    let told = open(other).await.unwrap_err();
    assert!(
        told.starts_with("secrets are sealed with the key \"old\", which this server was not given"),
        "{told}"
    );
    let told = open(&other.replace("other", "old")).await.unwrap_err();
    assert!(told.starts_with("the key \"old\" that this server was given is not the one"), "{told}");
    assert!(!told.contains("2222"), "{told}");
    open(&format!("{other}\n{}", Setup::KEYS)).await.unwrap();
}

/// What versions wrote that sealed nothing.
#[tokio::test]
async fn plain_secrets_of_earlier_versions_are_read_and_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let (_, store) = open_store(dir.path(), Setup::default()).await.unwrap();
    for _ in 0..2 {
        store.submit(new_job("batches")).await.unwrap();
    }
    let mut intruder = intruder(&dir).await;
    let plain = "INSERT INTO job_secrets (job, plain) VALUES (1, '{\"KEY\":\"hunter2\"}'), (2, '{\"KEY\":\"hunter2\"}')";
    sqlx::query(plain).execute(&mut intruder).await.unwrap();
    assert_eq!(claim(&store).await.secrets["KEY"].expose_secret(), "hunter2");
    assert!(all_text(dir.path()).contains("hunter2"));
    store.seal_anew().await.unwrap();
    store.checkpoint().await.unwrap();
    assert!(!all_text(dir.path()).contains("hunter2"));
    assert_eq!(claim(&store).await.secrets["KEY"].expose_secret(), "hunter2");
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
    assert!(contains(&bytes, b"alpine:3"), "the job itself is there");
    assert!(!contains(&bytes, token.as_bytes()));
    assert!(!contains(&bytes, &raw));
}

fn all_text(dir: &Path) -> String {
    String::from_utf8_lossy(&all_bytes(dir)).into_owned()
}

fn all_bytes(dir: &Path) -> Vec<u8> {
    let files = ["executor.db", "executor.db-wal", "executor.db-shm"];
    files.into_iter().flat_map(|file| std::fs::read(dir.join(file)).unwrap_or_default()).collect()
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}
