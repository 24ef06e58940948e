//! Jobs that a server of another version stored. Where several serve one database that is PostgreSQL; what is read is the same.

use super::{intruder, open_in};
use crate::contract::world::{Setup, World, new_job};
use jobs::{JobId, JobSpec, Needs, SPEC_VERSION, State};
use sqlx::AssertSqlSafe;
use store::StoreError;
use tempfile::TempDir;

struct Stored {
    world: World,
    dir: TempDir,
}

impl Stored {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = open_in(dir.path(), Setup::default()).await.unwrap();
        Self { world, dir }
    }

    /// A job in a lane of its own.
    async fn submit(&self, cpus: u32) -> JobId {
        let mut job = new_job("batches");
        job.spec.needs = Needs { cpus: Some(cpus), ..Needs::default() };
        self.world.store.submit(job).await.unwrap()
    }

    async fn write(&self, statement: String) {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut intruder(&self.dir).await).await.unwrap();
    }

    /// What a newer server would have written of a job: more keys than are known here.
    async fn asks(&self, job: JobId, keys: &str) {
        self.write(format!("UPDATE job_specs SET spec = json_patch(spec, '{keys}') WHERE job = {job}")).await;
    }

    async fn is_in_a_lane(&self, job: JobId, keys: &str) {
        let lane = format!("(SELECT lane FROM jobs WHERE id = {job})");
        self.write(format!("UPDATE lanes SET needs = json_patch(needs, '{keys}') WHERE id = {lane}")).await;
    }

    async fn claim(&self) -> Option<JobId> {
        self.world.claim("exec-1").await.map(|claimed| claimed.job.id)
    }

    async fn still_waits(&self, job: JobId) {
        let row = self.world.store.job(job).await.unwrap();
        assert_eq!((row.record.state, row.record.epoch), (State::Queued, 0));
    }
}

fn for_newer() -> String {
    format!(r#"{{"specVersion": {}, "sandbox": "moon"}}"#, SPEC_VERSION + 1)
}

#[tokio::test]
async fn a_key_that_matters_is_left_to_a_server_that_knows_it() {
    let stored = Stored::open().await;
    let (job, sound) = (stored.submit(1).await, stored.submit(2).await);
    stored.asks(job, &for_newer()).await;
    stored.is_in_a_lane(job, &format!(r#"{{"specVersion": {}}}"#, SPEC_VERSION + 1)).await;
    assert_eq!(stored.claim().await, Some(sound));
    assert_eq!(stored.claim().await, None);
    stored.still_waits(job).await;
    let refused = stored.world.store.spec(job).await;
    assert!(matches!(&refused, Err(StoreError::NewerSpec(id)) if *id == job), "{refused:?}");
    let shown = stored.world.store.stored_spec(job).await.unwrap();
    assert_eq!((shown.is_for_newer, shown.spec.needs.cpus), (true, Some(1)));
}

/// Nobody writes that: but nothing is worth a job's end that another server can run.
#[tokio::test]
async fn a_job_for_newer_servers_is_left_alone_in_any_lane() {
    let stored = Stored::open().await;
    let (job, sound) = (stored.submit(1).await, stored.submit(2).await);
    stored.asks(job, &for_newer()).await;
    assert_eq!(stored.claim().await, Some(sound));
    assert_eq!(stored.claim().await, None);
    stored.still_waits(job).await;
}

#[tokio::test]
async fn a_key_that_changes_nothing_is_passed_over() {
    let stored = Stored::open().await;
    let job = stored.submit(1).await;
    stored.asks(job, r#"{"color": "blue", "needs": {"why": "it is large"}}"#).await;
    assert_eq!(stored.claim().await, Some(job));
    let stored = stored.world.store.stored_spec(job).await.unwrap();
    assert_eq!((stored.is_for_newer, stored.spec.needs.cpus), (false, Some(1)));
}

/// Servers of the version before know neither retries nor a number, and read needs to the letter.
#[tokio::test]
async fn what_came_since_is_in_lanes_that_servers_before_do_not_read() {
    let stored = Stored::open().await;
    let (old, mut job) = (stored.world.submit("batches").await, new_job("batches"));
    job.spec = JobSpec { retries: 2, ..job.spec };
    let new = stored.world.store.submit(job).await.unwrap();
    let needs: Vec<String> = sqlx::query_scalar("SELECT needs FROM lanes ORDER BY id")
        .fetch_all(&mut intruder(&stored.dir).await)
        .await
        .unwrap();
    assert_eq!(needs, ["{}", r#"{"specVersion":2}"#]);
    assert!(serde_json::from_str::<Needs>(&needs[1]).is_err());
    assert_eq!(stored.claim().await, Some(old));
    assert_eq!(stored.claim().await, Some(new));
    assert_eq!(stored.world.store.spec(new).await.unwrap().retries, 2);
}
