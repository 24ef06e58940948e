//! What there is, in numbers.

use super::SqlStore;
use super::statements::statements;
use crate::error::StoreError;
use crate::model::Census;

statements! {
    COUNTS = "SELECT (SELECT COUNT(*) FROM executors), (SELECT COUNT(*) FROM secrets), (SELECT COUNT(*) FROM repositories)";
    BYTES in sqlite = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
          in postgres = "SELECT pg_database_size(current_database())";
}

pub(super) async fn take(store: &SqlStore) -> Result<Census, StoreError> {
    let (connections, idle_connections, max_connections) = store.database.connections();
    let mut lookup = store.database.lookup().await?;
    let (executors, secrets, repositories): (i64, i64, i64) = lookup.query(COUNTS).one().await?;
    let (bytes,): (i64,) = lookup.query(BYTES).one().await?;
    Ok(Census {
        executors: executors.unsigned_abs(),
        secrets: secrets.unsigned_abs(),
        repositories: repositories.unsigned_abs(),
        database_bytes: bytes.unsigned_abs(),
        connections,
        idle_connections,
        max_connections,
    })
}
