//! Submitting many jobs with one call: all of them, or none.
//!
//! Each costs what it costs alone but for the commit, which waits for the disk and is one for all. So that nobody has to find
//! out what became of which, one that can't be submitted keeps all others from it, and every such one is told at once.

use super::asked::{Asked, Commits};
use super::input::{self, parsed};
use super::jobs;
use super::problem::Refusal;
use crate::api::{JobFault, MOST_JOBS, SubmittedJobs};
use crate::app::App;
use crate::auth::principal::Caller;
use crate::disk_floor::Growing;
use ::jobs::{JobId, JobSpec, Namespace};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;
use store::NewJob;
use tokio::time::Instant;
use wire::additions::IDEMPOTENCY_KEY;

/// How a call is refused that can't be done as it is.
const INVALID: &str = "invalid_jobs";
/// Jobs that one turn to submit is for. So many are committed together where they come by themselves.
const JOBS_A_TURN: usize = 64;

/// `POST /jobs/batch`
pub(super) async fn submit(
    caller: Caller,
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<SubmittedJobs>), Refusal> {
    let came = Instant::now();
    refuse_one_key(&headers)?;
    let (bytes, large) = input::large(&app, &caller, body, app.limits.api_body).await?;
    let turns = |asked: &Vec<Asked>| asked.len().div_ceil(JOBS_A_TURN);
    let (asked, turns) = jobs::in_turn(&app, &caller, turns, || read(&bytes)).await?;
    drop(bytes);
    let (running, namespace) = (app.clone(), caller.principal.namespace);
    let submitted = async move {
        let ids = enqueue(&running, &namespace, asked, came).await;
        drop((turns, large));
        ids
    };
    let ids = app.see_through(submitted).await??;
    Ok((StatusCode::CREATED, Json(SubmittedJobs { ids: ids.into_iter().map(|id| id.0).collect() })))
}

/// Passed over in silence, it would leave whoever makes the call again with every job twice.
fn refuse_one_key(headers: &HeaderMap) -> Result<(), Refusal> {
    if !headers.contains_key(IDEMPOTENCY_KEY) {
        return Ok(());
    }
    let title = "The idempotency key can't be used";
    let detail = format!(
        "{IDEMPOTENCY_KEY} is of one job: leave it out, and give each job of the call its own, as idempotencyKey beside job"
    );
    Err(Refusal::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", title, detail))
}

/// What came, before the jobs in it are understood: each is told by itself what is wrong with it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unread<'b> {
    #[serde(borrow)]
    jobs: Texts<'b>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UnreadJob<'b> {
    #[serde(borrow)]
    job: &'b RawValue,
    #[serde(default)]
    idempotency_key: Option<String>,
}

/// Texts of as many jobs as there may be.
struct Texts<'b>(Vec<&'b RawValue>);

impl<'de: 'b, 'b> Deserialize<'de> for Texts<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;
        impl<'de> Visitor<'de> for Bounded {
            type Value = Vec<&'de RawValue>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of up to {MOST_JOBS} jobs")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = items.next_element()? {
                    if texts.len() == MOST_JOBS {
                        return Err(A::Error::custom(format!(
                            "jobs has more than {MOST_JOBS}, the most that one call submits: make several calls"
                        )));
                    }
                    texts.push(text);
                }
                Ok(texts)
            }
        }
        deserializer.deserialize_seq(Bounded).map(Self)
    }
}

/// The jobs, if each could be run. One that could not may be far larger in memory than it was in the body.
fn read(bytes: &[u8]) -> Result<Vec<Asked>, Refusal> {
    let Unread { jobs: Texts(texts) } = parsed(bytes, INVALID)?;
    if texts.is_empty() {
        let title = "There is no job";
        let detail = format!("jobs is an empty list: put 1 to {MOST_JOBS} jobs into it");
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, INVALID, title, detail));
    }
    let (mut asked, mut faults) = (Vec::new(), Faults::default());
    for (index, text) in texts.iter().enumerate() {
        match read_one(text) {
            Ok(one) if faults.0.is_empty() => asked.push(one),
            Ok(_) => {}
            Err(refusal) => {
                asked = Vec::new();
                faults.add(index, refusal)?;
            }
        }
    }
    faults.tell(texts.len())?;
    Ok(asked)
}

