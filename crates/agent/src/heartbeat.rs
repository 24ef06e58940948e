//! Says every few seconds which jobs are alive, and hears which of them are to end.
//!
//! It has a thread, a tokio runtime and an HTTP client of its own: whatever keeps the rest of the
//! agent busy, the lease of its jobs is kept.

use crate::api::{Api, BEATS, HeartbeatAnswer};
use crate::boot_time::BootTime;
use crate::config::AgentConfig;
use crate::error::AgentError;
use crate::job::StopCause;
use crate::random;
use crate::running::{RunningJob, RunningSet};
use crate::trouble::Call;
use http::StatusCode;
use std::collections::BTreeMap;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use wire::heartbeat::Running;
use wire::{IdText, QueueJobIds};

/// A running heartbeat.
pub(crate) struct Heartbeat {
    done: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

type Snapshot = Vec<(IdText, RunningJob)>;

impl Heartbeat {
    /// Starts to beat for `jobs`.
    pub(crate) fn start(api: &Api, jobs: RunningSet) -> Result<Self, AgentError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(AgentError::io("set up the heartbeat"))?;
        let done = CancellationToken::new();
        let until = done.clone();
        let api = api.with_own_client().map_err(AgentError::Client)?;
        let thread = std::thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || runtime.block_on(beat(api, jobs, until)))
            .map_err(AgentError::io("start the heartbeat's thread"))?;
        Ok(Self { done, thread: Some(thread) })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.done.cancel();
        // A heartbeat under way is dropped, so this takes no time.
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the heartbeat panicked");
        }
    }
}

async fn beat(api: Api, jobs: RunningSet, done: CancellationToken) {
    let forever = async {
        // Agents that are started together are not to march in step for as long as they live.
        let mut share = random::fraction();
        loop {
            let sent = Instant::now();
            once(&api, &jobs).await;
            rest(&api, share, sent).await;
            share = 1.0 - 0.1 * random::fraction();
        }
    };
    let _ = done.run_until_cancelled(forever).await;
}

/// Waits for a share of the pause after a heartbeat that was sent at `sent` and has ended now. Hearing of shorter leases
/// meanwhile shortens it: the first job of such a control plane is renewed in time as well. Hearing of others changes
/// nothing, or all that hear it would beat together.
async fn rest(api: &Api, share: f64, sent: Instant) {
    let ended = Instant::now();
    while timeout(left(api, share, sent, ended), api.lease_term_changed()).await.is_ok() {}
}

/// How much is left of the pause. It is as configured, after the answer: who is slow to answer gets no more to answer for
/// that. But several are sent while a lease lasts, and a lease does not wait for answers: what a heartbeat that hung has
/// taken is no pause on top of that.
fn left(api: &Api, share: f64, sent: Instant, ended: Instant) -> Duration {
    let usual = api.config().heartbeat_interval.mul_f64(share).saturating_sub(ended.elapsed());
    api.lease_term().map_or(usual, |term| {
        let part = (term / BEATS).mul_f64(share);
        usual.min(part.saturating_sub(sent.elapsed()))
    })
}

/// A heartbeat that fails changes nothing: the jobs go on, and so do the heartbeats. Nor does it prolong a lease,
/// however it failed: a connection that is refused and a 502 tell of what stands in front of the control plane, which
/// may well be there for others.
async fn once(api: &Api, jobs: &RunningSet) {
    let sent = jobs.snapshot();
    let all = sent.len();
    let (running, mut sent) =
        if api.config().multi_queue { grouped(api.config(), sent) } else { (numbered(&sent), sent) };
    let asked = BootTime::now();
    let answered = api.heartbeat(running, sent.len() == all).await;
    let monitor = &api.config().monitor;
    monitor.health().beat(answered.is_ok());
    match answered {
        Ok(answer) => {
            monitor.troubles().worked(Call::Heartbeat);
            renew(&answer, &sent, asked, api.lease_term());
            // The control plane may have heard of a job's end before it looked at the heartbeat. Whatever
            // else it thinks of such a job, it says so to the final call.
            sent.retain(|(_, job)| !job.stop.end_is_told());
            obey(&answer, &sent);
        }
        Err(error) => {
            monitor.metrics().heartbeat_failed();
            if error.code() == Some(StatusCode::PAYLOAD_TOO_LARGE) && monitor.too_large() {
                warn!(
                    "the control plane takes no heartbeat of this size: they go without metrics from now on"
                );
            }
            monitor.troubles().failed(Call::Heartbeat, &error);
        }
    }
}

