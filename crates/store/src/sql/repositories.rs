//! Repositories that jobs may name.

use super::SqlStore;
use super::database::Durability;
use super::statements::statements;
use super::values::{micros, namespace, timestamp};
use crate::error::StoreError;
use crate::model::{NewRepository, RepositoryRow};
use jobs::Namespace;

macro_rules! columns {
    () => {
        "id, namespace, name, source, created_at"
    };
}

statements! {
    INSERT = concat!(
        "INSERT INTO repositories (namespace, name, source, created_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (namespace, name) DO NOTHING RETURNING ", columns!()
    );
    BY_NAME = concat!("SELECT ", columns!(), " FROM repositories WHERE namespace = $1 AND name = $2");
    NAMED = concat!("SELECT ", columns!(), " FROM repositories WHERE name = $1 ORDER BY namespace LIMIT $2");
    LIST = concat!("SELECT ", columns!(), " FROM repositories ORDER BY namespace, name");
    DELETE = "DELETE FROM repositories WHERE namespace = $1 AND name = $2";
}

/// Repositories of one name that are told at most.
const MAX_NAMED: i64 = 1_000;

/// A repository as it comes out of the database.
type Columns = (i64, String, String, String, i64);

pub(super) async fn add(store: &SqlStore, new: NewRepository) -> Result<RepositoryRow, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let insert = write.query(INSERT).bind(new.namespace.key()).bind(&new.name).bind(&new.source);
    let Some(columns) = insert.bind(micros(store.clock.now())).optional().await? else {
        return Err(StoreError::RepositoryExists { name: new.name, namespace: new.namespace });
    };
    store.commit(write).await?;
    read(columns)
}

pub(super) async fn by_name(
    store: &SqlStore,
    of: &Namespace,
    name: &str,
) -> Result<Option<RepositoryRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    lookup.query(BY_NAME).bind(of.key()).bind(name).optional().await?.map(read).transpose()
}

pub(super) async fn named(store: &SqlStore, name: &str) -> Result<Vec<RepositoryRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let rows: Vec<Columns> = lookup.query(NAMED).bind(name).bind(MAX_NAMED).all().await?;
    rows.into_iter().map(read).collect()
}

pub(super) async fn list(store: &SqlStore) -> Result<Vec<RepositoryRow>, StoreError> {
    let rows: Vec<Columns> = store.database.lookup().await?.query(LIST).all().await?;
    rows.into_iter().map(read).collect()
}

pub(super) async fn remove(store: &SqlStore, of: &Namespace, name: &str) -> Result<bool, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let removed = write.query(DELETE).bind(of.key()).bind(name).execute().await?;
    store.commit(write).await?;
    Ok(removed == 1)
}

fn read((id, of, name, source, created_at): Columns) -> Result<RepositoryRow, StoreError> {
    let row = || format!("repository {name:?}");
    let (namespace, created_at) = (namespace(&of, row)?, timestamp(created_at, row)?);
    Ok(RepositoryRow { id, namespace, name, source, created_at })
}
