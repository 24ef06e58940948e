//! What executors run.

use super::SqlStore;
use super::statements::statements;
use super::values::{from_json, to_json};
use crate::error::StoreError;
use crate::model::RunningRow;
use jobs::JobId;
use std::collections::HashMap;

/// Jobs of one executor that are counted at most.
const MOST_COUNTED: i64 = 10_000;

macro_rules! running {
    ($asked:literal, $jobs:literal, $list:literal) => {
        concat!(
            "SELECT asked.name, (SELECT COUNT(*) FROM (SELECT 1 FROM ",
            $jobs,
            " WHERE executor = asked.name AND state = 'processing' LIMIT $2) AS counted), (SELECT ",
            $list,
            " FROM (SELECT id FROM ",
            $jobs,
            " WHERE executor = asked.name AND state = 'processing' ORDER BY id DESC LIMIT $3) AS latest) FROM (",
            $asked,
            ") AS asked"
        )
    };
}

statements! {
    RUN_BY in sqlite = running!(
                "SELECT value AS name FROM json_each($1)", "jobs INDEXED BY jobs_running_of", "json_group_array(id)"
            ),
            in postgres = running!(
                "SELECT value AS name FROM json_array_elements_text($1::json)", "jobs",
                "COALESCE(json_agg(id), '[]')::text"
            );
}

/// An executor, how many jobs it runs, and some of them.
type Found = (String, i64, String);

/// One row for each of `executors`, with up to `most` of its jobs.
pub(super) async fn of(
    store: &SqlStore,
    executors: &[String],
    most: u32,
) -> Result<Vec<RunningRow>, StoreError> {
    let mut lookup = store.database.lookup().await?;
    let running = lookup.query(RUN_BY).bind(to_json(executors)?).bind(MOST_COUNTED).bind(i64::from(most));
    let rows: Vec<Found> = running.all().await?;
    let rows: HashMap<String, RunningRow> = rows.into_iter().map(read).collect::<Result<_, _>>()?;
    Ok(executors.iter().map(|name| rows.get(name).cloned().unwrap_or_default()).collect())
}

fn read((name, count, latest): Found) -> Result<(String, RunningRow), StoreError> {
    let mut latest: Vec<i64> = from_json(&latest, "list of jobs", || format!("executor {name:?}"))?;
    latest.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
    let latest = latest.into_iter().map(JobId).collect();
    Ok((name, RunningRow { count: count.unsigned_abs(), latest }))
}
