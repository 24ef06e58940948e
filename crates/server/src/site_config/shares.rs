//! How the executors' time is shared among queues.

use super::parse::BadSite;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use wire::paths::QUEUES;

/// The key.
pub(super) const MULTIQUEUE: &str = "executors.multiqueue";

/// How much of the executors' time a queue gets when several are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueShare {
    /// Jobs within the window before the queue comes after the others.
    pub(crate) limit: u32,
    /// Its chance, relative to the other weights.
    pub(crate) weight: u32,
}

impl QueueShare {
    pub(crate) fn default_for(queue: &str) -> Self {
        match queue {
            "batches" => Self { limit: 50, weight: 4 },
            _ => Self { limit: 250, weight: 1 },
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Multiqueue {
    #[serde(default)]
    dequeue_cache_config: BTreeMap<String, QueueShare>,
}

pub(super) fn shares(value: Option<Value>) -> Result<BTreeMap<String, QueueShare>, BadSite> {
    let bad = |rule: String| BadSite::Value { key: MULTIQUEUE, rule };
    let shares = match value {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(value) => Multiqueue::deserialize(value).map_err(|fault| {
            bad(format!(
                r#"like {{"dequeueCacheConfig": {{"batches": {{"limit": 50, "weight": 4}}}}}}: {fault}"#
            ))
        })?,
    }
    .dequeue_cache_config;
    for (queue, share) in &shares {
        if !QUEUES.contains(&queue.as_str()) {
            return Err(bad(format!("about the queues {}, not {queue:?}", QUEUES.join(" and "))));
        }
        if share.limit == 0 || share.weight == 0 {
            return Err(bad(format!("positive: limit and weight of {queue} must be at least 1")));
        }
    }
    Ok(shares)
}
