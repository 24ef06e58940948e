//! `kill -9` of the server, of its database, or of both, at random moments, while clients and executors go on: what was
//! acknowledged is there afterwards, and nothing is there twice.

mod caller;
mod check;
mod clients;
mod executors;
mod keepers;
mod ledger;
mod operators;

use crate::chaos::{Dice, number};
use crate::support::{System, wait};
use caller::Caller;
use keepers::INDEXED;
use ledger::Ledger;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;
use testkit::Postgres;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// How often something is killed, unless `EXECUTOR_CHAOS_SERVER_KILLS` says otherwise.
const KILLS: u64 = 12;
/// How long it runs between two kills at most, in milliseconds.
const BETWEEN: u64 = 700;
/// A job that nobody knows of any more, because the answer that gave it out was lost, is given out again when its lease is
/// over. The proxy is this test.
const ARGS: &[&str] = &["--lease", "10s", "--trusted-proxy", "127.0.0.1"];
/// How long it may take afterwards until all jobs have ended.
const SETTLED: Duration = Duration::from_mins(2);
/// Those who submit, and those who run.
const CLIENTS: u64 = 2;
const EXECUTORS: u64 = 3;

/// What was killed, and what was acknowledged meanwhile.
#[expect(clippy::print_stderr, reason = "what was done, and how to do it again, is told with a failure")]
fn storm(mut system: System, mut postgres: Option<&mut Postgres>) {
    let kills = number("EXECUTOR_CHAOS_SERVER_KILLS").unwrap_or(KILLS);
    let seed = number("EXECUTOR_CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 20 | kills);
    eprintln!("seed {seed}, {kills} kills");
    let mut dice = Dice(seed);
    let ledger = Arc::new(Ledger::default());
    let caller = Caller::new(&system, Arc::clone(&ledger));
    let (source, [_, commit]) = system.git_repository();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(caller.add_repository(INDEXED, &source));
    let mut callers = vec![
        runtime.spawn(caller.clone().keep()),
        runtime.spawn(caller.clone().let_in()),
        runtime.spawn(caller.clone().mirror(source)),
        runtime.spawn(caller.clone().index(commit.clone())),
        runtime.spawn(caller.clone().operate()),
        runtime.spawn(caller.clone().submit_pairs()),
    ];
    callers.extend((0..CLIENTS).map(|n| runtime.spawn(caller.clone().submit(n))));
    let executors: Vec<_> = (0..EXECUTORS).map(|n| runtime.spawn(caller.clone().execute(n))).collect();
    let (mut servers, mut databases) = (0, 0);
    for _ in 0..kills {
        dice.pause(BETWEEN);
        let database = postgres.as_deref_mut().filter(|_| dice.below(2) == 0);
        let with_server = database.is_none() || dice.below(3) == 0;
        if let Some(postgres) = database {
            postgres.crash();
            if with_server {
                system.server.kill();
            }
            postgres.restart();
            databases += 1;
        }
        if with_server {
            system.restart_server();
            servers += 1;
        }
    }
    caller.stop();
    for caller in callers {
        runtime.block_on(caller).unwrap();
    }
    runtime.block_on(caller.ask_for_secrets());
    settle(&runtime, &caller, &executors);
    caller.leave();
    for executor in executors {
        runtime.block_on(executor).unwrap();
    }
    runtime.block_on(caller.check(&commit));
    eprintln!("killed: {servers} times the server, {databases} times the database; acknowledged: {ledger}");
    ledger.is_worth_looking_at();
}

/// Waits until every job has ended: also those that were given out by an answer that nobody heard.
fn settle(runtime: &Runtime, caller: &Caller, executors: &[JoinHandle<()>]) {
    wait(SETTLED, "all jobs to end", || {
        assert!(!executors.iter().any(JoinHandle::is_finished), "an executor failed: see what it said");
        let jobs = runtime.block_on(caller.all_jobs());
        let has_ended =
            |job: &Value| ["completed", "failed", "canceled"].contains(&job["state"].as_str().unwrap());
        jobs.values().all(has_ended).then_some(())
    });
}

#[test]
fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    let test = "nothing_acknowledged_is_lost_when_the_server_is_killed";
    let Some(system) = System::serving(test, ARGS, &[]) else { return };
    storm(system, None);
}

#[test]
fn nothing_acknowledged_is_lost_when_server_and_database_are_killed() {
    let test = "nothing_acknowledged_is_lost_when_server_and_database_are_killed";
    let Some(mut postgres) = Postgres::start(test) else { return };
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("database-url");
    std::fs::write(&file, format!("{}\n", postgres.url())).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let args = [ARGS, &["--database-url-file", file.to_str().unwrap()]].concat();
    let Some(system) = System::serving(test, &args, &[]) else { return };
    storm(system, Some(&mut postgres));
}
