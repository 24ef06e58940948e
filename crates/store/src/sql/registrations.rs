//! Registration tokens.

use super::SqlStore;
use super::database::Durability;
use super::session::Session;
use super::statements::statements;
use super::token::{self, Kind};
use super::values::{micros, small, timestamp};
use crate::error::{Countable, StoreError};
use crate::identity::{NewRegistration, RegistrationRow};
use jiff::Timestamp;

/// Registration tokens that are not revoked at most.
const MAX_REGISTRATIONS: i64 = 1_000;

macro_rules! columns {
    () => {
        "id, name, max_uses, uses, created_by, created_at, expires_at"
    };
}

statements! {
    COUNT = "SELECT COUNT(*) FROM registrations WHERE revoked_at IS NULL AND expires_at > $1";
    INSERT = concat!(
        "INSERT INTO registrations (digest, name, max_uses, created_by, created_at, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING ", columns!()
    );
    LIST = concat!(
        "SELECT ", columns!(), " FROM registrations WHERE revoked_at IS NULL ORDER BY id DESC LIMIT $1"
    );
    REVOKE = concat!(
        "UPDATE registrations SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL RETURNING ", columns!()
    );
    /// Whoever else uses the same one at this moment waits.
    USE = "UPDATE registrations SET uses = uses + 1 \
           WHERE digest = $1 AND revoked_at IS NULL AND expires_at > $2 AND uses < max_uses RETURNING name";
    FORGET = "DELETE FROM registrations WHERE revoked_at < $1 OR expires_at < $1";
}

/// A registration token as it comes out of the database.
type Columns = (i64, String, i64, i64, String, i64, i64);

pub(super) async fn create(
    store: &SqlStore,
    new: NewRegistration,
) -> Result<(RegistrationRow, String), StoreError> {
    let shown = token::generate_shown(Kind::Registration)?;
    let now = store.clock.now();
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let (count,): (i64,) = write.query(COUNT).bind(micros(now)).one().await?;
    if count >= MAX_REGISTRATIONS {
        return Err(StoreError::TooMany { of: Countable::Registrations, limit: MAX_REGISTRATIONS });
    }
    let insert = write
        .query(INSERT)
        .bind(token::hash(&shown))
        .bind(&new.name)
        .bind(i64::from(new.max_uses))
        .bind(&new.created_by)
        .bind(micros(now))
        .bind(micros(new.expires_at));
    let columns = insert.one().await?;
    store.commit(write).await?;
    Ok((read(columns)?, shown))
}

pub(super) async fn list(store: &SqlStore) -> Result<Vec<RegistrationRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let list = lookup.query(LIST).bind(MAX_REGISTRATIONS);
    list.all::<Columns>().await?.into_iter().map(read).collect()
}

pub(super) async fn revoke(store: &SqlStore, id: i64) -> Result<Option<RegistrationRow>, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let revoked = write.query(REVOKE).bind(micros(store.clock.now())).bind(id).optional().await?;
    store.commit(write).await?;
    revoked.map(read).transpose()
}

/// Takes one use of a registration token that is good; returns its name.
pub(super) async fn take_use(
    session: &mut Session,
    shown: &str,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let used = session.query(USE).bind(token::hash(shown)).bind(micros(now)).optional().await?;
    Ok(used.map(|(name,): (String,)| name))
}

/// Forgets those that were good for nothing already at `cutoff`; says how many.
pub(super) async fn forget(session: &mut Session, cutoff: Timestamp) -> Result<u64, StoreError> {
    session.query(FORGET).bind(micros(cutoff)).execute().await
}

fn read(columns: Columns) -> Result<RegistrationRow, StoreError> {
    let (id, name, max_uses, uses, created_by, created_at, expires_at) = columns;
    let row = || format!("registration token {id}");
    Ok(RegistrationRow {
        id,
        name,
        max_uses: small(max_uses, "number of uses", row)?,
        uses: small(uses, "number of uses", row)?,
        created_by,
        created_at: timestamp(created_at, row)?,
        expires_at: timestamp(expires_at, row)?,
    })
}
