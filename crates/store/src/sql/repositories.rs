//! Repositories that jobs may name.

use super::SqlStore;
use super::database::Durability;
use super::statements::statements;
use super::values::{micros, timestamp};
use crate::error::StoreError;
use crate::model::{NewRepository, RepositoryRow};

statements! {
    INSERT = "INSERT INTO repositories (name, source, created_at) VALUES ($1, $2, $3) \
              ON CONFLICT (name) DO NOTHING RETURNING id, name, source, created_at";
    BY_NAME = "SELECT id, name, source, created_at FROM repositories WHERE name = $1";
    LIST = "SELECT id, name, source, created_at FROM repositories ORDER BY name";
    DELETE = "DELETE FROM repositories WHERE name = $1";
}

/// A repository as it comes out of the database.
type Columns = (i64, String, String, i64);

pub(super) async fn add(store: &SqlStore, new: NewRepository) -> Result<RepositoryRow, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let insert = write.query(INSERT).bind(&new.name).bind(&new.source).bind(micros(store.clock.now()));
    let Some(columns) = insert.optional().await? else {
        return Err(StoreError::RepositoryExists(new.name));
    };
    store.commit(write).await?;
    read(columns)
}

pub(super) async fn by_name(store: &SqlStore, name: &str) -> Result<Option<RepositoryRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    lookup.query(BY_NAME).bind(name).optional().await?.map(read).transpose()
}

pub(super) async fn list(store: &SqlStore) -> Result<Vec<RepositoryRow>, StoreError> {
    let rows: Vec<Columns> = store.database.lookup().await?.query(LIST).all().await?;
    rows.into_iter().map(read).collect()
}

pub(super) async fn remove(store: &SqlStore, name: &str) -> Result<bool, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let removed = write.query(DELETE).bind(name).execute().await?;
    store.commit(write).await?;
    Ok(removed == 1)
}

fn read((id, name, source, created_at): Columns) -> Result<RepositoryRow, StoreError> {
    let created_at = timestamp(created_at, || format!("repository {name:?}"))?;
    Ok(RepositoryRow { id, name, source, created_at })
}
