//! Sealing with the first key what another one seals, a little at a time, while everything else goes on.

use super::super::SqlStore;
use super::super::database::Durability;
use super::{keys, of_jobs, of_repositories, stored};
use crate::error::StoreError;

/// Rows of one transaction: everybody else waits for its end.
const AT_ONCE: i64 = 100;

/// Seals everything anew that is not sealed with the first key; says how many transactions that took.
pub(in crate::sql) async fn seal_anew(store: &SqlStore) -> Result<u64, StoreError> {
    let mut turns = 0;
    let mut after = Some(String::new());
    while let Some(last) = after {
        let mut write = store.database.write(Durability::PowerLoss).await?;
        let sealed = stored::seal_anew(&store.keys, &mut write, &last, AT_ONCE).await;
        after = store.settle(write, sealed).await?;
        turns += u64::from(after.is_some());
    }
    let mut after = Some(i64::MIN);
    while let Some(last) = after {
        let mut write = store.database.write(Durability::PowerLoss).await?;
        let sealed = of_jobs::seal_anew(&store.keys, &mut write, last, AT_ONCE).await;
        after = store.settle(write, sealed).await?;
        turns += u64::from(after.is_some());
    }
    let mut after = Some(i64::MIN);
    while let Some(last) = after {
        let mut write = store.database.write(Durability::PowerLoss).await?;
        let sealed = of_repositories::seal_anew(&store.keys, &mut write, last, AT_ONCE).await;
        after = store.settle(write, sealed).await?;
        turns += u64::from(after.is_some());
    }
    if turns > 0 {
        let mut write = store.database.write(Durability::PowerLoss).await?;
        let retired = keys::retire(&store.keys, &mut write).await;
        store.settle(write, retired).await?;
    }
    Ok(turns)
}
