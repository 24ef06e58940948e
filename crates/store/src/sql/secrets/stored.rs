//! Secrets that are kept under a key.

use super::super::SqlStore;
use super::super::database::Durability;
use super::super::session::{Row, Session};
use super::super::statements::statements;
use super::super::values::{micros, timestamp, to_json};
use super::accesses::{self, Access};
use super::{sealed, told};
use crate::error::StoreError;
use crate::model::{NewSecret, OpenedSecret, SecretCursor, SecretFilter, SecretRow};
use crate::sealing::{Keyring, Place, Sealed};
use crate::sql::MAX_LISTED;
use jobs::secrets::{MAX_SECRETS, Scope};
use jobs::{JobId, Lease, Namespace, Rejected};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;

/// What the place of such a seal begins with. It is bound to each of them: never change it.
const PLACE: &str = "executor.secret.v1";

/// What is told of a secret.
macro_rules! shown {
    () => {
        "SELECT id, scope, namespace, key, creator, created_at, updated_at, \
         namespace <> '' AND EXISTS (SELECT 1 FROM secrets AS other WHERE other.namespace = '' \
             AND other.scope = secrets.scope AND other.key = secrets.key) AS overwrites_global FROM secrets "
    };
}

statements! {
    FIND in sqlite = "SELECT id FROM secrets WHERE namespace = $1 AND scope = $2 AND key = $3",
         in postgres = "SELECT id FROM secrets WHERE namespace = $1 AND scope = $2 AND key = $3 FOR UPDATE";
    COUNT = "SELECT COUNT(*) FROM secrets WHERE namespace = $1";
    INSERT = "INSERT INTO secrets (id, scope, namespace, key, creator, created_at, updated_at, key_id, data_key, value) \
              VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8, $9) ON CONFLICT (namespace, scope, key) DO NOTHING";
    UPDATE = "UPDATE secrets SET updated_at = $2, key_id = $3, data_key = $4, value = $5 WHERE id = $1";
    BY_ID = concat!(shown!(), "WHERE id = $1");
    LIST in sqlite = concat!(
             shown!(),
             "WHERE (CAST($1 AS TEXT) IS NULL OR namespace IN ('', $1)) AND (CAST($2 AS TEXT) IS NULL OR scope = $2) \
              AND (CAST($3 AS TEXT) IS NULL OR key = $3) AND (key, scope, namespace) > ($4, $5, $6) \
              ORDER BY key, scope, namespace LIMIT $7"
         ),
         in postgres = concat!(
             shown!(),
             "WHERE (CAST($1 AS TEXT) IS NULL OR namespace IN ('', $1)) AND (CAST($2 AS TEXT) IS NULL OR scope = $2) \
              AND (CAST($3 AS TEXT) IS NULL OR key = $3) \
              AND (key COLLATE \"C\", scope COLLATE \"C\", namespace COLLATE \"C\") > ($4, $5, $6) \
              ORDER BY key COLLATE \"C\", scope COLLATE \"C\", namespace COLLATE \"C\" LIMIT $7"
         );
    DELETE = "DELETE FROM secrets WHERE id = $1";
    /// The job of a lease: its queue, and whose it is.
    HELD = "SELECT jobs.queue, lanes.owner FROM jobs JOIN lanes ON lanes.id = jobs.lane \
            WHERE jobs.id = $1 AND jobs.state = 'processing' AND jobs.epoch = $2 AND jobs.executor = $3";
    OPEN in sqlite = "SELECT id, namespace, key, key_id, data_key, value FROM secrets WHERE scope = $1 \
                      AND namespace IN ('', $2) AND key IN (SELECT value FROM json_each($3)) ORDER BY key, namespace",
         in postgres = "SELECT id, namespace, key, key_id, data_key, value FROM secrets WHERE scope = $1 \
                        AND namespace IN ('', $2) AND key IN (SELECT json_array_elements_text($3::json)) \
                        ORDER BY key, namespace";
    KNOWN in sqlite = "SELECT DISTINCT key FROM secrets WHERE scope = $1 \
                       AND namespace IN ('', $2) AND key IN (SELECT value FROM json_each($3))",
          in postgres = "SELECT DISTINCT key FROM secrets WHERE scope = $1 \
                         AND namespace IN ('', $2) AND key IN (SELECT json_array_elements_text($3::json))";
    /// Those from an id on that are not sealed with this key.
    STALE in sqlite = "SELECT id, scope, namespace, key, key_id, data_key FROM secrets \
                       WHERE id > $1 AND key_id <> $2 ORDER BY id LIMIT $3",
          in postgres = "SELECT id, scope, namespace, key, key_id, data_key FROM secrets \
                         WHERE id > $1 AND key_id <> $2 ORDER BY id LIMIT $3 FOR UPDATE";
    WRAP = "UPDATE secrets SET key_id = $2, data_key = $3 WHERE id = $1";
}

