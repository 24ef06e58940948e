//! People who sign in.

use super::SqlStore;
use super::database::Durability;
use super::portions;
use super::session::Session;
use super::statements::statements;
use super::values::{micros, timestamp};
use crate::error::{Countable, StoreError};
use crate::people::{NewPerson, PersonRow};
use jiff::Timestamp;
use jobs::Namespace;

/// People at most.
const MAX_PEOPLE: i64 = 10_000;

macro_rules! columns {
    () => {
        "id, name, role, namespace, created_by, created_at, password_at, last_used_at"
    };
}

statements! {
    COUNT = portions::count!("people");
    INSERT = concat!(
        "INSERT INTO people (name, password, role, namespace, created_by, created_at, password_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (name) DO NOTHING RETURNING ", columns!()
    );
    LIST = concat!(
        "SELECT ", columns!(), " FROM people \
         WHERE CAST($1 AS TEXT) IS NULL OR namespace = $1 ORDER BY namespace, name LIMIT $2"
    );
    BY_NAME = concat!("SELECT ", columns!(), " FROM people WHERE name = $1");
    PASSWORD = "SELECT password FROM people WHERE id = $1";
    SET_PASSWORD = concat!(
        "UPDATE people SET password = $1, password_at = $2 WHERE name = $3 RETURNING ", columns!()
    );
    END_SESSIONS = "DELETE FROM sessions WHERE person = $1";
    REMOVE = concat!("DELETE FROM people WHERE name = $1 RETURNING ", columns!());
    NOTE_USE = "UPDATE people SET last_used_at = $1 WHERE id = $2";
}

/// Somebody as they come out of the database.
type Columns = (i64, String, String, String, String, i64, i64, Option<i64>);

pub(super) async fn add(store: &SqlStore, new: NewPerson) -> Result<PersonRow, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let counts = write.query(COUNT).bind(new.namespace.key()).one().await?;
    portions::check(Countable::People, &new.namespace, MAX_PEOPLE, counts)?;
    let insert = write
        .query(INSERT)
        .bind(&new.name)
        .bind(&new.password)
        .bind(new.role.name())
        .bind(new.namespace.key())
        .bind(&new.created_by)
        .bind(micros(store.clock.now()));
    let Some(columns) = insert.optional().await? else {
        return Err(StoreError::PersonExists(new.name));
    };
    store.commit(write).await?;
    read(columns)
}

pub(super) async fn list(store: &SqlStore, of: Option<&Namespace>) -> Result<Vec<PersonRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let list = lookup.query(LIST).bind(of.map(Namespace::key)).bind(MAX_PEOPLE);
    list.all::<Columns>().await?.into_iter().map(read).collect()
}

pub(super) async fn by_name(store: &SqlStore, name: &str) -> Result<Option<(PersonRow, String)>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let Some(columns) = lookup.query(BY_NAME).bind(name).optional::<Columns>().await? else {
        return Ok(None);
    };
    let row = read(columns)?;
    let password: Option<(String,)> = lookup.query(PASSWORD).bind(row.id).optional().await?;
    Ok(password.map(|(password,)| (row, password)))
}

pub(super) async fn set_password(
    store: &SqlStore,
    name: &str,
    password: &str,
) -> Result<Option<PersonRow>, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let set = write.query(SET_PASSWORD).bind(password).bind(micros(store.clock.now())).bind(name);
    let row = set.optional().await?.map(read).transpose()?;
    if let Some(row) = &row {
        write.query(END_SESSIONS).bind(row.id).execute().await?;
    }
    store.commit(write).await?;
    Ok(row)
}

/// Their sessions go with them.
pub(super) async fn remove(store: &SqlStore, name: &str) -> Result<Option<PersonRow>, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let removed = write.query(REMOVE).bind(name).optional().await?;
    store.commit(write).await?;
    removed.map(read).transpose()
}

/// Notes that somebody was here.
pub(super) async fn note_use(session: &mut Session, id: i64, at: Timestamp) -> Result<(), StoreError> {
    session.query(NOTE_USE).bind(micros(at)).bind(id).execute().await.map(drop)
}

fn read(columns: Columns) -> Result<PersonRow, StoreError> {
    let (id, name, role, namespace, created_by, created_at, password_at, last_used_at) = columns;
    let row = || format!("person {id}");
    Ok(PersonRow {
        id,
        name,
        role: role.parse().map_err(|_| StoreError::corrupt(row(), "role"))?,
        namespace: super::values::namespace(&namespace, row)?,
        created_by,
        created_at: timestamp(created_at, row)?,
        password_at: timestamp(password_at, row)?,
        last_used_at: last_used_at.map(|micros| timestamp(micros, row)).transpose()?,
    })
}
