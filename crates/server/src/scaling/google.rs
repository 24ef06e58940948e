//! Google Cloud Monitoring, formerly Stackdriver.

use super::token::{Identity, Token};
use super::{Google, Refused, ScalingError, Size, answer, begin_of};
use http::StatusCode;
use jiff::Timestamp;
use reqwest::Client;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use url::Url;

/// The documented name of the metric.
const METRIC: &str = "custom.googleapis.com/executors/queue/size";
const HOST: &str = "https://monitoring.googleapis.com/";

/// Where sizes go, and who sends them.
pub(super) struct Monitoring {
    project: String,
    endpoint: Option<Url>,
    identity: Identity,
    token: Option<Token>,
}

impl Monitoring {
    pub(super) fn new(Google { project, credentials, endpoint }: Google) -> Result<Self, ScalingError> {
        let identity = Identity::read(&credentials)?;
        Ok(Self { project, endpoint, identity, token: None })
    }

    /// Sends all sizes in one call.
    pub(super) async fn send(
        &mut self,
        client: &Client,
        sizes: &[Size],
        now: Timestamp,
    ) -> Result<(), Refused> {
        let url = self.url()?;
        let token = match self.token.take().filter(Token::is_good) {
            Some(token) => token,
            None => self.identity.token(client, now.as_second()).await?,
        };
        let body = body(&self.project, sizes, now);
        let request = client.post(url).bearer_auth(token.token.expose_secret()).json(&body);
        let (status, told) = answer(request).await?;
        // One that is refused is not shown again.
        if status != StatusCode::UNAUTHORIZED {
            self.token = Some(token);
        }
        if status.is_success() {
            return Ok(());
        }
        Err(Refused(format!("Cloud Monitoring answers {}: {}", status.as_u16(), begin_of(&told))))
    }

    fn url(&self) -> Result<Url, Refused> {
        let base = self.endpoint.clone().map_or_else(|| HOST.parse(), Ok);
        let url = base.and_then(|base: Url| base.join(&format!("v3/projects/{}/timeSeries", self.project)));
        url.map_err(|_| Refused(format!("{:?} is no project", self.project)))
    }
}

fn body(project: &str, sizes: &[Size], now: Timestamp) -> Value {
    let at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let series = sizes.iter().map(|Size { queue, environment, jobs }| {
        json!({
            "metric": {"type": METRIC, "labels": {"queueName": queue, "environment": environment}},
            "metricKind": "GAUGE",
            "valueType": "INT64",
            "resource": {"type": "global", "labels": {"project_id": project}},
            // The protocol writes numbers of 64 bits as text.
            "points": [{"interval": {"startTime": at, "endTime": at}, "value": {"int64Value": jobs.to_string()}}],
        })
    });
    json!({ "timeSeries": series.collect::<Vec<_>>() })
}
