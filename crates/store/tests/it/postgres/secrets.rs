//! What the files of the database do not hold.

use super::{is_there, open_on};
use crate::contract::secrets::secret;
use crate::contract::world::{ALL_QUEUES, Setup, asking, lease, new_job};
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection};
use std::process::Command;
use std::sync::Arc;
use store::Store;
use testkit::{MockClock, Postgres};

#[tokio::test]
async fn no_secret_is_in_the_files_of_the_database() {
    if !is_there("no_secret_is_in_the_files_of_the_database") {
        return;
    }
    let mut postgres = Postgres::start("no_secret_is_in_the_files_of_the_database").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_dir, store) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let mut job = new_job("batches");
    job.spec.secrets.insert("OF_JOB".to_owned(), "hunter2-of-the-job".to_owned());
    store.submit(job).await.unwrap();
    store.put_secret(secret("global", "KEPT", "hunter2-that-is-kept")).await.unwrap();
    let claimed = store.claim(&asking(&ALL_QUEUES, "exec-1")).await.unwrap().pop().unwrap();
    assert_eq!(claimed.secrets["OF_JOB"].expose_secret(), "hunter2-of-the-job");
    let keys = ["KEPT".to_owned()];
    let opened = store.open_secrets(claimed.job.id, &lease(&claimed), &keys).await.unwrap();
    assert_eq!(opened[0].value.expose_secret(), "hunter2-that-is-kept");
    let mut connection = PgConnection::connect(&postgres.url()).await.unwrap();
    sqlx::query("CHECKPOINT").execute(&mut connection).await.unwrap();
    // Nobody changes them any more.
    postgres.crash();
    let holds = |text: &str| {
        let found = Command::new("grep").args(["-rqaF", text]).arg(postgres.data_dir()).status().unwrap();
        assert!(found.code().is_some_and(|code| code < 2), "the files can't be read");
        found.success()
    };
    assert!(holds("alpine:3"), "the job itself is there");
    assert!(!holds("hunter2"));
}
