//! Telling clouds how long the queues are, as documented: what Terraform's modules for executors scale by.
//!
//! Invariants: what a cloud answers, or that it does not, stops nothing and is told once until it answers again; no credential
//! reaches a log, a `Debug` or an error. Of several servers on one database one tells each cloud.

mod cloudwatch;
mod duty;
mod google;
mod settings;
mod sigv4;
mod token;

pub use settings::{Allocations, Aws, Google, GoogleCredentials, Scaling, ScalingError};

use crate::app::App;
use crate::auth::secret::random_hex;
use crate::metrics::Seen;
use crate::rounds::Rounds;
use cloudwatch::CloudWatch;
use duty::Duty;
use google::Monitoring;
use reqwest::Client;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long one call to a cloud may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const LONGEST_ANSWER: usize = 64 << 10;

/// What is told of a queue, or of several together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Size {
    queue: String,
    environment: String,
    jobs: u64,
}

/// A cloud said no, or nothing. For people, without credentials.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

/// Where sizes go.
enum Target {
    CloudWatch(CloudWatch),
    Google(Monitoring),
}

impl Target {
    const fn name(&self) -> &'static str {
        match self {
            Self::CloudWatch(_) => "cloudwatch",
            Self::Google(_) => "stackdriver",
        }
    }

    fn share(&self, scaling: &Scaling, queue: &str) -> f64 {
        match self {
            Self::CloudWatch(_) => scaling.allocations.aws(queue),
            Self::Google(_) => scaling.allocations.google(queue),
        }
    }

    async fn send(&mut self, client: &Client, sizes: &[Size], now: jiff::Timestamp) -> Result<(), Refused> {
        match self {
            Self::CloudWatch(cloudwatch) => cloudwatch.send(client, sizes, now).await,
            Self::Google(monitoring) => monitoring.send(client, sizes, now).await,
        }
    }
}

/// Begins to tell the clouds that are configured; each until the server stops, and none waits for another.
pub(crate) fn begin(app: &App, scaling: Scaling) -> Result<(), ScalingError> {
    let client = Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .tls_backend_preconfigured(scaling.roots.client_config())
        .build()
        .map_err(ScalingError::Client)?;
    let aws = scaling.aws.clone().map(|aws| Target::CloudWatch(CloudWatch::new(aws)));
    let google = scaling.google.clone().map(Monitoring::new).transpose()?.map(Target::Google);
    let scaling = Arc::new(scaling);
    let holder = random_hex().map_err(ScalingError::Name)?;
    for target in [aws, google].into_iter().flatten() {
        tracing::info!(target = target.name(), environment = scaling.environment, "queue sizes are told");
        app.metrics.pushes_to(target.name());
        let duty = Duty::new(app, target.name(), &scaling, &holder);
        app.tasks.spawn(tell(app.clone(), Arc::clone(&scaling), target, duty, client.clone()));
    }
    Ok(())
}

/// Tells of each queue every few seconds, and now and then of all together, while no other server does.
async fn tell(app: App, scaling: Arc<Scaling>, mut target: Target, mut duty: Duty, client: Client) {
    let mut rounds = Rounds::every(&app, scaling.every);
    let (mut together_at, mut fails) = (None::<Instant>, false);
    while rounds.next().await.is_some() {
        if !duty.is_ours().await {
            continue;
        }
        let seen = app.depths.look(&app).await;
        let with_sum = together_at.is_none_or(|at| at.elapsed() >= scaling.together_every);
        let sizes = sizes(&seen, with_sum, &scaling, |queue| target.share(&scaling, queue));
        if with_sum {
            together_at = Some(Instant::now());
        }
        let sent = tokio::select! {
            () = app.stop.cancelled() => break,
            sent = target.send(&client, &sizes, app.clock.now()) => sent,
        };
        app.metrics.pushed(target.name(), sent.is_ok());
        note(target.name(), &sent, &mut fails);
        if sent.is_err() {
            // What this server can't reach another one may.
            duty.give_up().await;
        }
    }
    duty.give_up().await;
}

fn note(target: &str, sent: &Result<(), Refused>, fails: &mut bool) {
    match (sent, std::mem::replace(fails, sent.is_err())) {
        (Ok(()), true) => tracing::info!(target, "queue sizes are taken again"),
        (Ok(()), false) => {}
        (Err(Refused(why)), true) => tracing::debug!(target, why, "queue sizes are not taken"),
        (Err(Refused(why)), false) => {
            tracing::error!(
                target,
                why,
                "queue sizes are not taken, so nothing is scaled by them: told once"
            );
        }
    }
}

/// Each queue's share, and that of all together, which has the share of the first. A part of a job is a job: else the last
/// one would wait for ever.
fn sizes(seen: &Seen, with_sum: bool, scaling: &Scaling, share: impl Fn(&str) -> f64) -> Vec<Size> {
    let size = |queue: &str, jobs: u64, share: f64| Size {
        queue: queue.to_owned(),
        environment: scaling.environment.clone(),
        jobs: (jobs as f64 * share).ceil() as u64,
    };
    let single = seen.queues.iter().map(|depth| (depth.row.name.as_str(), depth.size()));
    let mut sizes: Vec<Size> = single.map(|(queue, jobs)| size(queue, jobs, share(queue))).collect();
    if with_sum && let Some((name, jobs)) = seen.together() {
        let first = name.split('_').next().unwrap_or_default().to_owned();
        sizes.push(size(&name, jobs, share(&first)));
    }
    sizes
}

/// The status of an answer, and the beginning of what it says.
async fn answer(request: reqwest::RequestBuilder) -> Result<(http::StatusCode, String), Refused> {
    let mut answer = request.send().await.map_err(refused)?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(refused)? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_ANSWER {
            break;
        }
    }
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// What went wrong, without the address: it may hold what only two should know.
fn refused(fault: reqwest::Error) -> Refused {
    let fault = fault.without_url();
    let mut told = fault.to_string();
    let mut cause = std::error::Error::source(&fault);
    while let Some(next) = cause {
        told = format!("{told}: {next}");
        cause = next.source();
    }
    Refused(told)
}

/// The beginning of what somebody said, in one line.
fn begin_of(text: &str) -> String {
    const LONGEST: usize = 300;
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}
