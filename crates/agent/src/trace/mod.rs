//! Where a job's time goes, as spans for a collector of OpenTelemetry.
//!
//! A job's spans are sent together when it has ended, in the JSON form of OTLP over HTTP. No job waits for
//! that: a collector that is away costs the spans and nothing else.

mod export;
mod follow;
mod otlp;
mod span;

pub(crate) use export::Tracer;
pub(crate) use follow::follow;
pub(crate) use span::JobTrace;

use crate::{config, random};
use secrecy::SecretString;
use std::fmt;
use std::time::Duration;
use url::Url;

/// Where spans go, and as whose.
#[derive(Clone)]
pub struct Tracing {
    /// The address that takes spans, with its path.
    pub endpoint: Url,
    /// Headers of each request; they may hold credentials.
    pub headers: Vec<(String, SecretString)>,
    /// How long one request may take.
    pub timeout: Duration,
    /// The name of this service among all that the collector knows.
    pub service: String,
    /// What else is said of it.
    pub attributes: Vec<(String, String)>,
}

impl fmt::Debug for Tracing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, timeout, service, attributes, headers: _ } = self;
        let mut shown = f.debug_struct("Tracing");
        shown.field("endpoint", &config::shown(endpoint)).field("timeout", timeout);
        shown.field("service", service).field("attributes", attributes).finish_non_exhaustive()
    }
}

/// The number of a trace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceId([u8; 16]);

/// The number of a span in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanId([u8; 8]);

/// Which span a call is made in, as its receiver is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
}

impl Context {
    fn random() -> Self {
        // The standard forbids all zeros, which random bytes are once in an age.
        Self { trace: TraceId(random::bytes()), span: SpanId::random() }
    }

    /// The value of the header `traceparent` (W3C Trace Context).
    pub(crate) fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.span)
    }
}

impl SpanId {
    fn random() -> Self {
        Self(random::bytes())
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_told_as_the_standard_writes_it() {
        let context = Context { trace: TraceId([0xab; 16]), span: SpanId([1, 2, 3, 4, 5, 6, 7, 8]) };
        assert_eq!(context.traceparent(), format!("00-{}-0102030405060708-01", "ab".repeat(16)));
    }
}