fn read_one(text: &RawValue) -> Result<Asked, Refusal> {
    let UnreadJob { job, idempotency_key } = parsed(text.get().as_bytes(), "invalid_job")?;
    let spec = jobs::runnable(parsed(job.get().as_bytes(), "invalid_job")?)?;
    idempotency_key.as_deref().map_or(Ok(()), jobs::check_key)?;
    Ok(Asked { spec, idempotency_key })
}

/// What is wrong with which of the jobs.
#[derive(Default)]
struct Faults(Vec<JobFault>);

impl Faults {
    /// Notes that one was refused; gives that back where nobody would do better with another job.
    fn add(&mut self, index: usize, refusal: Refusal) -> Result<(), Refusal> {
        self.0.push(refusal.of_job(index)?);
        Ok(())
    }

    /// Refuses all of them if one was.
    fn tell(self, of: usize) -> Result<(), Refusal> {
        let Some(JobFault { index, detail, .. }) = self.0.first() else { return Ok(()) };
        let (bad, title) = (self.0.len(), "Jobs can't be submitted as they are");
        let detail = format!(
            "{bad} of {of} jobs can't be submitted, so none was; counted from 0, job {index}: {detail}"
        );
        let refusal = Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, INVALID, title, detail);
        Err(refusal.with_jobs(self.0))
    }
}

async fn enqueue(
    app: &App,
    namespace: &Namespace,
    asked: Vec<Asked>,
    came: Instant,
) -> Result<Vec<JobId>, Refusal> {
    let owner = namespace.key();
    // What they name may be gone since.
    let there = already_there(app, &owner, &asked).await?;
    if there.iter().all(Option::is_some) {
        return Ok(there.into_iter().flatten().collect());
    }
    app.disk_floor.check(Growing::Database)?;
    let new = look_up(app, namespace, asked, &there, came).await?;
    let told: Vec<(String, bool)> =
        new.iter().map(|job| (job.spec.queue.clone(), !job.spec.secrets.is_empty())).collect();
    let ids = app.store.submit_all(new).await?;
    for ((queue, with_secrets), id) in told.iter().zip(&ids) {
        app.metrics.submitted(queue);
        if *with_secrets {
            app.secret_jobs.note(*id);
        }
    }
    tracing::info!(jobs = ids.len(), first = ids.first().map(|id| id.0), "jobs were submitted with one call");
    let mut ids = ids.into_iter();
    Ok(there.into_iter().filter_map(|id| id.or_else(|| ids.next())).collect())
}

/// Which of them were submitted before.
async fn already_there(app: &App, owner: &str, asked: &[Asked]) -> Result<Vec<Option<JobId>>, Refusal> {
    let keyed: Vec<(&str, &JobSpec)> =
        asked.iter().filter_map(|one| Some((one.idempotency_key.as_deref()?, &one.spec))).collect();
    if keyed.is_empty() {
        return Ok(vec![None; asked.len()]);
    }
    let mut found = app.store.submitted(owner, &keyed).await?.into_iter();
    let (mut there, mut faults) = (Vec::with_capacity(asked.len()), Faults::default());
    for (index, one) in asked.iter().enumerate() {
        let before = one.idempotency_key.as_ref().and_then(|_| found.next()).transpose();
        there.push(match before {
            Ok(id) => id.flatten(),
            Err(fault) => {
                faults.add(index, fault.into())?;
                None
            }
        });
    }
    faults.tell(asked.len())?;
    Ok(there)
}

/// Those that are not there already, with what they name.
async fn look_up(
    app: &App,
    namespace: &Namespace,
    asked: Vec<Asked>,
    there: &[Option<JobId>],
    came: Instant,
) -> Result<Vec<NewJob>, Refusal> {
    let mut commits = Commits::asked_for(app, came);
    let (of, mut new, mut faults) = (asked.len(), Vec::new(), Faults::default());
    for (index, (one, there)) in asked.into_iter().zip(there).enumerate() {
        if there.is_some() {
            continue;
        }
        match one.look_up(app, namespace, &mut commits).await {
            Ok(job) => new.push(job),
            Err(refusal) => faults.add(index, refusal)?,
        }
    }
    faults.tell(of)?;
    Ok(new)
}
