//! Executors that are known by a token of their own.

use super::database::Durability;
use super::session::{Query, Session};
use super::statements::statements;
use super::tokens::is_due;
use super::values::{micros, timestamp};
use super::{SqlStore, registrations, token, tokens};
use crate::error::{Countable, StoreError};
use crate::identity::IdentityRow;
use jiff::Timestamp;

/// Identities at most, those that were revoked included.
const MAX_IDENTITIES: i64 = 20_000;

macro_rules! columns {
    () => {
        "name, registration, created_at, last_used_at, revoked_at"
    };
}

statements! {
    COUNT = "SELECT COUNT(*) FROM identities";
    INSERT = concat!(
        "INSERT INTO identities (name, digest, registration, created_at, last_used_at) \
         VALUES ($1, $2, $3, $4, $4) ON CONFLICT DO NOTHING RETURNING ", columns!()
    );
    AGAIN = concat!(
        "SELECT ", columns!(), " FROM identities WHERE digest = $1 AND name = $2 AND revoked_at IS NULL"
    );
    BY_DIGEST = concat!("SELECT ", columns!(), " FROM identities WHERE digest = $1");
    BY_NAME = concat!("SELECT ", columns!(), " FROM identities WHERE name = $1");
    NOTE_USE = "UPDATE identities SET last_used_at = $1 WHERE name = $2";
    LIST = concat!("SELECT ", columns!(), " FROM identities ORDER BY name LIMIT $1");
    REVOKE = concat!(
        "UPDATE identities SET revoked_at = $1 WHERE name = $2 AND revoked_at IS NULL RETURNING ", columns!()
    );
    FORGET = "DELETE FROM identities WHERE last_used_at < $1";
}

/// An identity as it comes out of the database.
type Columns = (String, String, i64, i64, Option<i64>);

pub(super) async fn register(
    store: &SqlStore,
    shown: &str,
    name: &str,
    identity: &str,
) -> Result<(IdentityRow, bool), StoreError> {
    let now = store.clock.now();
    let digest = token::hash(identity);
    let mut write = store.database.write(Durability::PowerLoss).await?;
    // What comes to nothing takes no use either.
    let registered = register_within(&mut write, shown, name, digest, now).await;
    store.settle(write, registered).await
}

async fn register_within(
    write: &mut Session,
    shown: &str,
    name: &str,
    digest: Vec<u8>,
    now: Timestamp,
) -> Result<(IdentityRow, bool), StoreError> {
    // Whoever did not hear the answer asks again. Their registration token may be used up by then, and is not looked at.
    if let Some(row) = only(write.query(AGAIN).bind(&digest).bind(name)).await? {
        return Ok((row, false));
    }
    let registration = registrations::take_use(write, shown, now).await?;
    let registration = registration.ok_or(StoreError::BadRegistration)?;
    let (count,): (i64,) = write.query(COUNT).one().await?;
    if count >= MAX_IDENTITIES {
        return Err(StoreError::TooMany { of: Countable::Identities, limit: MAX_IDENTITIES });
    }
    let insert = write.query(INSERT).bind(name).bind(&digest).bind(registration).bind(micros(now));
    match only(insert).await? {
        Some(row) => Ok((row, true)),
        None => Err(conflict(write, name, digest).await?),
    }
}

/// What stands in the way of that name and identity.
async fn conflict(write: &mut Session, name: &str, digest: Vec<u8>) -> Result<StoreError, StoreError> {
    if let Some(row) = only(write.query(BY_NAME).bind(name)).await? {
        let conflict =
            if row.revoked_at.is_some() { StoreError::IdentityRevoked } else { StoreError::IdentityExists };
        return Ok(conflict(row.name));
    }
    let taken = only(write.query(BY_DIGEST).bind(digest)).await?;
    Ok(taken.map_or(StoreError::Outdated, |row| StoreError::IdentityTaken(row.name)))
}

pub(super) async fn by_shown(store: &SqlStore, shown: &str) -> Result<Option<IdentityRow>, StoreError> {
    let now = store.clock.now();
    let mut lookup = store.database.lookup().await?;
    let found = only(lookup.query(BY_DIGEST).bind(token::hash(shown))).await?;
    drop(lookup);
    if let Some(row) = found.as_ref().filter(|row| row.revoked_at.is_none())
        && is_due(Some(row.last_used_at), now)
    {
        let mut write = store.database.write(Durability::Crash).await?;
        write.query(NOTE_USE).bind(micros(now)).bind(&row.name).execute().await?;
        store.commit(write).await?;
    }
    Ok(found)
}

pub(super) async fn by_name(store: &SqlStore, name: &str) -> Result<Option<IdentityRow>, StoreError> {
    only(store.database.lookup().await?.query(BY_NAME).bind(name)).await
}

pub(super) async fn list(store: &SqlStore) -> Result<Vec<IdentityRow>, StoreError> {
    let rows: Vec<Columns> = store.database.lookup().await?.query(LIST).bind(MAX_IDENTITIES).all().await?;
    rows.into_iter().map(read).collect()
}

pub(super) async fn revoke(store: &SqlStore, name: &str) -> Result<Option<IdentityRow>, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let revoked = only(write.query(REVOKE).bind(micros(store.clock.now())).bind(name)).await?;
    store.commit(write).await?;
    Ok(revoked)
}

pub(super) async fn forget(store: &SqlStore, cutoff: Timestamp) -> Result<u64, StoreError> {
    let mut write = store.database.write(Durability::Crash).await?;
    let tokens =
        tokens::forget(&mut write, cutoff).await? + registrations::forget(&mut write, cutoff).await?;
    let forgotten = tokens + write.query(FORGET).bind(micros(cutoff)).execute().await?;
    store.commit(write).await?;
    Ok(forgotten)
}

async fn only(query: Query<'_>) -> Result<Option<IdentityRow>, StoreError> {
    query.optional().await?.map(read).transpose()
}

fn read(
    (name, registration, created_at, last_used_at, revoked_at): Columns,
) -> Result<IdentityRow, StoreError> {
    let row = || format!("identity {name:?}");
    Ok(IdentityRow {
        created_at: timestamp(created_at, row)?,
        last_used_at: timestamp(last_used_at, row)?,
        revoked_at: revoked_at.map(|micros| timestamp(micros, row)).transpose()?,
        registration,
        name,
    })
}
