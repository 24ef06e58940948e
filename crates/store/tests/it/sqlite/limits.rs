//! Limits that take many rows to reach.

use super::{intruder, open_in};
use crate::contract::world::Setup;
use store::StoreError;

#[tokio::test]
async fn one_try_has_a_number_of_entries() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_in(dir.path(), Setup::default()).await.unwrap();
    let (id, lease, _) = world.running().await;
    let almost_all = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) \
                      INSERT INTO log_entries (job, epoch, entry, key, start_time) SELECT 1, 1, i, 'x', 0 FROM n";
    sqlx::query(almost_all).execute(&mut intruder(&dir).await).await.unwrap();
    assert_eq!(world.open_entry(id, &lease, "").await, 10_000);
    let refused = world.store.add_log_entry(id, &lease, world.entry("")).await;
    assert!(matches!(refused, Err(StoreError::TooManyLogEntries { limit: 10_000, .. })), "{refused:?}");
}
