//! Repositories that jobs may name.

use super::SqliteStore;
use super::database::Durability;
use super::statements::statements;
use super::values::{micros, timestamp};
use crate::error::StoreError;
use crate::model::{NewRepository, RepositoryRow};

statements! {
    INSERT = "INSERT INTO repositories (name, source, created_at) VALUES (?, ?, ?) \
              ON CONFLICT (name) DO NOTHING RETURNING id, name, source, created_at";
    BY_NAME = "SELECT id, name, source, created_at FROM repositories WHERE name = ?";
    LIST = "SELECT id, name, source, created_at FROM repositories ORDER BY name";
    DELETE = "DELETE FROM repositories WHERE name = ?";
}

/// A repository as it comes out of the database.
type Columns = (i64, String, String, i64);

pub(super) async fn add(store: &SqliteStore, new: NewRepository) -> Result<RepositoryRow, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let insert = sqlx::query_as(INSERT).bind(&new.name).bind(&new.source).bind(micros(store.clock.now()));
    let Some(columns) = insert.fetch_optional(&mut *write).await? else {
        return Err(StoreError::RepositoryExists(new.name));
    };
    write.commit().await?;
    read(columns)
}

pub(super) async fn by_name(store: &SqliteStore, name: &str) -> Result<Option<RepositoryRow>, StoreError> {
    let columns = sqlx::query_as(BY_NAME).bind(name).fetch_optional(store.database.readers()).await?;
    columns.map(read).transpose()
}

pub(super) async fn list(store: &SqliteStore) -> Result<Vec<RepositoryRow>, StoreError> {
    let rows: Vec<Columns> = sqlx::query_as(LIST).fetch_all(store.database.readers()).await?;
    rows.into_iter().map(read).collect()
}

pub(super) async fn remove(store: &SqliteStore, name: &str) -> Result<bool, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let removed = sqlx::query(DELETE).bind(name).execute(&mut *write).await?.rows_affected();
    write.commit().await?;
    Ok(removed == 1)
}

fn read((id, name, source, created_at): Columns) -> Result<RepositoryRow, StoreError> {
    let created_at = timestamp(created_at, || format!("repository {name:?}"))?;
    Ok(RepositoryRow { id, name, source, created_at })
}
