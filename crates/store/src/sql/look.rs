//! A database, looked at from outside: nothing of it is changed, and nobody is kept from it.

use super::DatabaseChoice;
use super::database::{self, SchemaState};
use super::directory::check_in_use;
use crate::error::StoreError;
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
            database::look_at_sqlite(&dir.join("executor.db")).await
        }
        DatabaseChoice::Postgres { url } => database::look_at_postgres(url).await,
    }
}
