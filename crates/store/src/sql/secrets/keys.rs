//! Which of the operator's keys are in use, so that none of them is missed too late.

use super::super::SqlStore;
use super::super::database::Durability;
use super::super::session::Session;
use super::super::statements::statements;
use super::{sealed, told};
use crate::error::StoreError;
use crate::sealing::{Keyring, Place, SealFault, Sealed};
use std::collections::BTreeMap;

/// A key that was noted as in use: its id, and what it seals to be told by.
type Noted = (String, Vec<u8>, Vec<u8>);

/// What a key seals that it can be told by, and where. Both are bound to each: never change them.
const PROOF: &[u8] = b"executor";
const PLACE: Place<'static> = Place(&["executor.sealing-key.v1"]);

statements! {
    /// Of servers that start at once for the first time, one says which key there is.
    LOCK in sqlite = "SELECT 1", in postgres = "LOCK TABLE sealing_keys IN EXCLUSIVE MODE";
    LIST = "SELECT id, data_key, value FROM sealing_keys";
    ADD = "INSERT INTO sealing_keys (id, data_key, value) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
    IN_USE = "SELECT key_id FROM secrets UNION SELECT key_id FROM job_secrets WHERE key_id IS NOT NULL \
              UNION SELECT key_id FROM repository_credentials";
    /// Unless something is sealed with it.
    RETIRE = "DELETE FROM sealing_keys WHERE id = $1 AND id NOT IN (SELECT key_id FROM secrets) \
              AND id NOT IN (SELECT key_id FROM job_secrets WHERE key_id IS NOT NULL) \
              AND id NOT IN (SELECT key_id FROM repository_credentials)";
}

/// Makes sure that all keys are there that something is sealed with, and notes the first one as in use.
pub(in crate::sql) async fn adopt(store: &SqlStore, keys: &Keyring) -> Result<(), StoreError> {
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let adopted = check(&mut write, keys).await;
    store.settle(write, adopted).await
}

async fn check(session: &mut Session, keys: &Keyring) -> Result<(), StoreError> {
    session.query(LOCK).rows().await?;
    let noted = session.query(LIST).all::<Noted>().await?;
    let first_is_noted = noted.iter().any(|(id, ..)| *id == keys.first());
    if let Some(fault) = faults(noted, session, Some(keys)).await?.into_iter().next() {
        return Err(fault);
    }
    if !first_is_noted {
        let proof = keys.seal(&PLACE, PROOF).map_err(|fault| told(fault, String::new))?;
        let Sealed { key_id, data_key, value } = proof;
        session.query(ADD).bind(key_id).bind(data_key).bind(value).execute().await?;
    }
    Ok(())
}

/// What of the keys that something is sealed with is not among `keys`, or is another one under its id. Nothing is noted.
pub(in crate::sql) async fn missed(
    session: &mut Session,
    keys: Option<&Keyring>,
) -> Result<Vec<StoreError>, StoreError> {
    let noted = session.query(LIST).all::<Noted>().await?;
    faults(noted, session, keys).await
}

async fn faults(
    noted: Vec<Noted>,
    session: &mut Session,
    keys: Option<&Keyring>,
) -> Result<Vec<StoreError>, StoreError> {
    let mut faults = unlike(noted, keys);
    for (id,) in session.query(IN_USE).all::<(String,)>().await? {
        if !keys.is_some_and(|keys| keys.knows(&id)) {
            faults.insert(id.clone(), StoreError::UnknownSealingKey { key: id });
        }
    }
    Ok(faults.into_values().collect())
}

/// Those of the noted ones that are not among `keys`, or are others there.
fn unlike(noted: Vec<Noted>, keys: Option<&Keyring>) -> BTreeMap<String, StoreError> {
    let mut faults = BTreeMap::new();
    for (id, data_key, value) in noted {
        let proof = keys.map(|keys| keys.open(&PLACE, &sealed((id.clone(), data_key, value))));
        let fault = match proof {
            Some(Ok(proof)) if **proof == *PROOF => continue,
            None | Some(Err(SealFault::UnknownKey(_))) => StoreError::UnknownSealingKey { key: id.clone() },
            Some(_) => StoreError::WrongSealingKey { key: id.clone() },
        };
        faults.insert(id, fault);
    }
    faults
}

/// Looks whether all keys are there that servers of this database seal with.
pub(in crate::sql) async fn all_are_there(store: &SqlStore, session: &mut Session) -> Result<(), StoreError> {
    let noted = session.query(LIST).all::<Noted>().await?;
    if let Some(fault) = unlike(noted, Some(&store.keys)).into_values().next() {
        store.missing_key.note(&fault);
        return Err(fault);
    }
    store.missing_key.found();
    Ok(())
}

/// Takes these keys in place of those there are, unless one is missing that something is sealed with.
pub(in crate::sql) async fn take_up(store: &SqlStore, keys: &Keyring) -> Result<(), StoreError> {
    adopt(store, keys).await?;
    store.keys.replace(keys);
    store.missing_key.found();
    Ok(())
}

/// Forgets which keys were in use and are not any more. One that is not known here may be another server's first.
pub(super) async fn retire(keys: &Keyring, session: &mut Session) -> Result<(), StoreError> {
    for (id, ..) in session.query(LIST).all::<Noted>().await? {
        if id != keys.first() && keys.knows(&id) && session.query(RETIRE).bind(&id).execute().await? == 1 {
            // Somebody waits for it.
            tracing::warn!(key = id, "nothing is sealed with this key any more: it may be removed");
        }
    }
    Ok(())
}
