//! What was acknowledged survives the death of the process.

use super::open_in;
use crate::contract::world::{Setup, lease};
use jobs::{JobId, State};
use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use store::Finish;

const ROUNDS: u32 = 20;
const DIR: &str = "STORE_TEST_KILL_DIR";

/// Not a test by itself: what `acknowledged_work_survives_sigkill` starts and kills.
#[tokio::test]
#[ignore = "started by acknowledged_work_survives_sigkill"]
#[expect(clippy::disallowed_methods, reason = "the test that starts this one says where")]
async fn work_until_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let world = open_in(dir.as_ref(), Setup::default()).await.unwrap();
    let acknowledge = |what: &str, id: JobId| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n{what} {id}").unwrap();
        out.flush().unwrap();
    };
    loop {
        acknowledge("submitted", world.submit("batches").await);
        let claimed = world.claim("exec-1").await.unwrap();
        let (id, lease) = (claimed.job.id, lease(&claimed));
        let entry = world.open_entry(id, &lease, "").await;
        world.append(id, &lease, entry, 0, "text").await.unwrap();
        acknowledge("logged", id);
        world.store.finish(id, &lease, Finish::Complete).await.unwrap();
        acknowledge("finished", id);
        world.store.seal_logs(false).await.unwrap();
    }
}

#[tokio::test]
async fn acknowledged_work_survives_sigkill() {
    let seed = new_seed();
    println!("seed {seed}");
    let mut random = seed;
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let mut worker = start(dir.path());
        let lines = worker.stdout.take().unwrap();
        let reader = std::thread::spawn(move || io::read_to_string(lines).unwrap());
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis(60 + (random >> 33) % 140)).await;
        worker.kill().unwrap();
        worker.wait().unwrap();
        let said = reader.join().unwrap();
        acknowledged.extend(said.split_inclusive('\n').filter_map(parse));
        let world = open_in(dir.path(), Setup::default()).await.unwrap();
        for (what, id) in &acknowledged {
            let job = world.store.job(*id).await;
            let job = job.unwrap_or_else(|error| panic!("round {round}: {what} {id}: {error}"));
            match what.as_str() {
                "logged" => assert_eq!(world.text(*id, job.record.epoch, 1).await, "text"),
                "finished" => assert_eq!(job.record.state, State::Completed),
                _ => {}
            }
        }
    }
    nothing_is_left_over(dir.path()).await;
    println!("{} acknowledgements in {ROUNDS} rounds", acknowledged.len());
    assert!(acknowledged.len() > ROUNDS as usize, "the workers hardly worked");
}

/// All logs are sealed in the end, and there are no objects but theirs.
async fn nothing_is_left_over(dir: &std::path::Path) {
    let world = open_in(dir, Setup::default()).await.unwrap();
    world.stall_all().await;
    while world.store.seal_logs(true).await.unwrap() > 0 {}
    world.advance(25 * 3_600);
    while world.store.sweep_objects().await.unwrap() > 0 {}
    let mut texts = 0;
    for id in 1.. {
        let Ok(job) = world.store.job(JobId(id)).await else { break };
        for epoch in 1..=job.record.epoch {
            let entries = world.store.log_entries(JobId(id), Some(epoch)).await.unwrap();
            texts += usize::from(entries.iter().any(|entry| entry.length > 0));
        }
    }
    let shard = std::fs::read_dir(dir.join("objects/logs/0")).unwrap();
    let objects: Vec<_> = shard.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(objects.len(), texts, "{objects:?}");
    // A job that is tried again keeps its directory for that.
    for job in std::fs::read_dir(dir.join("logs")).unwrap() {
        let job = job.unwrap().path();
        assert_eq!(std::fs::read_dir(&job).unwrap().count(), 0, "{} has files", job.display());
    }
}

fn start(dir: &std::path::Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["sqlite::kill::work_until_killed", "--exact", "--ignored", "--nocapture"]);
    command.env(DIR, dir).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// `what id`. The test harness writes lines as well; half a line acknowledges nothing.
fn parse(line: &str) -> Option<(String, JobId)> {
    let (what, id) = line.strip_suffix('\n')?.split_once(' ')?;
    let known = ["submitted", "logged", "finished"].contains(&what);
    Some((what.to_owned(), id.parse().ok()?)).filter(|_| known)
}

fn new_seed() -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}
