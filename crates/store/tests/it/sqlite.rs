//! What is particular to the store in SQLite.

use crate::contract::{Setup, World};
use std::path::Path;
use std::sync::Arc;
use store::{SqliteOptions, SqliteStore, StoreError};
use testkit::MockClock;

/// A store in a directory of its own.
pub(crate) async fn open(setup: Setup) -> World {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let store = Arc::new(open_in(dir.path(), &clock, setup).await.unwrap());
    World { store, clock, _keep: Box::new(dir) }
}

async fn open_in(dir: &Path, clock: &Arc<MockClock>, setup: Setup) -> Result<SqliteStore, StoreError> {
    let options = SqliteOptions {
        dir: dir.to_owned(),
        clock: Arc::clone(clock) as _,
        retry: setup.retry,
        max_log_bytes: setup.max_log_bytes,
    };
    SqliteStore::open(options).await
}
