//! Sessions of people who signed in.

use super::SqlStore;
use super::database::Durability;
use super::statements::statements;
use super::tokens::is_due;
use super::values::{self, micros, timestamp};
use super::{people, token};
use crate::error::StoreError;
use crate::people::{NewSession, SessionOf, SessionRow, SessionTerms};
use jiff::{SignedDuration, Timestamp};
use jobs::Principal;

/// Sessions of one holder at most: of more the ones that were not used for longest go.
const MAX_EACH: i64 = 20;
/// Sessions that are forgotten in one transaction: everybody else waits for its end.
const MAX_FORGOTTEN_AT_ONCE: i64 = 1_000;

/// What a session is, with whose it is; it must be good.
macro_rules! good {
    ($which:literal) => {
        concat!(
            "SELECT s.id, s.created_at, s.last_used_at, s.root, p.id, p.name, p.role, p.namespace, \
             t.name, t.role, t.namespace \
             FROM sessions s LEFT JOIN people p ON p.id = s.person \
             LEFT JOIN tokens t ON t.id = s.token AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $2) \
             WHERE s.",
            $which,
            " = $1 AND s.last_used_at > $3 AND s.created_at > $4"
        )
    };
}

/// Leaves so many of one holder.
macro_rules! trim {
    ($of:literal) => {
        concat!(
            "DELETE FROM sessions WHERE ",
            $of,
            " AND id NOT IN (SELECT id FROM sessions WHERE ",
            $of,
            " ORDER BY last_used_at DESC, id DESC LIMIT $1)"
        )
    };
}

statements! {
    /// Not if the password was changed, or they were removed, since it was looked at. Whoever is changing it is waited for, and
    /// whoever comes to change it waits, and so ends this session as well.
    OF_PERSON in sqlite = "INSERT INTO sessions (digest, person, created_at, last_used_at) \
                           SELECT $1, id, $2, $2 FROM people WHERE id = $3 AND password = $4",
              in postgres = "INSERT INTO sessions (digest, person, created_at, last_used_at) \
                             SELECT $1, id, $2, $2 FROM (SELECT id FROM people WHERE id = $3 AND password = $4 \
                             FOR NO KEY UPDATE) AS kept";
    OF_TOKEN = "INSERT INTO sessions (digest, token, created_at, last_used_at) \
                SELECT $1, id, $2, $2 FROM tokens WHERE id = $3 AND revoked_at IS NULL";
    OF_ROOT = "INSERT INTO sessions (digest, root, created_at, last_used_at) VALUES ($1, $3, $2, $2)";
    TRIM_PERSON = trim!("person = $2");
    TRIM_TOKEN = trim!("token = $2");
    TRIM_ROOT = trim!("root = $2");
    BY_DIGEST = good!("digest");
    BY_ID = good!("id");
    NOTE_USE = "UPDATE sessions SET last_used_at = $1 WHERE id = $2";
    END = "DELETE FROM sessions WHERE id = $1";
    FORGET = "DELETE FROM sessions WHERE id IN \
              (SELECT id FROM sessions WHERE last_used_at <= $1 OR created_at <= $2 LIMIT $3)";
}

/// A session as it comes out of the database, with whose it is.
type Columns = (
    i64,
    i64,
    i64,
    Option<Vec<u8>>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
);

pub(super) async fn begin(store: &SqlStore, of: NewSession) -> Result<Option<String>, StoreError> {
    let shown = token::generate_session()?;
    let now = store.clock.now();
    let mut write = store.database.write(Durability::Crash).await?;
    let begun = match &of {
        NewSession::Person { id, password } => {
            let insert = write.query(OF_PERSON).bind(token::hash(&shown)).bind(micros(now));
            insert.bind(*id).bind(password).execute().await?
        }
        NewSession::Token(id) => {
            let insert = write.query(OF_TOKEN).bind(token::hash(&shown)).bind(micros(now));
            insert.bind(*id).execute().await?
        }
        NewSession::Root(digest) => {
            let insert = write.query(OF_ROOT).bind(token::hash(&shown)).bind(micros(now));
            insert.bind(digest).execute().await?
        }
    };
    match of {
        NewSession::Person { id, .. } => {
            write.query(TRIM_PERSON).bind(MAX_EACH).bind(id).execute().await?;
            people::note_use(&mut write, id, now).await?;
        }
        NewSession::Token(id) => write.query(TRIM_TOKEN).bind(MAX_EACH).bind(id).execute().await.map(drop)?,
        NewSession::Root(digest) => {
            write.query(TRIM_ROOT).bind(MAX_EACH).bind(digest).execute().await.map(drop)?;
        }
    }
    store.commit(write).await?;
    Ok((begun > 0).then_some(shown))
}

