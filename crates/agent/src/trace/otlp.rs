//! Spans in the JSON form of OTLP: numbers of traces in hexadecimal, numbers of 64 bits as text.

use super::Tracing;
use super::span::{Attribute, Span};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// A span of what happens inside of a service.
const INTERNAL: u32 = 1;
const STATUS_OK: u32 = 1;
const STATUS_ERROR: u32 = 2;
/// Who made the spans, among all that a service may have.
const SCOPE: &str = "executor";

/// A request with `spans`.
pub(super) fn request(tracing: &Tracing, name: &str, version: &str, spans: &[Span]) -> Value {
    let own = [("service.name", &tracing.service), ("service.instance.id", &name.to_owned())];
    let own = own.map(|(key, value)| text(key, value));
    let more = tracing.attributes.iter().map(|(key, value)| text(key, value));
    let attributes: Vec<Value> = own.into_iter().chain(more).collect();
    let spans: Vec<Value> = spans.iter().map(span).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": attributes},
        "scopeSpans": [{"scope": {"name": SCOPE, "version": version}, "spans": spans}],
    }]})
}

fn span(span: &Span) -> Value {
    let attributes: Vec<Value> = span
        .attributes
        .iter()
        .map(|(key, value)| match value {
            Attribute::Text(value) => text(key, value),
            Attribute::Number(value) => json!({"key": key, "value": {"intValue": value.to_string()}}),
        })
        .collect();
    let status = match &span.failure {
        None => json!({"code": STATUS_OK}),
        Some(why) => json!({"code": STATUS_ERROR, "message": why}),
    };
    let mut told = json!({
        "traceId": span.context.trace.to_string(),
        "spanId": span.context.span.to_string(),
        "name": span.name,
        "kind": INTERNAL,
        "startTimeUnixNano": nanos(span.begin),
        "endTimeUnixNano": nanos(span.end),
        "attributes": attributes,
        "status": status,
    });
    if let Some(parent) = span.parent {
        told["parentSpanId"] = parent.to_string().into();
    }
    told
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn nanos(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::{Context, SpanId, TraceId};
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_request_is_as_the_standard_writes_it() {
        let context = Context { trace: TraceId([0xab; 16]), span: SpanId([0xcd; 8]) };
        let begin = UNIX_EPOCH + Duration::from_mins(25_745_211);
        let span = Span {
            context,
            parent: Some(SpanId([0xef; 8])),
            name: "step",
            begin,
            end: begin + Duration::from_nanos(7),
            attributes: vec![("k", Attribute::Text("v".to_owned())), ("n", Attribute::Number(-3))],
            failure: Some("exit code 3".to_owned()),
        };
        let tracing = Tracing {
            endpoint: "http://127.0.0.1:4318/v1/traces".parse().unwrap(),
            headers: Vec::new(),
            timeout: Duration::from_secs(1),
            service: "executor".to_owned(),
            attributes: vec![("deployment.environment".to_owned(), "test".to_owned())],
        };
        let expect = json!({"resourceSpans": [{
            "resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": "executor"}},
                {"key": "service.instance.id", "value": {"stringValue": "agent-1"}},
                {"key": "deployment.environment", "value": {"stringValue": "test"}},
            ]},
            "scopeSpans": [{
                "scope": {"name": "executor", "version": "1.2.3"},
                "spans": [{
                    "traceId": "abababababababababababababababab",
                    "spanId": "cdcdcdcdcdcdcdcd",
                    "parentSpanId": "efefefefefefefef",
                    "name": "step",
                    "kind": 1,
                    "startTimeUnixNano": "1544712660000000000",
                    "endTimeUnixNano": "1544712660000000007",
                    "attributes": [
                        {"key": "k", "value": {"stringValue": "v"}},
                        {"key": "n", "value": {"intValue": "-3"}},
                    ],
                    "status": {"code": 2, "message": "exit code 3"},
                }],
            }],
        }]});
        assert_eq!(request(&tracing, "agent-1", "1.2.3", &[span]), expect);
    }
}
