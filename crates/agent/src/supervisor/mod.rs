//! The supervisor of one job: a process that runs it, and outlives the agent that took it.
//!
//! It begins as a spare that has everything ready, waits for a job on its standard input, and ends
//! with its agent if none came. From then on nothing but the job's end, its lease and what agents say
//! decides when it leaves. It makes all calls about the job by itself; agents only beat for it.

mod hub;
mod job_dir;
mod kept_end;
mod protocol;

pub(crate) use job_dir::{JobDir, Record, Standing, control_plane};
pub(crate) use kept_end::{KeptEnd, KeptTexts};
pub(crate) use protocol::{Assignment, Cause, JOB_LINE, LINE, Link, Order, Report, line_of, millis};

use crate::account::Account;
use crate::api::{Api, JobAuth};
use crate::audit::AuditLog;
use crate::boot_time::BootTime;
use crate::config::AgentConfig;
use crate::error::{AgentError, chain};
use crate::job::{self, Assigned, JobStop, Surroundings};
use crate::lease::Lease;
use crate::timeline::Timeline;
use hub::Hub;
use job_dir::Held;
use runtimes::Runtime;
use rustix::fd::AsFd;
use secrecy::SecretString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use wire::IdText;

/// Runs one job, if one comes, and leaves. `dir` was made by the agent that started this process and
/// talks to it on its standard input. Call it once in a process, in a tokio runtime of its own.
pub async fn supervise(
    config: AgentConfig,
    runtime: Arc<dyn Runtime>,
    dir: PathBuf,
) -> Result<(), AgentError> {
    let dir = JobDir::at(dir);
    let ready = Ready::get(dir.clone());
    let ended = match ready {
        Ok(ready) => Box::pin(ready.wait_for_job(config, runtime)).await,
        Err(fault) => Err(AgentError::io(format!("supervise a job in {}", dir.path().display()))(fault)),
    };
    dir.remove();
    ended
}

/// A supervisor without a job.
struct Ready {
    dir: JobDir,
    agent: Link,
    listener: UnixListener,
    _held: Held,
    /// Heard and not heeded: what a service manager sends to all processes of a service is the agent's
    /// to pass on.
    _signals: Vec<Signal>,
}

impl Ready {
    fn get(dir: JobDir) -> io::Result<Self> {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let signals = kinds.into_iter().chain([SignalKind::user_defined2()]).map(signal);
        Ok(Self {
            _signals: signals.collect::<io::Result<_>>()?,
            _held: dir.hold()?,
            listener: dir.listen()?,
            agent: Link::new(standard_input()?),
            dir,
        })
    }

    async fn wait_for_job(
        mut self,
        config: AgentConfig,
        runtime: Arc<dyn Runtime>,
    ) -> Result<(), AgentError> {
        // All that takes time and needs no job.
        let api = Api::new(Arc::new(config)).map_err(AgentError::Client)?;
        let warming = Arc::clone(&runtime);
        let warm = tokio::spawn(async move { warming.warm().await });
        let heard = self.agent.next::<Order>(JOB_LINE).await;
        let assignment = match heard {
            Ok(Some(Order::Job(assignment))) => *assignment,
            // The agent is gone or has no job for us, or says what only a later release understands.
            Ok(_) => {
                let _ = warm.await;
                return Ok(());
            }
            Err(fault) => return Err(AgentError::io("hear of a job")(fault)),
        };
        Box::pin(self.run(api, runtime, assignment)).await
    }

    async fn run(
        self,
        api: Api,
        runtime: Arc<dyn Runtime>,
        assignment: Assignment,
    ) -> Result<(), AgentError> {
        let Self { dir, mut agent, listener, _held, _signals } = self;
        let Assignment { job, queue, at, renewed, term_ms, append, incarnation } = assignment;
        let config = Arc::clone(api.config());
        let audit = audit_file(&config);
        let record = Record {
            job: job.id,
            named_queue: job.queue.clone(),
            queue: queue.clone(),
            executor: config.name.clone(),
            incarnation,
            pid: std::process::id(),
            control_plane: Some(control_plane(&config.frontend_url)),
            instance: runtime.instance(),
            begun: Some(at),
            limit_ms: millis(config.max_runtime),
            answers: true,
            audits: audit.is_some(),
        };
        dir.note(&record, &job.token).map_err(AgentError::io("write down a job"))?;
        if agent.send(&Report::Taken).await.is_err() {
            // An agent that was killed just now may have a successor that has seen the record.
            warn!(job = %job.id, "the agent went away while it handed over a job");
        }
        api.assume_append(append);
        let auth = JobAuth { id: job.id, queue, token: SecretString::from(job.token.as_str()) };
        if let Some(audit) = &audit {
            audit.begins(&config, &job, &auth);
        }
        let hurry = CancellationToken::new();
        let around = Surroundings { api, runtime, hurry: hurry.clone() };
        let (stop, end_told) = JobStop::with_listener();
        let stop = Arc::new(stop);
        let term = term_ms.map(Duration::from_millis);
        let (lease, about_to_be_lost) = Lease::with_reader(renewed.unwrap_or(at), term);
        let lease = Arc::new(lease);
        let hub = Hub::new(
            agent,
            listener,
            Arc::clone(&stop),
            (Arc::clone(&lease), about_to_be_lost),
            hurry,
            end_told,
            config.monitor.clone(),
        );
        let timeline = Timeline::resume(IdText::new(job.id, job.queue.as_deref()), at.instant());
        let ledger = timeline.ledger().clone();
        let (id, queue) = (job.id, auth.queue.clone());
        let kept = Some(dir.clone());
        let assigned = Assigned { job, auth, stop, lease, at: at.instant(), timeline, kept };
        hub.serve_during(async {
            let completed = job::run(around, assigned).await;
            let account = ledger.account();
            if let Some(audit) = &audit {
                audit.ended(&config, id, &queue, &account, completed, BootTime::now().since(at));
            }
            dir.forget_job();
            (completed, Account { counts: Box::new(config.monitor.metrics().take()), ..account })
        })
        .await;
        config.monitor.flush().await;
        Ok(())
    }
}

/// The file that its begin and its end are written to, whichever agents there are meanwhile. Without it the
/// agent writes the end.
fn audit_file(config: &AgentConfig) -> Option<AuditLog> {
    let opened = AuditLog::of_file(config).transpose()?;
    opened.inspect_err(|fault| warn!(fault = chain(fault), "a job can't be written into the audit log")).ok()
}

/// The socket that this process was started with. What it starts itself finds nothing there.
fn standard_input() -> io::Result<UnixStream> {
    let socket: OwnedFd = rustix::stdio::stdin().as_fd().try_clone_to_owned()?;
    let nothing = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    let stream = std::os::unix::net::UnixStream::from(socket);
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}
