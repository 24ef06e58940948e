//! Jobs of another agent on this host that died and does not come back: somebody has to beat for them, under the
//! name that the control plane knows them by.

use crate::config::{AgentConfig, SupervisorCommand};
use crate::error::{AgentError, chain};
use crate::heartbeat::Heartbeat;
use crate::host::{Adoptions, JobHost, Supervised};
use crate::job::Surroundings;
use crate::monitor::Monitor;
use crate::random;
use crate::running::RunningSet;
use crate::state_dir::{StateDir, StateDirs};
use crate::supervisor::Record;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

/// How often such jobs are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// An agent that is started again has this long to find its jobs itself: more than the 5 s after which systemd starts
/// ours again. They wait for an agent for 15 s at least.
const GRACE: Duration = Duration::from_secs(8);

/// Looks for such jobs, and after them.
pub(crate) struct Caretaker {
    closing: CancellationToken,
    task: Option<AbortOnDropHandle<JoinSet<()>>>,
}

impl Caretaker {
    /// Begins to look. Jobs that are found take `places` as these become free.
    pub(crate) fn start(around: &Surroundings, places: &Arc<Semaphore>) -> Self {
        let closing = CancellationToken::new();
        let config = around.api.config();
        let task = config.others.clone().zip(config.supervisor.clone()).map(|(dirs, command)| {
            let care = Care { around: around.clone(), dirs, command, places: Arc::clone(places) };
            AbortOnDropHandle::new(tokio::spawn(care.look_until(closing.clone())))
        });
        Self { closing, task }
    }

    /// Looks for no more, and waits for those that were found; not for any once `leave` fires.
    pub(crate) async fn finish(self, leave: &CancellationToken) {
        self.closing.cancel();
        let Some(task) = self.task else { return };
        let all = async {
            match task.await {
                Ok(mut jobs) => while jobs.join_next().await.is_some() {},
                Err(panic) => warn!(%panic, "the task that looks after others' jobs panicked"),
            }
        };
        let _ = leave.run_until_cancelled(all).await;
    }
}

#[derive(Clone)]
struct Care {
    around: Surroundings,
    dirs: StateDirs,
    command: SupervisorCommand,
    places: Arc<Semaphore>,
}

impl Care {
    async fn look_until(self, closing: CancellationToken) -> JoinSet<()> {
        let mut deserted = Deserted::default();
        let mut jobs = JoinSet::new();
        while closing.run_until_cancelled(sleep(LOOK_EVERY)).await.is_some() {
            while jobs.try_join_next().is_some() {}
            let (dirs, url) = (self.dirs.clone(), self.around.api.config().frontend_url.clone());
            let found = tokio::task::spawn_blocking(move || dirs.deserted(&url)).await;
            let found = match found {
                Ok(Ok(found)) => found,
                Ok(Err(fault)) => {
                    warn!(%fault, "failed to look for jobs of other agents");
                    continue;
                }
                Err(_) => return jobs,
            };
            for dir in deserted.for_long(found, Instant::now()) {
                match self.dirs.hold_deserted(&dir) {
                    Ok(Some(dir)) => {
                        let care = self.clone();
                        jobs.spawn(async move { care.for_jobs_in(&dir).await });
                    }
                    Ok(None) => {}
                    Err(fault) => warn!(fault = chain(&fault), "failed to look after another agent's jobs"),
                }
            }
        }
        jobs
    }

    async fn for_jobs_in(&self, dir: &StateDir) {
        let own = self.around.api.config();
        let mut records = dir.records();
        records.retain(|record| record.is_of(&own.frontend_url));
        let Some(mut config) = config_of(own, &records, dir.jobs()) else { return };
        if let Some(identity) = dir.kept_identity(&own.frontend_url, &config.name) {
            config.password = identity;
        }
        info!(
            executor = config.name,
            jobs = records.len(),
            "looks after the jobs of another agent that is gone"
        );
        if let Err(fault) = self.to_their_end(config).await {
            warn!(fault = chain(&fault), "failed to look after another agent's jobs");
        }
    }

