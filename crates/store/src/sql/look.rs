//! A database, looked at from outside: nothing of it is changed, and nobody is kept from it.

use super::DatabaseChoice;
use super::database::{self, Database, PostgresDatabase, SchemaState, SqliteFile};
use super::directory::{DATABASE, check_in_use};
use super::secrets;
use crate::error::StoreError;
use crate::sealing::Keyring;
use jiff::SignedDuration;
use std::path::Path;

/// What was seen of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseLook {
    /// Which database, and its version.
    pub version: String,
    /// Its schema, against the one that this version knows.
    pub schema: SchemaState,
    /// By how much its clock is ahead of this machine's, where it has one of its own.
    pub clock_ahead: Option<SignedDuration>,
}

/// Looks at the database that a server with this data directory would use.
pub async fn look_at_database(choice: &DatabaseChoice, dir: &Path) -> Result<DatabaseLook, StoreError> {
    match choice {
        DatabaseChoice::Embedded => {
            check_in_use(dir)?;
            database::look_at_sqlite(&dir.join(DATABASE)).await
        }
        DatabaseChoice::Postgres { url } => database::look_at_postgres(url).await,
    }
}

/// Which of the keys that a database's secrets are sealed with `keys` lacks, or has another one for: what a server that
/// is given them would refuse to start for, all of it. The schema must be this version's.
pub async fn look_at_keys(
    choice: &DatabaseChoice,
    dir: &Path,
    keys: Option<&Keyring>,
) -> Result<Vec<StoreError>, StoreError> {
    let database = match choice {
        DatabaseChoice::Embedded => Database::Sqlite(SqliteFile::for_reading(&dir.join(DATABASE)).await?),
        DatabaseChoice::Postgres { url } => Database::Postgres(PostgresDatabase::beside(url).await?),
    };
    let mut session = database.snapshot().await?;
    let missed = secrets::missed(&mut session, keys).await;
    // Nothing was written, so that it can't be taken back is no fault; what was found is what matters.
    let _ = session.roll_back().await;
    database.close().await;
    missed
}
