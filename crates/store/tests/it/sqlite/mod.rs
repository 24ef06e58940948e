//! What is particular to the store in SQLite.

mod damage;
mod directory;
mod forget;
mod full_disk;
mod kill;
mod limits;
mod secrets;
mod speed;
mod versions;

use crate::contract::world::{Setup, World};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use store::{DatabaseChoice, Keyring, ObjectsChoice, SqlStore, StoreError, StoreOptions};
use tempfile::TempDir;
use testkit::MockClock;

/// It is built in.
pub(crate) fn is_there(_test: &str) -> bool {
    true
}

/// A store in a directory of its own.
pub(crate) async fn open(setup: Setup) -> World {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), setup).await.unwrap();
    World { _keep: Box::new(dir), ..world }
}

/// A store in a directory that may hold an earlier one's.
async fn open_in(dir: &Path, setup: Setup) -> Result<World, StoreError> {
    let (clock, store) = open_store(dir, setup).await?;
    let store = Arc::new(store);
    Ok(World { store: store.clone(), sql: store, clock, entries: AtomicI64::new(0), _keep: Box::new(()) })
}

async fn open_store(dir: &Path, setup: Setup) -> Result<(Arc<MockClock>, SqlStore), StoreError> {
    open_with(dir, setup, Setup::KEYS).await
}

/// The same, with other keys for secrets.
async fn open_with(dir: &Path, setup: Setup, keys: &str) -> Result<(Arc<MockClock>, SqlStore), StoreError> {
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let options = StoreOptions {
        dir: dir.to_owned(),
        database: DatabaseChoice::Embedded,
        objects: ObjectsChoice::Directory,
        clock: Arc::clone(&clock) as _,
        retry: setup.retry,
        keys: Arc::new(Keyring::parse(keys).unwrap()),
        max_log_bytes: setup.max_log_bytes,
        max_queued: setup.max_queued,
    };
    Ok((clock, SqlStore::open(options).await?))
}

/// A connection behind the store's back.
async fn intruder(dir: &TempDir) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(dir.path().join("executor.db"));
    options.connect().await.unwrap()
}
