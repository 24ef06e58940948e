//! What the files of the database do not hold.

use super::{is_there, open_on};
use crate::contract::secrets::secret;
use crate::contract::world::{ALL_QUEUES, Setup, asking, lease, new_job};
use jobs::Namespace;
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection};
use std::process::Command;
use std::sync::Arc;
use store::{Keyring, Store, StoreError};
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

/// A key of which only one of two servers knows, until the other one is given it.
#[tokio::test]
async fn jobs_go_to_the_server_that_can_open_their_secrets() {
    const NEW: &str = "new:2222222222222222222222222222222222222222222222222222222222222222";
    if !is_there("jobs_go_to_the_server_that_can_open_their_secrets") {
        return;
    }
    let postgres = Postgres::start("jobs_go_to_the_server_that_can_open_their_secrets").unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (_first_dir, first) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let (_second_dir, second) = open_on(&postgres, &clock, Setup::default()).await.unwrap();
    let both = Keyring::parse(&format!("{NEW}\n{}", Setup::KEYS)).unwrap();
    first.take_up_keys(&both).await.unwrap();
    first.put_secret(secret("user:ann", "KEPT", "hunter2-that-is-kept")).await.unwrap();
    let of = |owner: &str| {
        let mut job = new_job("batches");
        job.owner = owner.parse::<Namespace>().unwrap().key();
        job
    };
    let (mut with_its_own, mut with_a_kept_one) = (of("user:bob"), of("user:ann"));
    with_its_own.spec.secrets.insert("OF_JOB".to_owned(), "hunter2-of-the-job".to_owned());
    with_a_kept_one.spec.stored_secrets.push("KEPT".to_owned());
    let jobs = vec![with_its_own, with_a_kept_one, of("user:ann"), of("user:carl")];
    let [own, kept, behind, plain] = first.submit_all(jobs).await.unwrap().try_into().unwrap();

    let wanted = second.answers().await.unwrap_err();
    assert!(matches!(&wanted, StoreError::UnknownSealingKey { key } if key == "new"), "{wanted:?}");
    first.answers().await.unwrap();
    let asking = asking(&ALL_QUEUES, "exec-1");
    assert_eq!(second.claim(&asking).await.unwrap().pop().unwrap().job.id, plain);
    assert!(second.claim(&asking).await.unwrap().is_empty());
    let mut given = Vec::new();
    while let Some(claimed) = first.claim(&asking).await.unwrap().pop() {
        given.push(claimed.job.id);
        if claimed.job.id == kept {
            let keys = ["KEPT".to_owned()];
            let refused = second.open_secrets(kept, &lease(&claimed), &keys).await.unwrap_err();
            assert!(matches!(refused, StoreError::UnknownSealingKey { .. }), "{refused:?}");
        }
    }
    given.sort_unstable();
    assert_eq!(given, [own, kept, behind]);

    let mut again = of("user:bob");
    again.spec.secrets.insert("OF_JOB".to_owned(), "hunter2-of-the-job".to_owned());
    let again = first.submit(again).await.unwrap();
    assert!(second.claim(&asking).await.unwrap().is_empty());
    second.take_up_keys(&both).await.unwrap();
    second.answers().await.unwrap();
    let claimed = second.claim(&asking).await.unwrap().pop().unwrap();
    assert_eq!(claimed.job.id, again);
    assert_eq!(claimed.secrets["OF_JOB"].expose_secret(), "hunter2-of-the-job");
}