pub(super) async fn by_shown(
    store: &SqlStore,
    shown: &str,
    terms: SessionTerms,
) -> Result<Option<SessionRow>, StoreError> {
    let now = store.clock.now();
    let (idle, longest) = since(now, terms);
    let mut lookup = store.database.lookup().await?;
    let find = lookup.query(BY_DIGEST).bind(token::hash(shown)).bind(micros(now)).bind(idle).bind(longest);
    let found: Option<Columns> = find.optional().await?;
    drop(lookup);
    let Some(columns) = found else { return Ok(None) };
    let (used, person) = (timestamp(columns.2, || "a session".to_owned())?, columns.4);
    let Some(row) = read(columns)? else { return Ok(None) };
    if is_due(Some(used), now) {
        let mut write = store.database.write(Durability::Crash).await?;
        // Them first, as everybody does who changes both, so that none waits for the other.
        if let Some(person) = person {
            people::note_use(&mut write, person, now).await?;
        }
        write.query(NOTE_USE).bind(micros(now)).bind(row.id).execute().await?;
        store.commit(write).await?;
    }
    Ok(Some(row))
}

pub(super) async fn is_good(store: &SqlStore, id: i64, terms: SessionTerms) -> Result<bool, StoreError> {
    let now = store.clock.now();
    let (idle, longest) = since(now, terms);
    let mut lookup = store.database.lookup().await?;
    let find = lookup.query(BY_ID).bind(id).bind(micros(now)).bind(idle).bind(longest);
    let found: Option<Columns> = find.optional().await?;
    Ok(found.map(read).transpose()?.flatten().is_some())
}

pub(super) async fn end(store: &SqlStore, id: i64) -> Result<(), StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    write.query(END).bind(id).execute().await?;
    store.commit(write).await
}

pub(super) async fn forget(store: &SqlStore, terms: SessionTerms) -> Result<u64, StoreError> {
    let (idle, longest) = since(store.clock.now(), terms);
    let mut write = store.database.write(Durability::Crash).await?;
    let forget = write.query(FORGET).bind(idle).bind(longest).bind(MAX_FORGOTTEN_AT_ONCE);
    let forgotten = forget.execute().await?;
    store.commit(write).await?;
    Ok(forgotten)
}

/// Since when a session must have been used, and since when it must have begun.
fn since(now: Timestamp, terms: SessionTerms) -> (i64, i64) {
    let before = |span: SignedDuration| micros(now.saturating_sub(span).unwrap_or(Timestamp::MIN));
    (before(terms.idle), before(terms.longest))
}

/// None where whoever it was of is none any more.
fn read(columns: Columns) -> Result<Option<SessionRow>, StoreError> {
    let (id, created_at, _, root, _, person, role, namespace, token, token_role, token_namespace) = columns;
    let row = || format!("session {id}");
    let principal = |name: String, role: Option<String>, namespace: Option<String>| {
        let role = role.and_then(|role| role.parse().ok());
        Ok::<_, StoreError>(Principal {
            name,
            role: role.ok_or_else(|| StoreError::corrupt(row(), "role"))?,
            namespace: values::namespace(&namespace.unwrap_or_default(), row)?,
        })
    };
    let of = match (root, person, token) {
        (Some(digest), _, _) => SessionOf::Root(digest),
        (_, Some(name), _) => SessionOf::Person(principal(name, role, namespace)?),
        (_, _, Some(name)) => SessionOf::Token(principal(name, token_role, token_namespace)?),
        (None, None, None) => return Ok(None),
    };
    Ok(Some(SessionRow { id, of, created_at: timestamp(created_at, row)? }))
}