/// Keeps a secret; one with its key must not be there.
pub(in crate::sql) async fn add(store: &SqlStore, new: &NewSecret) -> Result<SecretRow, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let added = match insert(store, &mut write, new).await {
        Ok(Some(id)) => shown(&mut write, &id).await,
        Ok(None) => Err(StoreError::SecretExists(new.key.clone())),
        Err(fault) => Err(fault),
    };
    store.settle(write, added).await
}

/// Keeps a secret in place of the one that may be there; says whether there was none.
pub(in crate::sql) async fn put(store: &SqlStore, new: &NewSecret) -> Result<(SecretRow, bool), StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let put = put_in(store, &mut write, new).await;
    store.settle(write, put).await
}

async fn put_in(
    store: &SqlStore,
    session: &mut Session,
    new: &NewSecret,
) -> Result<(SecretRow, bool), StoreError> {
    if let Some(id) = find(session, new).await? {
        return Ok((update(store, session, &id, new).await?, false));
    }
    if let Some(id) = insert(store, session, new).await? {
        return Ok((shown(session, &id).await?, true));
    }
    // Another server was faster.
    let id = find(session, new).await?.ok_or_else(|| StoreError::SecretExists(new.key.clone()))?;
    Ok((update(store, session, &id, new).await?, false))
}

async fn find(session: &mut Session, new: &NewSecret) -> Result<Option<String>, StoreError> {
    let find = session.query(FIND).bind(new.namespace.key()).bind(new.scope.name()).bind(&new.key);
    Ok(find.optional::<(String,)>().await?.map(|(id,)| id))
}

async fn insert(
    store: &SqlStore,
    session: &mut Session,
    new: &NewSecret,
) -> Result<Option<String>, StoreError> {
    let namespace = new.namespace.key();
    let (count,): (i64,) = session.query(COUNT).bind(&namespace).one().await?;
    if count.unsigned_abs() >= MAX_SECRETS && find(session, new).await?.is_none() {
        return Err(StoreError::TooManySecrets(new.namespace.clone()));
    }
    let id = new_id()?;
    let Sealed { key_id, data_key, value } = seal(&store.keys, &id, new)?;
    let insert = session.query(INSERT).bind(&id).bind(new.scope.name()).bind(namespace).bind(&new.key);
    let insert = insert.bind(&new.creator).bind(micros(store.clock.now()));
    let inserted = insert.bind(key_id).bind(data_key).bind(value).execute().await?;
    Ok((inserted == 1).then_some(id))
}

async fn update(
    store: &SqlStore,
    session: &mut Session,
    id: &str,
    new: &NewSecret,
) -> Result<SecretRow, StoreError> {
    let Sealed { key_id, data_key, value } = seal(&store.keys, id, new)?;
    let update = session.query(UPDATE).bind(id).bind(micros(store.clock.now()));
    update.bind(key_id).bind(data_key).bind(value).execute().await?;
    shown(session, id).await
}

