//! Secrets of jobs that have not ended.

use super::session::Session;
use super::statements::statements;
use super::values::{from_json, job_name, to_json};
use crate::error::StoreError;
use jobs::JobId;
use std::collections::BTreeMap;

statements! {
    INSERT = "INSERT INTO job_secrets (job, secrets) VALUES ($1, $2)";
    SELECT = "SELECT secrets FROM job_secrets WHERE job = $1";
    DELETE = "DELETE FROM job_secrets WHERE job = $1";
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

pub(super) async fn load(session: &mut Session, job: JobId) -> Result<BTreeMap<String, String>, StoreError> {
    let found: Option<(String,)> = session.query(SELECT).bind(job.0).optional().await?;
    found.map_or_else(|| Ok(BTreeMap::new()), |(json,)| from_json(&json, "set of secrets", || job_name(job)))
}

pub(super) async fn drop_all(session: &mut Session, job: JobId) -> Result<(), StoreError> {
    session.query(DELETE).bind(job.0).execute().await?;
    Ok(())
}
