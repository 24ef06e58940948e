//! Where traces go, as OpenTelemetry's variables say.

use crate::env::EnvReader;
use agent::Tracing;
use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use std::time::Duration;
use url::Url;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// What traces are sent to below the address of a collector.
const PATH: &str = "v1/traces";
/// The only form that we speak.
const PROTOCOL: &str = "http/json";
const SERVICE: &str = "executor";

/// Reads it; `None` when no traces are wanted. What is wrong is a warning, as the standard wants it: it goes
/// into `warnings`.
pub(super) fn read(env: &EnvReader<'_>, warnings: &mut Vec<String>) -> Option<Tracing> {
    let is_off = env.text("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let (name, text) =
        [TRACES_ENDPOINT, ENDPOINT].into_iter().find_map(|name| Some((name, env.text(name)?)))?;
    if is_off {
        return None;
    }
    let Some(mut endpoint) =
        text.parse::<Url>().ok().filter(|url| url.has_host() && url.scheme().starts_with("http"))
    else {
        warnings.push(format!("{name} is no URL, so no traces are sent: use http://HOST:4318"));
        return None;
    };
    if name == ENDPOINT {
        endpoint.set_path(&format!("{}/{PATH}", endpoint.path().trim_end_matches('/')));
    }
    if let Some(other) = env.text("OTEL_EXPORTER_OTLP_PROTOCOL").filter(|protocol| protocol != PROTOCOL) {
        warnings.push(format!(
            "OTEL_EXPORTER_OTLP_PROTOCOL is {other:?}, but traces are sent as {PROTOCOL}: use that, and the collector's \
             port for HTTP, 4318 as a rule"
        ));
    }
    let timeout =
        env.text("OTEL_EXPORTER_OTLP_TIMEOUT").and_then(|millis| millis.parse().ok()).unwrap_or(10_000);
    let headers = env.text("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default();
    let attributes = env.text("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    Some(Tracing {
        endpoint,
        headers: pairs(&headers).map(|(name, value)| (name, SecretString::from(value))).collect(),
        timeout: Duration::from_millis(timeout),
        service: env.text("OTEL_SERVICE_NAME").unwrap_or_else(|| SERVICE.to_owned()),
        attributes: pairs(&attributes).filter(|(name, _)| name != "service.name").collect(),
    })
}

/// `name=value` pairs, separated by commas, with values percent-encoded.
fn pairs(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.split(',').filter_map(|pair| pair.split_once('=')).map(|(name, value)| {
        let value = percent_decode_str(value.trim()).decode_utf8_lossy().into_owned();
        (name.trim().to_owned(), value)
    })
}

#[cfg(test)]
mod tests {
    use crate::agent_config::tests::read;
    use secrecy::ExposeSecret;

    fn warned(pairs: &[(&str, &str)]) -> Vec<String> {
        let settings = read(pairs).unwrap().1;
        settings.conflicts.warnings
    }

    #[test]
    fn nothing_is_sent_unless_somebody_says_where() {
        assert!(read(&[]).unwrap().1.watching.tracing.is_none());
        let off = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), ("OTEL_SDK_DISABLED", "true")];
        assert!(read(&off).unwrap().1.watching.tracing.is_none());
        assert_eq!(warned(&off), [""; 0]);
    }

    #[test]
    fn the_standard_s_variables_are_read() {
        let given = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/x/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc, x-a = b"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=no,deployment.environment=test"),
            ("OTEL_SERVICE_NAME", "executors"),
        ];
        let tracing = read(&given).unwrap().1.watching.tracing.unwrap();
        assert_eq!(tracing.endpoint.as_str(), "http://collector:4318/x/v1/traces");
        let headers: Vec<(&str, &str)> =
            tracing.headers.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
        assert_eq!(headers, [("authorization", "Basic abc"), ("x-a", "b")]);
        assert_eq!((tracing.timeout.as_millis(), tracing.service.as_str()), (250, "executors"));
        assert_eq!(tracing.attributes, [("deployment.environment".to_owned(), "test".to_owned())]);
        assert!(!format!("{tracing:?}").contains("abc"));
    }

    #[test]
    fn an_address_for_traces_is_taken_as_it_is() {
        let given = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://other:4318/traces"),
        ];
        let tracing = read(&given).unwrap().1.watching.tracing.unwrap();
        assert_eq!(tracing.endpoint.as_str(), "http://other:4318/traces");
    }

    #[test]
    fn what_cannot_be_done_is_a_warning() {
        let bad = warned(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")]);
        assert!(bad.len() == 1 && bad[0].contains("is no URL"), "{bad:?}");
        let grpc =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
        let bad = warned(&grpc);
        assert!(bad.len() == 1 && bad[0].contains("http/json"), "{bad:?}");
    }
}
