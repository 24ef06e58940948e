//! Secrets of jobs that have not ended.

use super::statements::statements;
use super::values::{from_json, job_name, to_json};
use crate::error::StoreError;
use jobs::JobId;
use sqlx::SqliteConnection;
use std::collections::BTreeMap;

statements! {
    INSERT = "INSERT INTO job_secrets (job, secrets) VALUES (?, ?)";
    SELECT = "SELECT secrets FROM job_secrets WHERE job = ?";
    DELETE = "DELETE FROM job_secrets WHERE job = ?";
}

pub(super) async fn keep(
    connection: &mut SqliteConnection,
    job: JobId,
    secrets: &BTreeMap<String, String>,
) -> Result<(), StoreError> {
    if !secrets.is_empty() {
        sqlx::query(INSERT).bind(job.0).bind(to_json(secrets)?).execute(connection).await?;
    }
    Ok(())
}

pub(super) async fn load(
    connection: &mut SqliteConnection,
    job: JobId,
) -> Result<BTreeMap<String, String>, StoreError> {
    let json: Option<String> = sqlx::query_scalar(SELECT).bind(job.0).fetch_optional(connection).await?;
    json.map_or_else(|| Ok(BTreeMap::new()), |json| from_json(&json, "set of secrets", || job_name(job)))
}

pub(super) async fn drop_all(connection: &mut SqliteConnection, job: JobId) -> Result<(), StoreError> {
    sqlx::query(DELETE).bind(job.0).execute(connection).await?;
    Ok(())
}
