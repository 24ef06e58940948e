//! What is particular to the store in PostgreSQL.

mod changes;
mod clock;
mod keys;
mod lanes;
mod logs;
mod objects;
mod people;
mod rollout;
mod secrets;
mod submissions;
mod together;

use crate::contract::world::{Setup, World};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use store::{DatabaseChoice, Keyring, ObjectsChoice, SqlStore, StoreError, StoreOptions};
use tempfile::TempDir;
use testkit::{MockClock, Postgres};

/// Whether PostgreSQL is installed.
pub(crate) fn is_there(test: &str) -> bool {
    Postgres::is_installed(test)
}

/// A store in a schema of its own, which takes less time than a database, of a server that goes with the last of its
/// stores.
pub(crate) async fn open(setup: Setup) -> World {
    static SERVER: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    static SCHEMAS: AtomicU32 = AtomicU32::new(0);
    let server = {
        let mut shared = SERVER.lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Postgres::start("a store in PostgreSQL").unwrap());
            *shared = Arc::downgrade(&started);
            started
        })
    };
    let name = format!("store_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    let create = AssertSqlSafe(format!("CREATE SCHEMA {name}"));
    sqlx::query(create).execute(&mut connection).await.unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let (dir, store) = open_at(server.url_of_schema(&name), &clock, setup).await.unwrap();
    let store = Arc::new(store);
    World {
        store: store.clone(),
        sql: store,
        clock,
        entries: AtomicI64::new(0),
        _keep: Box::new((dir, server)),
    }
}

/// A store in the database that is there from the beginning, with a data directory of its own.
async fn open_on(
    postgres: &Postgres,
    clock: &Arc<MockClock>,
    setup: Setup,
) -> Result<(TempDir, SqlStore), StoreError> {
    open_at(postgres.url(), clock, setup).await
}

async fn open_at(
    url: String,
    clock: &Arc<MockClock>,
    setup: Setup,
) -> Result<(TempDir, SqlStore), StoreError> {
    open_with_objects(url, clock, setup, ObjectsChoice::Directory).await
}

/// A store with a clock of its own.
async fn open_clocked(url: &str, clock: Arc<dyn jobs::Clock>) -> (TempDir, SqlStore) {
    let (dir, setup) = (tempfile::tempdir().unwrap(), Setup::default());
    let options = options(dir.path(), url.to_owned(), clock, setup, ObjectsChoice::Directory);
    let store = SqlStore::open(options).await.unwrap();
    (dir, store)
}

async fn open_with_objects(
    url: String,
    clock: &Arc<MockClock>,
    setup: Setup,
    objects: ObjectsChoice,
) -> Result<(TempDir, SqlStore), StoreError> {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in(dir.path(), url, clock, setup, objects).await?;
    Ok((dir, store))
}

async fn open_in(
    dir: &Path,
    url: String,
    clock: &Arc<MockClock>,
    setup: Setup,
    objects: ObjectsChoice,
) -> Result<SqlStore, StoreError> {
    SqlStore::open(options(dir, url, Arc::clone(clock) as _, setup, objects)).await
}

fn options(
    dir: &Path,
    url: String,
    clock: Arc<dyn jobs::Clock>,
    setup: Setup,
    objects: ObjectsChoice,
) -> StoreOptions {
    StoreOptions {
        dir: dir.to_owned(),
        database: DatabaseChoice::Postgres { url },
        objects,
        clock,
        retry: setup.retry,
        keys: Arc::new(Keyring::parse(Setup::KEYS).unwrap()),
        max_log_bytes: setup.max_log_bytes,
        max_queued: setup.max_queued,
    }
}
