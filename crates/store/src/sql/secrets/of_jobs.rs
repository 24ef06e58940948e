//! Secrets of jobs that have not ended. Those of one job are sealed together.

use super::super::SqlStore;
use super::super::session::Session;
use super::super::statements::statements;
use super::super::values::{from_json, job_name, to_json};
use super::{sealed, told};
use crate::error::StoreError;
use crate::sealing::{Keyring, Place, Sealed};
use jobs::JobId;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use std::collections::{BTreeMap, HashMap};

/// What the place of such a seal begins with. It is bound to each of them: never change it.
const PLACE: &str = "executor.job-secrets.v1";

statements! {
    INSERT = "INSERT INTO job_secrets (job, key_id, data_key, value) VALUES ($1, $2, $3, $4)";
    SELECT in sqlite = "SELECT job, plain, key_id, data_key, value FROM job_secrets \
                        WHERE job IN (SELECT value FROM json_each($1))",
           in postgres = "SELECT job, plain, key_id, data_key, value FROM job_secrets \
                          WHERE job IN (SELECT value::bigint FROM json_array_elements_text($1::json))";
    DELETE in sqlite = "DELETE FROM job_secrets WHERE job IN (SELECT value FROM json_each($1))",
           in postgres = "DELETE FROM job_secrets \
                          WHERE job IN (SELECT value::bigint FROM json_array_elements_text($1::json))";
    /// Those from a job on that are not sealed with this key.
    STALE in sqlite = "SELECT job, plain, key_id, data_key, value FROM job_secrets \
                       WHERE job > $1 AND (key_id IS NULL OR key_id <> $2) ORDER BY job LIMIT $3",
          in postgres = "SELECT job, plain, key_id, data_key, value FROM job_secrets \
                         WHERE job > $1 AND (key_id IS NULL OR key_id <> $2) ORDER BY job LIMIT $3 FOR UPDATE";
    REPLACE = "UPDATE job_secrets SET plain = NULL, key_id = $2, data_key = $3, value = $4 WHERE job = $1";
}

/// The secrets of a job, or what is wrong with them.
pub(in crate::sql) type Found = Result<BTreeMap<String, SecretString>, StoreError>;

/// As it comes out of the database: what earlier versions wrote is plain, all else sealed.
type Columns = (i64, Option<String>, Option<String>, Option<Vec<u8>>, Option<Vec<u8>>);

pub(in crate::sql) async fn keep(
    store: &SqlStore,
    session: &mut Session,
    job: JobId,
    secrets: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    if !secrets.is_empty() {
        let json = Zeroizing::new(to_json(secrets)?);
        let Sealed { key_id, data_key, value } = seal(&store.keys, job, &json)?;
        session.query(INSERT).bind(job.0).bind(key_id).bind(data_key).bind(value).execute().await?;
    }
    Ok(())
}

/// The secrets of those jobs that have some.
pub(in crate::sql) async fn load_all(
    store: &SqlStore,
    session: &mut Session,
    jobs: &[JobId],
) -> Result<HashMap<JobId, Found>, StoreError> {
    let found: Vec<Columns> = session.query(SELECT).bind(to_json(jobs)?).all().await?;
    let mut all = HashMap::new();
    for columns in found {
        let job = JobId(columns.0);
        let secrets = read(&store.keys, job, columns);
        if let Err(fault) = &secrets {
            store.missing_key.note(fault);
        }
        all.insert(job, secrets);
    }
    Ok(all)
}

pub(in crate::sql) async fn drop_all(session: &mut Session, jobs: Vec<JobId>) -> Result<(), StoreError> {
    session.query(DELETE).bind(to_json(&jobs)?).execute().await?;
    Ok(())
}

/// Seals those of up to `most` jobs after this one with the first key; says up to which job, `None` if there was none.
pub(super) async fn seal_anew(
    keys: &Keyring,
    session: &mut Session,
    after: i64,
    most: i64,
) -> Result<Option<i64>, StoreError> {
    let stale = session.query(STALE).bind(after).bind(keys.first()).bind(most);
    let stale: Vec<Columns> = stale.all().await?;
    let last = stale.last().map(|columns| columns.0);
    for columns in stale {
        let job = JobId(columns.0);
        let Sealed { key_id, data_key, value } = match anew(keys, job, columns) {
            Ok(Some(anew)) => anew,
            // Whoever claims a job whose secrets are damaged is told as well.
            Ok(None) | Err(StoreError::Corrupt { .. }) => continue,
            Err(fault) => return Err(fault),
        };
        session.query(REPLACE).bind(job.0).bind(key_id).bind(data_key).bind(value).execute().await?;
    }
    Ok(last)
}

fn anew(keys: &Keyring, job: JobId, columns: Columns) -> Result<Option<Sealed>, StoreError> {
    match columns {
        (_, Some(plain), ..) => seal(keys, job, &Zeroizing::new(plain)).map(Some),
        (_, None, Some(key_id), Some(data_key), Some(value)) => {
            let wrapped = in_place(job, |place| keys.wrap_anew(place, &key_id, &data_key));
            let wrapped = wrapped.map_err(|fault| told(fault, || job_name(job)))?;
            Ok(wrapped.map(|(key_id, data_key)| Sealed { key_id, data_key, value }))
        }
        _ => Ok(None),
    }
}

fn read(keys: &Keyring, job: JobId, columns: Columns) -> Found {
    let row = || job_name(job);
    let json = match columns {
        (_, Some(plain), ..) => Zeroizing::new(plain.into_bytes()),
        (_, None, Some(key_id), Some(data_key), Some(value)) => {
            let sealed = sealed((key_id, data_key, value));
            in_place(job, |place| keys.open(place, &sealed)).map_err(|fault| told(fault, row))?
        }
        _ => return Err(StoreError::corrupt(row(), "set of secrets")),
    };
    let json = std::str::from_utf8(&json).unwrap_or_default();
    from_json(json, "set of secrets", row)
}

fn seal(keys: &Keyring, job: JobId, json: &str) -> Result<Sealed, StoreError> {
    in_place(job, |place| keys.seal(place, json.as_bytes())).map_err(|fault| told(fault, || job_name(job)))
}

/// Does something at the place of a job's secrets.
fn in_place<T>(job: JobId, act: impl FnOnce(&Place<'_>) -> T) -> T {
    act(&Place(&[PLACE, &job.0.to_string()]))
}
