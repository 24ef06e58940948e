//! What executions of batch changes came to.

use jobs::State;
use jobs::batches::AfterStepResult;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The answer to `GET /api/v1/jobs/{id}/results`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResultsView {
    /// The job's id.
    pub job: i64,
    /// Which try they are of.
    pub attempt: u32,
    /// How the job ended.
    pub state: State,
    /// The results of its steps, in their order. That of the last one has all changes.
    pub results: Vec<StepResultView>,
    /// Why results are missing, if they are.
    pub problem: Option<String>,
}

/// The result of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepResultView {
    /// Its index, from 0.
    pub step_index: usize,
    /// Under which key the result is good for another execution: one whose step has the same key, made of the same repository,
    /// commit, steps, variables and files. `null` where that can't be told without knowing the values of secrets, or of files
    /// that are gone, or where `problem` tells that it would take too long.
    pub cache_key: Option<String>,
    /// The key that the job itself told. Nothing but its word stands for it.
    pub reported_cache_key: Option<String>,
    /// The result: what another execution is given as `cachedStepResult`, with the same keys.
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub result: AfterStepResult,
}
