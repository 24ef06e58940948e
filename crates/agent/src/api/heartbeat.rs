//! Pings and heartbeats.

use super::{Api, ApiError};
use http::Method;
use std::time::Duration;
use wire::additions::{
    INCARNATION, Incarnation, LOST_DEQUEUES, LostDequeues, PREFER, TAKES_NONE, TERM_PREFERENCE,
};
use wire::heartbeat::{Running, Telemetry};
use wire::paths::{MULTI_HEARTBEAT, QueueCall};
use wire::{HeartbeatRequest, HeartbeatResponse, IdText};

/// Heartbeats while a lease lasts, at least.
pub(crate) const BEATS: u32 = 4;
/// How long a heartbeat may take as a whole, and never longer than until the next is due that the lease needs. So two may
/// hang in a row: the third goes out when three quarters of the lease are over, and jobs end after four fifths.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the control plane said to a heartbeat.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct HeartbeatAnswer {
    /// The jobs that are still ours; `None` when it did not say.
    pub(crate) known: Option<Vec<IdText>>,
    /// The jobs to stop.
    pub(crate) cancel: Vec<IdText>,
}

impl Api {
    /// Says that this agent is about to begin.
    pub(crate) async fn ping(&self) -> Result<(), ApiError> {
        let config = self.config();
        let queues = if config.multi_queue { config.queues.clone() } else { Vec::new() };
        // A control plane that kept what we told before would put nothing in its place.
        self.beat(Running::Ping { queues }, self.telemetry(), String::new(), None).await.map(drop)
    }

    fn patience(&self) -> Duration {
        self.lease_term().map_or(HEARTBEAT_TIMEOUT, |term| HEARTBEAT_TIMEOUT.min(term / BEATS))
    }

    /// Says which jobs run: all of them, or not those that can't be named.
    pub(crate) async fn heartbeat(
        &self,
        running: Running,
        names_all: bool,
    ) -> Result<HeartbeatAnswer, ApiError> {
        let word = self.config().start.as_ref().filter(|_| self.is_ours());
        let word = word.map(|start| (start.incarnation(names_all), start.lost()));
        let reply = self.beat(running, self.telemetry(), self.config().monitor.for_heartbeat(), word).await?;
        let Some(value) = reply.json::<serde_json::Value>()? else {
            return Ok(HeartbeatAnswer::default());
        };
        read(value)
    }

    fn telemetry(&self) -> Telemetry {
        let mut telemetry = self.config().telemetry.clone();
        if !self.is_ours() {
            // It would compare our number to its own and warn of a difference that means nothing.
            telemetry.executor_version.clone_from(&self.config().version);
        }
        telemetry
    }

    async fn beat(
        &self,
        running: Running,
        telemetry: Telemetry,
        prometheus_metrics: String,
        word: Option<(Incarnation, LostDequeues)>,
    ) -> Result<super::Reply, ApiError> {
        let config = self.config();
        let path = match config.queues.as_slice() {
            [queue] if !config.multi_queue => QueueCall::Heartbeat.path(queue),
            _ => MULTI_HEARTBEAT.to_owned(),
        };
        let body =
            HeartbeatRequest { executor_name: config.name.clone(), running, telemetry, prometheus_metrics };
        let mut request = self.as_agent(Method::POST, &path).header(PREFER, TERM_PREFERENCE);
        if let Some(why) = config.monitor.health().takes_none().filter(|_| self.is_ours()) {
            request = request.header(TAKES_NONE, why.name());
        }
        if let Some((incarnation, lost)) = word {
            request = request.header(INCARNATION, incarnation.to_header());
            if !lost.0.is_empty() {
                request = request.header(LOST_DEQUEUES, lost.to_header());
            }
        }
        let reply = self.call(QueueCall::Heartbeat, request, &body, self.patience()).await?;
        self.learn(&reply, false);
        Ok(reply)
    }
}

/// A list that is not there says nothing; `null` is how stock peers write an empty one.
fn read(value: serde_json::Value) -> Result<HeartbeatAnswer, ApiError> {
    let said =
        value.as_object().is_some_and(|all| all.keys().any(|key| key.eq_ignore_ascii_case("knownIds")));
    let response: HeartbeatResponse = serde_json::from_value(value).map_err(ApiError::Decode)?;
    Ok(HeartbeatAnswer { known: said.then_some(response.known_ids), cancel: response.cancel_ids })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_said_is_not_the_same_as_an_empty_list() {
        let known = |text| read(serde_json::from_str(text).unwrap()).unwrap().known;
        assert_eq!(known("{}"), None);
        assert_eq!(known(r#"{"cancelIds":["1"]}"#), None);
        assert_eq!(known(r#"{"knownIDs":null}"#), Some(vec![]));
        assert_eq!(known(r#"{"knownIds":[1]}"#), Some(vec![IdText("1".to_owned())]));
        assert!(read(serde_json::json!([])).is_err());
    }
}
