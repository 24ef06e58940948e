//! What sources of repositories ask for. Each is sealed by itself.

use super::super::SqlStore;
use super::super::database::Durability;
use super::super::session::Session;
use super::super::statements::statements;
use super::{sealed, told};
use crate::error::StoreError;
use crate::sealing::{Keyring, Place, Sealed};
use secrecy::{ExposeSecret, SecretString};

/// What the place of such a seal begins with. It is bound to each of them: never change it.
const PLACE: &str = "executor.repository-credentials.v1";

statements! {
    PUT = "INSERT INTO repository_credentials (repository, key_id, data_key, value) VALUES ($1, $2, $3, $4) \
           ON CONFLICT (repository) DO UPDATE \
           SET key_id = excluded.key_id, data_key = excluded.data_key, value = excluded.value";
    SELECT = "SELECT key_id, data_key, value FROM repository_credentials WHERE repository = $1";
    /// Those from a repository on that are not sealed with this key.
    STALE in sqlite = "SELECT repository, key_id, data_key FROM repository_credentials \
                       WHERE repository > $1 AND key_id <> $2 ORDER BY repository LIMIT $3",
          in postgres = "SELECT repository, key_id, data_key FROM repository_credentials \
                         WHERE repository > $1 AND key_id <> $2 ORDER BY repository LIMIT $3 FOR UPDATE";
    WRAP = "UPDATE repository_credentials SET key_id = $2, data_key = $3 WHERE repository = $1";
}

/// Keeps the credentials of a repository, in place of those that may be there.
pub(in crate::sql) async fn put_credentials(
    store: &SqlStore,
    repository: i64,
    credentials: &SecretString,
) -> Result<(), StoreError> {
    let value = credentials.expose_secret().as_bytes();
    let sealed = in_place(repository, |place| store.keys.seal(place, value));
    let Sealed { key_id, data_key, value } = sealed.map_err(|fault| told(fault, || row(repository)))?;
    let mut write = store.database.write(Durability::PowerLoss).await?;
    let put = write.query(PUT).bind(repository).bind(key_id).bind(data_key).bind(value).execute().await;
    store.settle(write, put.map(drop)).await
}

/// The credentials of a repository, if it has some.
pub(in crate::sql) async fn credentials(
    store: &SqlStore,
    repository: i64,
) -> Result<Option<SecretString>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let found: Option<(String, Vec<u8>, Vec<u8>)> = lookup.query(SELECT).bind(repository).optional().await?;
    let Some(columns) = found else { return Ok(None) };
    let sealed = sealed(columns);
    let opened = in_place(repository, |place| store.keys.open(place, &sealed));
    let opened = opened.map_err(|fault| told(fault, || row(repository)))?;
    let text =
        std::str::from_utf8(&opened).map_err(|_| StoreError::corrupt(row(repository), "credentials"))?;
    Ok(Some(text.into()))
}

/// Seals those of up to `most` repositories after this one with the first key; says up to which, `None` if there was none.
pub(super) async fn seal_anew(
    keys: &Keyring,
    session: &mut Session,
    after: i64,
    most: i64,
) -> Result<Option<i64>, StoreError> {
    let stale = session.query(STALE).bind(after).bind(keys.first()).bind(most);
    let stale: Vec<(i64, String, Vec<u8>)> = stale.all().await?;
    let last = stale.last().map(|columns| columns.0);
    for (repository, key_id, data_key) in stale {
        let wrapped = in_place(repository, |place| keys.wrap_anew(place, &key_id, &data_key));
        match wrapped.map_err(|fault| told(fault, || row(repository))) {
            Ok(Some((key_id, data_key))) => {
                session.query(WRAP).bind(repository).bind(key_id).bind(data_key).execute().await?;
            }
            // Whoever needs those that are damaged is told.
            Ok(None) | Err(StoreError::Corrupt { .. }) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(last)
}

fn row(repository: i64) -> String {
    format!("the credentials of repository {repository}")
}

/// Does something at the place of a repository's credentials.
fn in_place<T>(repository: i64, act: impl FnOnce(&Place<'_>) -> T) -> T {
    act(&Place(&[PLACE, &repository.to_string()]))
}
