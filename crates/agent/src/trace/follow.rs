//! Follows one job from its begin to its end.

use super::export::{Traced, Tracer};
use super::span::{Attribute, JobTrace};
use crate::config::AgentConfig;
use crate::job::{Assigned, redactor};
use crate::text::begin;
use crate::timeline::Timeline;

/// Bytes of a text of the payload.
const LONGEST_TEXT: usize = 500;

/// A job that is followed.
pub(crate) struct Followed {
    tracer: Tracer,
    trace: JobTrace,
    timeline: Timeline,
    attributes: Vec<(&'static str, Attribute)>,
    /// Until it is over, its calls tell where they belong.
    _calls: Traced,
}

/// Follows a job, if anybody collects traces.
pub(crate) fn follow(config: &AgentConfig, assigned: &Assigned) -> Option<Followed> {
    let tracer = config.monitor.tracer(config)?.clone();
    let Assigned { job, auth, at, timeline, .. } = assigned;
    let redactor = redactor(job, auth, config);
    let text = |text: &str| Attribute::Text(begin(&redactor.redact(text), LONGEST_TEXT).to_owned());
    let attributes = vec![
        ("executor.job.id", Attribute::Number(job.id.0)),
        ("executor.job.queue", Attribute::Text(auth.queue.clone())),
        ("executor.job.repository", text(&job.repository_name)),
        ("executor.job.commit", text(&job.commit)),
    ];
    let trace = JobTrace::begin(at.elapsed());
    timeline.follow(trace.clone());
    let calls = tracer.calls_of(job.id, trace.root());
    Some(Followed { tracer, trace, timeline: timeline.clone(), attributes, _calls: calls })
}

impl Followed {
    /// The job is over: its spans go out.
    pub(crate) fn end(self) {
        let account = self.timeline.ledger().account();
        self.tracer.send(self.trace.finish(self.attributes, &account));
    }
}
