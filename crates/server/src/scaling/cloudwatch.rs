//! Amazon CloudWatch.

use super::sigv4::{Scope, Signed, authorization};
use super::{Aws, Refused, Size, answer, begin_of};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use jiff::Timestamp;
use reqwest::Client;
use secrecy::ExposeSecret;
use url::Url;
use url::form_urlencoded::Serializer;

/// The documented name of the metric.
const METRIC: &str = "src_executors_queue_size";
const SERVICE: &str = "monitoring";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// Where sizes go, and who sends them.
pub(super) struct CloudWatch(Aws);

impl CloudWatch {
    pub(super) const fn new(aws: Aws) -> Self {
        Self(aws)
    }

    /// Sends all sizes in one call.
    pub(super) async fn send(&self, client: &Client, sizes: &[Size], now: Timestamp) -> Result<(), Refused> {
        let url = self.url()?;
        let body = body(&self.0.namespace, sizes, now);
        let at = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let host = host(&url);
        let token = self.0.session_token.as_ref().map(ExposeSecret::expose_secret);
        let mut headers = vec![("content-type", FORM), ("host", host.as_str()), ("x-amz-date", at.as_str())];
        headers.extend(token.map(|token| ("x-amz-security-token", token)));
        let signed = Signed {
            method: "POST",
            path: url.path(),
            query: "",
            headers: &headers,
            body: body.as_bytes(),
            at: &at,
        };
        let scope = Scope {
            region: &self.0.region,
            service: SERVICE,
            access_key_id: &self.0.access_key_id,
            secret_access_key: &self.0.secret_access_key,
        };
        let mut request = client
            .post(url.clone())
            .header(CONTENT_TYPE, FORM)
            .header("x-amz-date", &at)
            .header(AUTHORIZATION, authorization(&signed, &scope));
        if let Some(token) = token {
            request = request.header("x-amz-security-token", token);
        }
        let (status, told) = answer(request.body(body)).await?;
        if status.is_success() {
            return Ok(());
        }
        Err(Refused(format!("CloudWatch answers {}: {}", status.as_u16(), self.without_secrets(&told))))
    }

    fn url(&self) -> Result<Url, Refused> {
        if let Some(endpoint) = &self.0.endpoint {
            return Ok(endpoint.clone());
        }
        let region = &self.0.region;
        let partition = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let url = format!("https://{SERVICE}.{region}.{partition}/");
        url.parse().map_err(|_| Refused(format!("{region:?} is no region")))
    }

    /// What it says may repeat what we said.
    fn without_secrets(&self, told: &str) -> String {
        let mut told = told.replace(&self.0.access_key_id, "…");
        if let Some(token) = &self.0.session_token {
            told = told.replace(token.expose_secret(), "…");
        }
        begin_of(&told)
    }
}

/// The host as it stands in the header: with its port, unless that goes without saying.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn body(namespace: &str, sizes: &[Size], now: Timestamp) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("Action", "PutMetricData").append_pair("Version", "2010-08-01");
    form.append_pair("Namespace", namespace);
    for (number, Size { queue, environment, jobs }) in (1..).zip(sizes) {
        let mut pair = |name: &str, value: &str| {
            form.append_pair(&format!("MetricData.member.{number}.{name}"), value);
        };
        pair("MetricName", METRIC);
        pair("Unit", "Count");
        pair("Value", &jobs.to_string());
        pair("Timestamp", &now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        for (index, (name, value)) in (1..).zip([("queueName", queue), ("environment", environment)]) {
            pair(&format!("Dimensions.member.{index}.Name"), name);
            pair(&format!("Dimensions.member.{index}.Value"), value);
        }
    }
    form.finish()
}
