//! The spans of one job, made of the stages that it reached.

use super::{Context, SpanId};
use crate::account::Account;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Spans of one job at most; later ones are left out.
const MOST_SPANS: usize = 500;
/// The span of the whole job.
const JOB: &str = "job";
/// The part of a step until its image is there.
const IMAGE: &str = "image";

/// A span that is over.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(super) context: Context,
    pub(super) parent: Option<SpanId>,
    pub(super) name: &'static str,
    pub(super) begin: SystemTime,
    pub(super) end: SystemTime,
    pub(super) attributes: Vec<(&'static str, Attribute)>,
    /// Why it failed.
    pub(super) failure: Option<String>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Attribute {
    Text(String),
    Number(i64),
}

/// What is noted of a job on its way. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct JobTrace(Arc<Mutex<Noted>>);

#[derive(Debug)]
struct Noted {
    root: Context,
    /// Two clocks at one moment: spans are measured by the first and told by the second.
    anchor: (Instant, SystemTime),
    begin: Instant,
    /// When the last stage was reached.
    last: Instant,
    spans: Vec<Span>,
}

/// What a stage that was reached ended.
fn span_until(stage: &str) -> Option<&'static str> {
    match stage {
        "sandbox open" => Some("open sandbox"),
        "workspace ready" => Some("prepare workspace"),
        "step ended" => Some("step"),
        "sandbox closed" => Some("close sandbox"),
        "log delivered" => Some("deliver log"),
        "marked" => Some("tell end"),
        _ => None,
    }
}

impl JobTrace {
    /// Of a job that was assigned to us so long ago.
    pub(crate) fn begin(ago: Duration) -> Self {
        let now = Instant::now();
        let begin = now.checked_sub(ago).unwrap_or(now);
        let anchor = (now, SystemTime::now());
        Self(Arc::new(Mutex::new(Noted {
            root: Context::random(),
            anchor,
            begin,
            last: begin,
            spans: Vec::new(),
        })))
    }

    /// The span that is the job's.
    pub(crate) fn root(&self) -> Context {
        self.lock().root
    }

    /// The job got to `stage` now.
    pub(crate) fn reached(&self, stage: &str) {
        let mut noted = self.lock();
        let (begin, now) = (noted.last, Instant::now());
        noted.last = now;
        if let Some(name) = span_until(stage) {
            noted.add(name, None, (begin, now));
        }
    }

    /// The step whose end was just reached was this one.
    pub(crate) fn step_was(&self, key: String, image: Duration, exit_code: i32) {
        let mut noted = self.lock();
        let Some(step) = noted.spans.last_mut() else { return };
        step.attributes.push(("executor.step.key", Attribute::Text(key)));
        step.attributes.push(("executor.step.exit_code", Attribute::Number(exit_code.into())));
        if exit_code != 0 {
            step.failure = Some(format!("exit code {exit_code}"));
        }
        let (parent, begin, end) = (step.context.span, step.begin, step.end);
        let until = (begin + image).min(end);
        let context = Context { span: SpanId::random(), ..noted.root };
        noted.push(Span {
            context,
            parent: Some(parent),
            name: IMAGE,
            begin,
            end: until,
            attributes: Vec::new(),
            failure: None,
        });
    }

    /// All spans of a job that is over.
    pub(crate) fn finish(&self, attributes: Vec<(&'static str, Attribute)>, account: &Account) -> Vec<Span> {
        let mut noted = self.lock();
        let mut spans = std::mem::take(&mut noted.spans);
        let reason = account.reason().to_owned();
        let failure = (reason != jobs::EndReason::Succeeded.name()).then(|| reason.clone());
        let mut job = noted.span(JOB, None, (noted.begin, Instant::now()));
        job.context = noted.root;
        job.parent = None;
        job.attributes = attributes;
        job.attributes.push(("executor.end.reason", Attribute::Text(reason)));
        job.failure = failure;
        spans.push(job);
        spans
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        // A span more or less is all that a panic can leave behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Noted {
    fn add(&mut self, name: &'static str, failure: Option<String>, times: (Instant, Instant)) {
        let span = self.span(name, failure, times);
        self.push(span);
    }

    fn push(&mut self, span: Span) {
        if self.spans.len() < MOST_SPANS {
            self.spans.push(span);
        }
    }

    fn span(&self, name: &'static str, failure: Option<String>, (begin, end): (Instant, Instant)) -> Span {
        Span {
            context: Context { span: SpanId::random(), ..self.root },
            parent: Some(self.root.span),
            name,
            begin: self.told(begin),
            end: self.told(end),
            attributes: Vec::new(),
            failure,
        }
    }

    /// A moment by the clock that everybody has.
    fn told(&self, at: Instant) -> SystemTime {
        let (instant, time) = self.anchor;
        match at.checked_duration_since(instant) {
            Some(later) => time + later,
            None => time - instant.duration_since(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_become_spans_below_the_jobs() {
        let trace = JobTrace::begin(Duration::from_millis(100));
        for stage in ["dequeue answered", "sandbox open", "workspace ready", "step begins", "step ended"] {
            trace.reached(stage);
        }
        trace.step_was("build".to_owned(), Duration::from_hours(1), 3);
        for stage in ["sandbox closed", "log delivered", "marked"] {
            trace.reached(stage);
        }
        let spans = trace.finish(Vec::new(), &Account::default());
        let names: Vec<&str> = spans.iter().map(|span| span.name).collect();
        assert_eq!(
            names,
            [
                "open sandbox",
                "prepare workspace",
                "step",
                "image",
                "close sandbox",
                "deliver log",
                "tell end",
                "job"
            ]
        );
        let (step, image, job) = (&spans[2], &spans[3], &spans[7]);
        assert_eq!(job.context, trace.root());
        assert_eq!((job.parent, image.parent), (None, Some(step.context.span)));
        assert_eq!(image.end, step.end, "an image is there before its step ends");
        assert_eq!(step.failure.as_deref(), Some("exit code 3"));
        for span in &spans {
            assert!(span.begin <= span.end && job.begin <= span.begin && span.end <= job.end, "{span:?}");
            assert_eq!(span.context.trace, job.context.trace);
        }
        let took = job.end.duration_since(job.begin).unwrap();
        assert!(took >= Duration::from_millis(100), "{took:?}");
    }

    #[test]
    fn spans_are_bounded() {
        let trace = JobTrace::begin(Duration::ZERO);
        for _ in 0..2 * MOST_SPANS {
            trace.reached("step ended");
        }
        assert_eq!(trace.finish(Vec::new(), &Account::default()).len(), MOST_SPANS + 1);
    }
}