/// A job that is known had its lease renewed after `asked`.
fn renew(answer: &HeartbeatAnswer, sent: &Snapshot, asked: BootTime, term: Option<Duration>) {
    let Some(known) = &answer.known else { return };
    for (_, job) in sent.iter().filter(|(key, job)| is_known(known, key, job)) {
        job.lease.renew(asked, term);
    }
}

fn is_known(known: &[IdText], key: &IdText, job: &RunningJob) -> bool {
    known.contains(key) || known.iter().any(|id| job.is_meant_by(id))
}

fn numbered(sent: &Snapshot) -> Running {
    Running::Single(sent.iter().map(|(_, job)| job.id).collect())
}

/// Jobs by queue, and those that are told of so. One without a queue can't be: nothing may be concluded from its
/// absence in the answer.
fn grouped(config: &AgentConfig, running: Snapshot) -> (Running, Snapshot) {
    let mut by_queue: BTreeMap<String, Vec<IdText>> = BTreeMap::new();
    let mut told = Snapshot::new();
    for (key, job) in running {
        if let Some(queue) = config.queue_of(job.queue.as_deref()) {
            by_queue.entry(queue.to_owned()).or_default().push(IdText::new(job.id, None));
            told.push((key, job));
        }
    }
    let by_queue = by_queue.into_iter().map(|(queue_name, job_ids)| QueueJobIds { queue_name, job_ids });
    (Running::Multi { queues: config.queues.clone(), by_queue: by_queue.collect() }, told)
}

/// Does what the control plane says about the jobs it was asked about, and only those: one that
/// began meanwhile is not judged.
fn obey(answer: &HeartbeatAnswer, sent: &Snapshot) {
    if let Some(known) = &answer.known {
        for (key, job) in sent {
            if !is_known(known, key, job) && job.stop(StopCause::Abandoned) {
                error!(job = %key, "the control plane does not know the job as ours: it is dropped");
            }
        }
    }
    for id in &answer.cancel {
        match meant(id, sent) {
            Some((key, job)) if job.stop(StopCause::Canceled) => info!(job = %key, "job is canceled"),
            Some(_) => {}
            None => debug!(%id, "asked to cancel a job that does not run here"),
        }
    }
}

