//! What is to be told to whom.

use secrecy::SecretString;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tls::Roots;
use url::Url;

/// How often each queue is told, as documented.
const EVERY: Duration = Duration::from_secs(5);
/// How often all queues together are.
const TOGETHER_EVERY: Duration = Duration::from_secs(30);

/// The clouds that are told how long the queues are.
#[derive(Clone)]
pub struct Scaling {
    /// What distinguishes this installation from others that tell the same cloud.
    pub environment: String,
    /// How the queues' jobs are shared between clouds.
    pub allocations: Allocations,
    /// Amazon CloudWatch.
    pub aws: Option<Aws>,
    /// Google Cloud Monitoring, formerly Stackdriver.
    pub google: Option<Google>,
    /// Whose certificates are believed.
    pub roots: Roots,
    /// How often each queue is told.
    pub every: Duration,
    /// How often all queues together are.
    pub together_every: Duration,
}

/// CloudWatch, and who we are there.
#[derive(Clone)]
pub struct Aws {
    /// The namespace of the metric.
    pub namespace: String,
    /// The region.
    pub region: String,
    /// Who we are.
    pub access_key_id: String,
    /// What proves it.
    pub secret_access_key: SecretString,
    /// What goes with credentials that end by themselves.
    pub session_token: Option<SecretString>,
    /// Where it is; what its region says unless said otherwise.
    pub endpoint: Option<Url>,
}

/// Cloud Monitoring, and who we are there.
#[derive(Clone)]
pub struct Google {
    /// The project.
    pub project: String,
    /// What proves who we are.
    pub credentials: GoogleCredentials,
    /// Where it is; Google's unless said otherwise.
    pub endpoint: Option<Url>,
}

/// What proves to Google who we are.
#[derive(Clone)]
pub enum GoogleCredentials {
    /// The key of a service account: the JSON that Google gives, in a file.
    File(PathBuf),
    /// The same itself.
    Content(SecretString),
    /// What the metadata server of the machine says, which is at this address unless it is another one.
    Machine(Option<Url>),
}

/// Nothing can be told as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum ScalingError {
    /// The key of the service account is not one.
    #[error("the credentials for Google Cloud Monitoring can't be used: {0}")]
    Credentials(String),
    /// There is no HTTP client.
    #[error("an HTTP client for the clouds can't be made")]
    Client(#[source] reqwest::Error),
    /// Other servers could not tell this one from themselves.
    #[error("the system gave no random bytes to tell this server from others by")]
    Name(#[source] std::io::Error),
}

/// Of each queue, which share of its jobs is told to which cloud.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Allocations(BTreeMap<String, BTreeMap<String, f64>>);

impl Allocations {
    /// Reads `{"batches": {"aws": 0.5, "gcp": 0.5}}`. What is not said of a queue is everything to everybody.
    pub fn parse(json: &str) -> Result<Self, String> {
        let example = r#"it is written as {"batches": {"aws": 0.5, "gcp": 0.5}}"#;
        let shares: BTreeMap<String, BTreeMap<String, f64>> =
            serde_json::from_str(json).map_err(|fault| format!("{fault}: {example}"))?;
        for (queue, of) in &shares {
            jobs::name::check_queue(queue).map_err(|fault| fault.to_string())?;
            for (cloud, share) in of {
                if !["aws", "gcp"].contains(&cloud.as_str()) {
                    return Err(format!("{cloud:?} of the queue {queue} is no cloud: use aws and gcp"));
                }
                if !(0.0..=1.0).contains(share) {
                    return Err(format!(
                        "{share} of the queue {queue} is no share: use a number from 0 to 1"
                    ));
                }
            }
        }
        Ok(Self(shares))
    }

    pub(super) fn aws(&self, queue: &str) -> f64 {
        self.of(queue, "aws")
    }

    pub(super) fn google(&self, queue: &str) -> f64 {
        self.of(queue, "gcp")
    }

    fn of(&self, queue: &str, cloud: &str) -> f64 {
        match self.0.get(queue) {
            None => 1.0,
            Some(shares) => shares.get(cloud).copied().unwrap_or_default(),
        }
    }
}

impl Scaling {
    /// At the documented pace, to nobody yet.
    pub fn new(environment: impl Into<String>, roots: Roots) -> Self {
        Self {
            environment: environment.into(),
            allocations: Allocations::default(),
            aws: None,
            google: None,
            roots,
            every: EVERY,
            together_every: TOGETHER_EVERY,
        }
    }
}

/// What is secret stays out of it.
impl fmt::Debug for Scaling {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let aws = self.aws.as_ref().map(|aws| (&aws.namespace, &aws.region));
        let google = self.google.as_ref().map(|google| &google.project);
        let mut shown = out.debug_struct("Scaling");
        shown.field("environment", &self.environment).field("aws", &aws).field("google", &google);
        shown.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_as_told_and_whole_where_nothing_is() {
        let shares = Allocations::parse(r#"{"batches": {"aws": 0.25}}"#).unwrap();
        let of = |queue| (shares.aws(queue), shares.google(queue));
        assert_eq!((of("batches"), of("codeintel")), ((0.25, 0.0), (1.0, 1.0)));
        for (wrong, why) in [
            ("[]", "written as"),
            (r#"{"other": {"aws": 1}}"#, "other"),
            (r#"{"batches": {"azure": 1}}"#, "no cloud"),
            (r#"{"batches": {"aws": 1.5}}"#, "no share"),
        ] {
            assert!(Allocations::parse(wrong).unwrap_err().contains(why), "{wrong}");
        }
    }
}