fn seal(keys: &Keyring, id: &str, new: &NewSecret) -> Result<Sealed, StoreError> {
    let parts = [PLACE, id, new.scope.name(), &new.namespace.key(), &new.key];
    let sealed = keys.seal(&Place(&parts), new.value.expose_secret().as_bytes());
    sealed.map_err(|fault| told(fault, || name_of(&new.key)))
}

fn new_id() -> Result<String, StoreError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|fault| StoreError::Database(Box::new(fault)))?;
    Ok(hex::encode(id))
}

pub(in crate::sql) async fn by_id(store: &SqlStore, id: &str) -> Result<Option<SecretRow>, StoreError> {
    let row = store.database.lookup().await?.query(BY_ID).bind(id).row().await?;
    row.as_ref().map(read).transpose()
}

async fn shown(session: &mut Session, id: &str) -> Result<SecretRow, StoreError> {
    let row = session.query(BY_ID).bind(id).row().await?;
    row.as_ref().map(read).transpose()?.ok_or_else(|| StoreError::UnknownSecret(id.to_owned()))
}

pub(in crate::sql) async fn list(
    store: &SqlStore,
    filter: SecretFilter,
) -> Result<Vec<SecretRow>, StoreError> {
    let SecretFilter { namespace, scope, key, after, limit } = filter;
    let (after_key, after_scope, after_namespace) = match after {
        Some(SecretCursor { key, scope, namespace }) => (key, scope.name(), namespace.key()),
        None => (String::new(), "", String::new()),
    };
    let mut lookup = store.database.lookup().await?;
    let list = lookup.query(LIST).bind(namespace.map(|own| own.key())).bind(scope.map(Scope::name)).bind(key);
    let list = list.bind(after_key).bind(after_scope).bind(after_namespace);
    list.bind(i64::from(limit.min(MAX_LISTED))).rows().await?.iter().map(read).collect()
}

pub(in crate::sql) async fn remove(store: &SqlStore, id: &str) -> Result<bool, StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let removed = write.query(DELETE).bind(id).execute().await?;
    store.commit(write).await?;
    Ok(removed == 1)
}

pub(in crate::sql) async fn known(
    store: &SqlStore,
    scope: Scope,
    namespace: &Namespace,
    keys: &[String],
) -> Result<Vec<String>, StoreError> {
    let namespace = scope.of_job(namespace).key();
    let mut lookup = store.database.lookup().await?;
    let known = lookup.query(KNOWN).bind(scope.name()).bind(namespace).bind(to_json(keys)?);
    Ok(known.all::<(String,)>().await?.into_iter().map(|(key,)| key).collect())
}

/// Opens the secrets that a held job asks for, and notes that it was given them, as far as they are there.
pub(in crate::sql) async fn open(
    store: &SqlStore,
    job: JobId,
    lease: &Lease,
    keys: &[String],
) -> Result<Vec<OpenedSecret>, StoreError> {
    // Most jobs ask for none that is there: they cost the writers nothing.
    if held(&mut store.database.lookup().await?, job, lease, keys).await?.found.is_empty() {
        return Ok(Vec::new());
    }
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let opened = open_in(store, &mut write, (job, lease), keys).await;
    let (owner, opened) = store.settle(write, opened).await?;
    for _ in &opened {
        store.shares.accesses.add(&owner);
    }
    Ok(opened)
}

/// Returns whose the job is as well.
async fn open_in(
    store: &SqlStore,
    session: &mut Session,
    (job, lease): (JobId, &Lease),
    keys: &[String],
) -> Result<(String, Vec<OpenedSecret>), StoreError> {
    let Held { scope, owner, found } = held(session, job, lease, keys).await?;
    let now = store.clock.now();
    let mut opened = Vec::with_capacity(found.len());
    for (key, found) in found {
        let Found { id, namespace, sealed } = found;
        let (scope, row) = (scope.name(), || name_of(&key));
        let value = store.keys.open(&Place(&[PLACE, &id, scope, &namespace, &key]), &sealed);
        let value =
            value.map_err(|fault| told(fault, row)).inspect_err(|fault| store.missing_key.note(fault))?;
        let value = std::str::from_utf8(&value);
        let value = value.map_err(|_| StoreError::corrupt(row(), "value"))?;
        let (attempt, executor) = (lease.epoch, lease.executor.as_str());
        let (secret, namespace) = (id.as_str(), namespace.as_str());
        let access = Access { secret, scope, namespace, key: &key, job, attempt, owner: &owner, executor };
        accesses::note(session, &access, now).await?;
        opened.push(OpenedSecret { value: SecretString::from(value), id, key });
    }
    Ok((owner, opened))
}