/// The one job that `id` names: exactly, or else without doubt.
fn meant<'a>(id: &IdText, sent: &'a Snapshot) -> Option<&'a (IdText, RunningJob)> {
    if let Some(exact) = sent.iter().find(|(key, _)| key == id) {
        return Some(exact);
    }
    let mut candidates = sent.iter().filter(|(_, job)| job.is_meant_by(id));
    candidates.next().filter(|_| candidates.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Lease;
    use std::io::{Read, Write};
    use std::sync::{Arc, Mutex};
    use wire::JobId;
    use wire::additions::{LEASE_TERM, lease_term};

    fn snapshot(jobs: &[(i64, Option<&str>)]) -> Snapshot {
        let job = |(id, queue): &(i64, Option<&str>)| {
            let job = RunningJob::new(
                JobId(*id),
                queue.map(str::to_owned),
                Arc::default(),
                Arc::new(Lease::new(BootTime::now(), None)),
            );
            (IdText::new(job.id, *queue), job)
        };
        jobs.iter().map(job).collect()
    }

    fn causes(sent: &Snapshot) -> Vec<Option<StopCause>> {
        sent.iter().map(|(_, job)| job.stop.cause()).collect()
    }

    fn ids(ids: &[&str]) -> Vec<IdText> {
        ids.iter().map(|id| IdText((*id).to_owned())).collect()
    }

    #[test]
    fn a_job_that_can_not_be_told_of_is_not_judged_by_its_absence() {
        let mut config = crate::AgentConfig::new(
            "http://127.0.0.1:1".parse().unwrap(),
            String::new().into(),
            "",
            "host",
            std::path::PathBuf::from("/nowhere"),
        );
        config.queues = ["batches", "codeintel"].map(str::to_owned).into();
        config.multi_queue = true;
        let all = snapshot(&[(1, Some("batches")), (2, None), (3, Some("codeintel"))]);
        let (running, told) = grouped(&config, all.clone());
        let Running::Multi { by_queue, .. } = running else { panic!("{running:?}") };
        let named = by_queue.into_iter().map(|of| (of.queue_name, of.job_ids));
        let expected = [("batches", "1"), ("codeintel", "3")];
        assert_eq!(
            named.collect::<Vec<_>>(),
            expected.map(|(queue, id)| (queue.to_owned(), ids(&[id]))).to_vec()
        );
        obey(&HeartbeatAnswer { known: Some(Vec::new()), cancel: Vec::new() }, &told);
        let dropped = Some(StopCause::Abandoned);
        assert_eq!(causes(&all), [dropped, None, dropped]);
    }

    #[test]
    fn an_answer_stops_exactly_the_jobs_it_names() {
        let sent = snapshot(&[(1, None), (2, None), (3, None)]);
        obey(&HeartbeatAnswer { known: Some(ids(&["1", "2"])), cancel: ids(&["2", "9", "x"]) }, &sent);
        assert_eq!(causes(&sent), [None, Some(StopCause::Canceled), Some(StopCause::Abandoned)]);
    }

    #[test]
    fn an_answer_that_says_nothing_stops_nothing() {
        let sent = snapshot(&[(1, None)]);
        obey(&HeartbeatAnswer::default(), &sent);
        assert_eq!(causes(&sent), [None]);
    }

    #[test]
    fn the_same_number_in_two_queues_is_two_jobs() {
        let sent = snapshot(&[(3, Some("batches")), (3, Some("codeintel"))]);
        obey(&HeartbeatAnswer { known: None, cancel: ids(&["3"]) }, &sent);
        assert_eq!(causes(&sent), [None, None], "in doubt nothing is stopped");
        obey(&HeartbeatAnswer { known: None, cancel: ids(&["3-codeintel"]) }, &sent);
        assert_eq!(causes(&sent), [None, Some(StopCause::Canceled)]);
    }

    /// A heartbeat to `url` for a job whose lease had just begun; says how that stands, and when the beat began.
    async fn beat_once(url: &str) -> (crate::lease::State, BootTime, Option<StopCause>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = url.parse().unwrap();
        let config = AgentConfig::new(url, "hunter2hunter2".into(), "batches", "a", std::env::temp_dir());
        let api = Api::new(Arc::new(config)).unwrap();
        let jobs = RunningSet::default();
        let lease = Arc::new(Lease::new(BootTime::now(), Some(Duration::from_secs(25))));
        let job = RunningJob::new(JobId(1), None, Arc::default(), Arc::clone(&lease));
        let (_registered, _) = jobs.register(job);
        let before = BootTime::now();
        once(&api, &jobs).await;
        let state = *lease.subscribe().borrow();
        (state, before, jobs.snapshot()[0].1.stop.cause())
    }

    #[tokio::test]
    async fn a_refused_connection_renews_no_lease() {
        let (state, before, _) = beat_once("http://127.0.0.1:1").await;
        // Nobody listens there, which says nothing of a control plane behind a proxy.
        assert!(state.renewed <= before && state.term == Some(Duration::from_secs(25)), "{state:?}");
    }

    /// Somebody listens, who can't say whether the control plane lives: it may be giving jobs away.
    #[tokio::test]
    async fn what_a_proxy_says_neither_keeps_a_lease_nor_ends_a_job() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let statuses = ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"];
        let proxy = std::thread::spawn(move || {
            for status in statuses {
                let (mut connection, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    let mut piece = [0; 4 << 10];
                    let length = connection.read(&mut piece).unwrap();
                    assert!(length > 0, "it says no more, which was not all");
                    request.extend_from_slice(&piece[..length]);
                }
                let body = r#"{"error":"upstream","knownIds":[],"cancelIds":["1"]}"#;
                let length = body.len();
                write!(
                    connection,
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                )
                .unwrap();
            }
        });
        for status in statuses {
            let (state, before, cause) = beat_once(&url).await;
            assert!(state.renewed <= before && cause.is_none(), "{status}: {state:?}, {cause:?}");
        }
        proxy.join().unwrap();
    }

    /// A control plane with leases of `term` that answers but the third heartbeat and the fourth, which hang; says how
    /// long after the second the others were sent, up to the fifth, which renewed the lease.
    async fn sent_after_the_last_answer(term: Duration) -> Vec<Duration> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let heard: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let hears = Arc::clone(&heard);
        let plane = axum::Router::new().fallback(move || {
            let beats = {
                let mut heard = hears.lock().unwrap();
                heard.push(Instant::now());
                heard.len()
            };
            async move {
                if [3, 4].contains(&beats) {
                    std::future::pending::<()>().await;
                }
                ([(LEASE_TERM, lease_term(term))], r#"{"knownIds":["1"],"cancelIds":[]}"#)
            }
        });
        tokio::spawn(async { axum::serve(listener, plane).await.unwrap() });

        let config = AgentConfig::new(url, "hunter2hunter2".into(), "batches", "a", std::env::temp_dir());
        let (jobs, lease) = (RunningSet::default(), Arc::new(Lease::new(BootTime::default(), None)));
        let job = RunningJob::new(JobId(1), None, Arc::default(), Arc::clone(&lease));
        let (_registered, _) = jobs.register(job);
        let mut renewals = lease.subscribe();
        let three = async {
            for _ in 0..3 {
                renewals.changed().await.unwrap();
            }
        };
        tokio::select! {
            () = beat(Api::new(Arc::new(config)).unwrap(), jobs, CancellationToken::new()) => panic!("it ends"),
            () = three => {}
        }
        let heard = heard.lock().unwrap();
        heard[1..].iter().map(|sent| *sent - heard[1]).collect()
    }

    /// Tries until they are sent `so`: where this machine has much to do, one or its answer may be on its way when the clock, which is
    /// paused, goes on. Then it is late, or hangs as well; none is sooner for that.
    async fn are_sent(term: Duration, so: impl Fn(&[Duration]) -> bool) {
        let mut seen = Vec::new();
        for _ in 0..20 {
            let sent = sent_after_the_last_answer(term).await;
            if sent.len() == 4 && so(&sent[1..]) {
                return;
            }
            seen.push(sent);
        }
        panic!("{seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn two_heartbeats_that_hang_cost_a_short_lease_nothing() {
        let term = Duration::from_secs(3);
        let lost = jobs::tenure::Tenure::new(Duration::ZERO, Some(term)).end().unwrap();
        are_sent(term, |sent| sent[2] < lost).await;
    }

    /// It may be slow because it has much to do.
    #[tokio::test(start_paused = true)]
    async fn with_long_leases_there_is_a_pause_after_heartbeats_that_hung() {
        let usual = Duration::from_millis(14_500)..Duration::from_millis(15_100);
        let hung_and_paused =
            |sent: &[Duration]| sent.windows(2).all(|pair| usual.contains(&pair[1].saturating_sub(pair[0])));
        are_sent(Duration::from_secs(90), hung_and_paused).await;
    }
}
