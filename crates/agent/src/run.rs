//! An agent's life: reach the control plane, clean up, take jobs, leave.

use crate::api::{Api, Backoff};
use crate::audit::AuditLog;
use crate::caretaker::Caretaker;
use crate::config::AgentConfig;
use crate::dequeue_loop::{Leaving, take_jobs};
use crate::error::{AgentError, Summary, chain};
use crate::health;
use crate::heartbeat::Heartbeat;
use crate::host::{Adoptions, InProcess, JobHost, Supervised};
use crate::job::{self, Surroundings};
use crate::metrics::Forwarder;
use crate::random;
use crate::running::RunningSet;
use crate::start::Start;
use crate::trouble::Call;
use runtimes::Runtime;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

/// The pause between two pings.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// What handing back jobs may take at the end of the time for a drain, or half of that time if it is less.
const HAND_BACK: Duration = Duration::from_secs(10);
/// A control plane that starts together with us may take this long before anybody is told.
const QUIET_START: Duration = Duration::from_mins(1);

/// How an agent is told to leave.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    /// Take no more jobs, wait for those that run, and leave.
    pub drain: CancellationToken,
    /// Stop what runs, report it, and leave.
    pub stop: CancellationToken,
    /// Leave at once. Jobs that run under supervisors go on, and the next agent takes care of them; others
    /// are waited for.
    pub leave: CancellationToken,
}

/// Runs an agent until it is told to leave, or has taken all the jobs it may.
pub async fn run(
    config: AgentConfig,
    runtime: Arc<dyn Runtime>,
    orders: Orders,
) -> Result<Summary, AgentError> {
    check(&config)?;
    let config = Arc::new(config);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.work_dir)
        .map_err(AgentError::io(format!("make the directory {}", config.work_dir.display())))?;
    config.monitor.audits(AuditLog::open(&config)?);
    let _health = health::listen(&config).await?;
    let drain = drain_on_any(&orders);
    let _limit = config.drain_limit.map(|limit| hand_back_in_time(limit, &drain, &orders.stop));
    let api = Api::new(Arc::clone(&config)).map_err(AgentError::Client)?;
    let around = Surroundings { api: api.clone(), runtime: Arc::clone(&runtime), hurry: orders.stop };
    let host = host(&around);
    let unsettled = config.start.as_ref().map(Start::unsettled);
    let running = RunningSet::default();
    let adopted = Adoptions::register(host.adopt().await, &running);
    // The jobs that go on here need it before the control plane has answered anything.
    let early = if adopted.none_runs() { None } else { Some(Heartbeat::start(&api, running.clone())?) };
    match reach(&api, &drain).await {
        Err(_) if early.is_some() => {}
        reached => reached?,
    }
    info!(name = config.name, queues = ?config.queues, runtime = runtime.name(), "executor begins");
    let is_clean = clean_up(&*runtime).await;
    if let Some(unsettled) = unsettled.filter(|_| is_clean) {
        unsettled.done();
    }

    let _forwarder = Forwarder::start(Arc::clone(&config))?;
    let heartbeat = match early {
        Some(heartbeat) => heartbeat,
        None => Heartbeat::start(&api, running.clone())?,
    };
    let warming = Arc::clone(&host);
    tokio::spawn(async move { warming.warm().await });
    let places = Arc::new(Semaphore::new(config.max_jobs));
    let caretaker = Caretaker::start(&around, &places);
    let leaving = Leaving { drain, leave: orders.leave.clone() };
    let summary = take_jobs(around, Arc::clone(&host), running, places, adopted, leaving).await;
    caretaker.finish(&orders.leave).await;
    drop(heartbeat);
    host.close().await;
    config.monitor.flush().await;
    info!(taken = summary.taken, completed = summary.completed, "executor ends");
    Ok(summary)
}

fn check(config: &AgentConfig) -> Result<(), AgentError> {
    let fault = match config {
        _ if config.max_jobs == 0 => "an executor that may run 0 jobs at a time takes none",
        _ if config.queues.is_empty() => "an executor needs a queue to take jobs from",
        _ if !config.multi_queue && config.queues.len() > 1 => "several queues need the calls for several",
        _ if config.queues.iter().any(|queue| !crate::api::valid_segment(queue)) => "a queue has a bad name",
        _ => {
            // Else every job that brings none of its own would fail.
            return job::check_credentials(config).map_err(AgentError::Config);
        }
    };
    Err(AgentError::Config(fault.to_owned()))
}

/// Who runs the jobs.
fn host(around: &Surroundings) -> Arc<dyn JobHost> {
    let config = around.api.config();
    match config.supervisor.clone() {
        None => Arc::new(InProcess::new(around.clone())),
        Some(command) => {
            let incarnation = hex::encode(random::bytes::<8>());
            Arc::new(Supervised::new(around.clone(), command, config.jobs_dir.clone(), incarnation))
        }
    }
}

/// Stops what still runs when the time for a drain is nearly over: whoever ends this process then would end jobs
/// without a word.
fn hand_back_in_time(
    limit: Duration,
    drain: &CancellationToken,
    stop: &CancellationToken,
) -> AbortOnDropHandle<()> {
    let (drain, stop) = (drain.clone(), stop.clone());
    AbortOnDropHandle::new(tokio::spawn(async move {
        drain.cancelled().await;
        sleep(limit.saturating_sub(HAND_BACK.min(limit / 2))).await;
        warn!(?limit, "the time for leaving is nearly over: jobs that still run are handed back");
        stop.cancel();
    }))
}

/// Somebody who only says "stop" or "leave" means "take no more jobs" as well.
fn drain_on_any(orders: &Orders) -> CancellationToken {
    let any = orders.drain.child_token();
    let (fire, stop, leave) = (any.clone(), orders.stop.clone(), orders.leave.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => fire.cancel(),
            () = leave.cancelled() => fire.cancel(),
            () = fire.cancelled() => {}
        }
    });
    any
}

/// Pings until the control plane answers.
async fn reach(api: &Api, drain: &CancellationToken) -> Result<(), AgentError> {
    let began = Instant::now();
    let (monitor, mut refused) = (&api.config().monitor, Backoff::of_refusals());
    let pings = async {
        while let Err(error) = api.ping().await {
            monitor.health().beat(false);
            if error.is_connect() && began.elapsed() < QUIET_START {
                debug!(error = chain(&error), "the control plane can't be reached yet");
            } else {
                monitor.troubles().failed(Call::Ping, &error);
            }
            let asked = error.retry_after().unwrap_or_default();
            let longer = if error.is_refusal() { refused.pause() } else { Duration::ZERO };
            sleep(PING_INTERVAL.max(longer).max(asked)).await;
        }
    };
    drain.run_until_cancelled(pings).await.ok_or(AgentError::NeverReached)?;
    monitor.health().beat(true);
    monitor.troubles().worked(Call::Ping);
    Ok(())
}

/// Removes what an agent that died left behind. What can't be removed now is tried again at the
/// next start, and is no reason not to work.
async fn clean_up(runtime: &dyn Runtime) -> bool {
    match runtime.reap().await {
        Ok(reaped) if reaped.sandboxes > 0 => info!(sandboxes = reaped.sandboxes, "removed leftovers"),
        Ok(_) => {}
        Err(fault) => {
            warn!(fault = chain(&fault), "failed to remove leftovers of an earlier agent");
            return false;
        }
    }
    true
}
