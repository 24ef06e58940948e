//! Secrets of jobs that have not ended.

use super::session::Session;
use super::statements::statements;
use super::values::{from_json, job_name, to_json};
use crate::error::StoreError;
use jobs::JobId;
use std::collections::{BTreeMap, HashMap};

statements! {
    INSERT = "INSERT INTO job_secrets (job, secrets) VALUES ($1, $2)";
    SELECT in sqlite = "SELECT job, secrets FROM job_secrets WHERE job IN (SELECT value FROM json_each($1))",
           in postgres = "SELECT job, secrets FROM job_secrets \
                          WHERE job IN (SELECT value::bigint FROM json_array_elements_text($1::json))";
    DELETE in sqlite = "DELETE FROM job_secrets WHERE job IN (SELECT value FROM json_each($1))",
           in postgres = "DELETE FROM job_secrets \
                          WHERE job IN (SELECT value::bigint FROM json_array_elements_text($1::json))";
}

pub(super) async fn keep(
    session: &mut Session,
    job: JobId,
    secrets: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    if !secrets.is_empty() {
        session.query(INSERT).bind(job.0).bind(to_json(secrets)?).execute().await?;
    }
    Ok(())
}

/// The secrets of those jobs that have some.
pub(super) async fn load_all(
    session: &mut Session,
    jobs: &[JobId],
) -> Result<HashMap<JobId, Found>, StoreError> {
    let found: Vec<(i64, String)> = session.query(SELECT).bind(to_json(jobs)?).all().await?;
    let read = |(job, json): (i64, String)| {
        let job = JobId(job);
        (job, from_json(&json, "set of secrets", || job_name(job)))
    };
    Ok(found.into_iter().map(read).collect())
}

/// The secrets of a job, or what is wrong with them.
pub(super) type Found = Result<BTreeMap<String, String>, StoreError>;

pub(super) async fn drop_all(session: &mut Session, jobs: Vec<JobId>) -> Result<(), StoreError> {
    session.query(DELETE).bind(to_json(&jobs)?).execute().await?;
    Ok(())
}