/// What a held job asks for, as far as it is there, by key.
struct Held {
    scope: Scope,
    owner: String,
    found: BTreeMap<String, Found>,
}

struct Found {
    id: String,
    namespace: String,
    sealed: Sealed,
}

async fn held(session: &mut Session, job: JobId, lease: &Lease, keys: &[String]) -> Result<Held, StoreError> {
    let held = session.query(HELD).bind(job.0).bind(i64::from(lease.epoch)).bind(&lease.executor);
    let Some((queue, owner)): Option<(String, String)> = held.optional().await? else {
        return Err(StoreError::Rejected(Rejected::LeaseLost));
    };
    let scope = scope_of(&queue, || super::super::values::job_name(job))?;
    let namespace = scope.of_job(&namespace_of(&owner, || super::super::values::job_name(job))?).key();
    let open = session.query(OPEN).bind(scope.name()).bind(namespace).bind(to_json(keys)?);
    let mut found = BTreeMap::new();
    // The global one comes first, so that it gives way to the other.
    for row in open.rows().await? {
        let sealed = sealed((row.get("key_id")?, row.get("data_key")?, row.get("value")?));
        let one = Found { id: row.get("id")?, namespace: row.get("namespace")?, sealed };
        found.insert(row.get("key")?, one);
    }
    Ok(Held { scope, owner, found })
}

/// Seals the data keys of up to `most` secrets after this one with the first key; says up to which, `None` if there was none.
pub(super) async fn seal_anew(
    keys: &Keyring,
    session: &mut Session,
    after: &str,
    most: i64,
) -> Result<Option<String>, StoreError> {
    type Columns = (String, String, String, String, String, Vec<u8>);
    let stale: Vec<Columns> = session.query(STALE).bind(after).bind(keys.first()).bind(most).all().await?;
    let last = stale.last().map(|(id, ..)| id.clone());
    for (id, scope, namespace, key, key_id, data_key) in stale {
        let place = Place(&[PLACE, &id, &scope, &namespace, &key]);
        match keys.wrap_anew(&place, &key_id, &data_key).map_err(|fault| told(fault, || name_of(&key))) {
            Ok(Some((key_id, data_key))) => {
                session.query(WRAP).bind(id).bind(key_id).bind(data_key).execute().await?;
            }
            // Whoever asks for it is told as well.
            Ok(None) | Err(StoreError::Corrupt { .. }) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(last)
}

fn read(row: &Row) -> Result<SecretRow, StoreError> {
    let key: String = row.get("key")?;
    let name = || name_of(&key);
    Ok(SecretRow {
        id: row.get("id")?,
        scope: scope_of(&row.get::<String>("scope")?, name)?,
        namespace: namespace_of(&row.get::<String>("namespace")?, name)?,
        overwrites_global: row.get("overwrites_global")?,
        creator: row.get("creator")?,
        created_at: timestamp(row.get("created_at")?, name)?,
        updated_at: timestamp(row.get("updated_at")?, name)?,
        key: key.clone(),
    })
}

fn name_of(key: &str) -> String {
    format!("secret {key}")
}

pub(super) fn scope_of(text: &str, row: impl FnOnce() -> String) -> Result<Scope, StoreError> {
    text.parse().map_err(|_| StoreError::corrupt(row(), "scope"))
}

pub(super) fn namespace_of(key: &str, row: impl FnOnce() -> String) -> Result<Namespace, StoreError> {
    Namespace::from_key(key).map_err(|_| StoreError::corrupt(row(), "namespace"))
}