    /// `config` is the other agent's.
    async fn to_their_end(&self, config: AgentConfig) -> Result<(), AgentError> {
        let api = |config| self.around.api.for_another(config).map_err(AgentError::Client);
        // How its heartbeats fare says nothing of this agent.
        let beats = api(AgentConfig { monitor: Monitor::default(), ..config.clone() })?;
        let jobs_dir = config.jobs_dir.clone();
        let around = Surroundings { api: api(config)?, ..self.around.clone() };
        let incarnation = hex::encode(random::bytes::<8>());
        let host = Supervised::new(around, self.command.clone(), jobs_dir, incarnation);
        let running = RunningSet::default();
        let adoptions = Adoptions::register(host.adopt().await, &running);
        let _heartbeat = Heartbeat::start(&beats, running)?;
        let mut ends = JoinSet::new();
        for adoption in adoptions {
            let (registered, end) = (adoption.registered, adoption.end);
            let place = Arc::clone(&self.places).acquire_owned();
            ends.spawn(async move {
                let mut end = std::pin::pin!(async {
                    end.await;
                });
                tokio::select! {
                    () = &mut end => {}
                    // Fewer jobs are taken while others' run here.
                    _place = place => end.await,
                }
                drop(registered);
            });
        }
        while ends.join_next().await.is_some() {}
        Ok(())
    }
}

/// What the agent was told whose jobs these are, as far as looking after them takes; none without jobs.
fn config_of(own: &AgentConfig, jobs: &[Record], jobs_dir: PathBuf) -> Option<AgentConfig> {
    let first = jobs.first()?;
    let mut queues: Vec<String> = jobs.iter().map(|job| job.queue.clone()).collect();
    queues.sort_unstable();
    queues.dedup();
    let multi_queue = first.named_queue.is_some();
    if !multi_queue {
        queues.truncate(1);
    }
    let name = first.executor.clone();
    // Its starts are its own to tell of.
    Some(AgentConfig { name, queues, multi_queue, jobs_dir, start: None, ..own.clone() })
}

/// Since when which directories are.
#[derive(Default)]
struct Deserted(BTreeMap<PathBuf, Instant>);

impl Deserted {
    /// Takes note of those that are deserted `now`; gives back those that have been for long.
    fn for_long(&mut self, found: Vec<PathBuf>, now: Instant) -> Vec<PathBuf> {
        self.0.retain(|dir, _| found.contains(dir));
        for dir in found {
            self.0.entry(dir).or_insert(now);
        }
        let long = self.0.iter().filter(|(_, since)| now.duration_since(**since) >= GRACE);
        long.map(|(dir, _)| dir.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(queue: &str, named: bool) -> Record {
        let named_queue = named.then_some(queue);
        let record = serde_json::json!({
            "job": 7, "named_queue": named_queue, "queue": queue, "executor": "other-1", "incarnation": "i", "pid": 1,
            "instance": null
        });
        serde_json::from_value(record).unwrap()
    }

    fn own() -> AgentConfig {
        let url = "http://cp".parse().unwrap();
        AgentConfig::new(url, "secret".into(), "batches", "own-1", "/work".into())
    }

    #[test]
    fn beats_as_the_agent_did_whose_jobs_they_are() {
        let told = |jobs: &[Record]| {
            let config = config_of(&own(), jobs, "/jobs".into())?;
            assert_eq!(config.jobs_dir, PathBuf::from("/jobs"));
            Some((config.name, config.multi_queue, config.queues.join(",")))
        };
        let other = "other-1".to_owned();
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[job("codeintel", false)]), Some((other.clone(), false, "codeintel".to_owned())));
        let both = [job("codeintel", true), job("batches", true), job("batches", true)];
        assert_eq!(told(&both), Some((other, true, "batches,codeintel".to_owned())));
    }

    #[test]
    fn jobs_count_as_deserted_after_a_while_without_anybody() {
        let mut deserted = Deserted::default();
        let begin = Instant::now();
        let dir = || vec![PathBuf::from("/a")];
        let mut after = |time, found| deserted.for_long(found, begin + time);
        assert!(after(Duration::ZERO, dir()).is_empty());
        assert!(after(GRACE / 2, dir()).is_empty());
        assert!(after(GRACE, vec![]).is_empty(), "its agent is back");
        assert!(after(GRACE * 2, dir()).is_empty());
        assert_eq!(after(GRACE * 3, dir()), dir());
    }
}
