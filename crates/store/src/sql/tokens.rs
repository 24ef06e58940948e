//! Tokens of the public API.

use super::SqlStore;
use super::database::Durability;
use super::portions;
use super::secrets;
use super::session::Session;
use super::statements::statements;
use super::token::{self, Kind};
use super::values::{micros, timestamp};
use crate::error::{Countable, StoreError};
use crate::identity::{NewToken, TokenRow};
use jiff::{SignedDuration, Timestamp};
use jobs::Namespace;

/// Tokens that are not revoked at most. One that has expired counts, and is listed, until its place or its name is needed.
const MAX_TOKENS: i64 = 10_000;
/// That a token is used is noted this often at most: each note is a write.
pub(super) const NOTED_EVERY: SignedDuration = SignedDuration::from_mins(10);

macro_rules! columns {
    () => {
        "id, name, role, namespace, created_by, created_at, expires_at, last_used_at"
    };
}

statements! {
    COUNT = portions::count!("tokens WHERE revoked_at IS NULL");
    /// They were good for nothing since then.
    CLEAR = "UPDATE tokens SET revoked_at = expires_at WHERE revoked_at IS NULL AND expires_at <= $1";
    CLEAR_NAME = "UPDATE tokens SET revoked_at = expires_at WHERE revoked_at IS NULL AND expires_at <= $1 \
                  AND namespace = $2 AND name = $3";
    INSERT = concat!(
        "INSERT INTO tokens (digest, name, role, namespace, created_by, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (namespace, name) WHERE revoked_at IS NULL DO NOTHING RETURNING ", columns!()
    );
    BY_DIGEST = concat!(
        "SELECT ", columns!(), " FROM tokens \
         WHERE digest = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)"
    );
    IS_GOOD = "SELECT COUNT(*) FROM tokens WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";
    NOTE_USE = "UPDATE tokens SET last_used_at = $1 WHERE id = $2";
    LIST = concat!(
        "SELECT ", columns!(), " FROM tokens \
         WHERE revoked_at IS NULL AND (CAST($1 AS TEXT) IS NULL OR namespace = $1) ORDER BY namespace, name LIMIT $2"
    );
    REVOKE = concat!(
        "UPDATE tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL RETURNING ", columns!()
    );
    FORGET = "DELETE FROM tokens WHERE revoked_at < $1 OR expires_at < $1";
}

/// A token as it comes out of the database.
type Columns = (i64, String, String, String, String, i64, Option<i64>, Option<i64>);

pub(super) async fn create(store: &SqlStore, new: NewToken) -> Result<(TokenRow, String), StoreError> {
    let shown = token::generate_shown(Kind::Api)?;
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let made = insert(&mut write, &shown, new, store.clock.now()).await;
    let row = store.settle(write, made).await?;
    Ok((row, shown))
}

async fn insert(
    write: &mut Session,
    shown: &str,
    new: NewToken,
    now: Timestamp,
) -> Result<TokenRow, StoreError> {
    make_room(write, &new, now).await?;
    let insert = write
        .query(INSERT)
        .bind(token::hash(shown))
        .bind(&new.name)
        .bind(new.role.name())
        .bind(new.namespace.key())
        .bind(&new.created_by)
        .bind(micros(now))
        .bind(new.expires_at.map(micros));
    let Some(columns) = insert.optional().await? else {
        return Err(StoreError::TokenExists { name: new.name, namespace: new.namespace });
    };
    read(columns)
}

/// Takes name and place from tokens that have expired, where they are needed.
async fn make_room(write: &mut Session, new: &NewToken, now: Timestamp) -> Result<(), StoreError> {
    let clear = write.query(CLEAR_NAME).bind(micros(now)).bind(new.namespace.key()).bind(&new.name);
    clear.execute().await?;
    if check(write, new).await.is_ok() {
        return Ok(());
    }
    write.query(CLEAR).bind(micros(now)).execute().await?;
    check(write, new).await
}

async fn check(write: &mut Session, new: &NewToken) -> Result<(), StoreError> {
    let counts = write.query(COUNT).bind(new.namespace.key()).one().await?;
    portions::check(Countable::Tokens, &new.namespace, MAX_TOKENS, counts)
}

pub(super) async fn by_shown(store: &SqlStore, shown: &str) -> Result<Option<TokenRow>, StoreError> {
    let now = store.clock.now();
    let mut lookup = store.database.lookup().await?;
    let found = lookup.query(BY_DIGEST).bind(token::hash(shown)).bind(micros(now)).optional().await?;
    drop(lookup);
    let Some(row) = found.map(read).transpose()? else { return Ok(None) };
    if is_due(row.last_used_at, now) {
        let mut write = store.database.write(Durability::Crash).await?;
        write.query(NOTE_USE).bind(micros(now)).bind(row.id).execute().await?;
        store.commit(write).await?;
    }
    Ok(Some(row))
}

pub(super) async fn is_good(store: &SqlStore, id: i64) -> Result<bool, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let (good,): (i64,) = lookup.query(IS_GOOD).bind(id).bind(micros(store.clock.now())).one().await?;
    Ok(good > 0)
}

/// Asks two of the cheapest questions there are; only to that for keys the answer matters.
pub(super) async fn answers(store: &SqlStore) -> Result<(), StoreError> {
    let mut asked = store.database.asked().await?;
    asked.query(IS_GOOD).bind(0_i64).bind(0_i64).one::<(i64,)>().await?;
    secrets::all_are_there(store, &mut asked).await
}

/// Whether a use is to be noted now.
pub(super) fn is_due(noted: Option<Timestamp>, now: Timestamp) -> bool {
    noted.is_none_or(|noted| now.duration_since(noted) >= NOTED_EVERY)
}

pub(super) async fn list(store: &SqlStore, of: Option<&Namespace>) -> Result<Vec<TokenRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let list = lookup.query(LIST).bind(of.map(Namespace::key)).bind(MAX_TOKENS);
    list.all::<Columns>().await?.into_iter().map(read).collect()
}

pub(super) async fn revoke(store: &SqlStore, id: i64) -> Result<Option<TokenRow>, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let revoked = write.query(REVOKE).bind(micros(store.clock.now())).bind(id).optional().await?;
    store.commit(write).await?;
    revoked.map(read).transpose()
}

/// Forgets those that were good for nothing already at `cutoff`; says how many.
pub(super) async fn forget(session: &mut Session, cutoff: Timestamp) -> Result<u64, StoreError> {
    session.query(FORGET).bind(micros(cutoff)).execute().await
}

fn read(columns: Columns) -> Result<TokenRow, StoreError> {
    let (id, name, role, namespace, created_by, created_at, expires_at, last_used_at) = columns;
    let row = || format!("token {id}");
    let time = |micros: Option<i64>| micros.map(|micros| timestamp(micros, row)).transpose();
    Ok(TokenRow {
        id,
        name,
        role: role.parse().map_err(|_| StoreError::corrupt(row(), "role"))?,
        namespace: super::values::namespace(&namespace, row)?,
        created_by,
        created_at: timestamp(created_at, row)?,
        expires_at: time(expires_at)?,
        last_used_at: time(last_used_at)?,
    })
}
