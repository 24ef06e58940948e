//! Registry credentials that come with a job.

use super::bench::Bench;
use serde_json::{Value, json};
use testkit::stock_server::{Answer, Fault, State, StockJob, StockServer};

/// Base64 of what comes before the colon, a colon, and what comes after it.
const JOB: &str = "am9iOmpvYi1wYXNz";
const AGENT: &str = "YWdlbnQ6YWdlbnQtcGFzcw==";

/// A registry that has nothing, and wants a login before it says so.
struct Registry(StockServer);

impl Registry {
    fn start() -> Self {
        let server = StockServer::start("no secret");
        let login = Answer::status(401).with("WWW-Authenticate", "Basic realm=\"registry\"");
        for path in ["/v2/", "/v2/team/private/manifests/1"] {
            server.fault(path, [Fault::Instead(login.clone())]);
        }
        Self(server)
    }

    fn address(&self) -> String {
        self.0.url().replace("http://", "")
    }

    /// The logins that were tried, each once.
    fn logins(&self) -> Vec<String> {
        let requests = self.0.requests();
        let mut tried: Vec<String> = requests
            .iter()
            .filter_map(|request| request.header("authorization").map(str::to_owned))
            .collect();
        tried.dedup();
        tried
    }
}

/// Which logins a registry sees from an executor with its own credentials and a job with these.
fn logins(test: &str, change: impl FnOnce(StockJob, &str) -> StockJob) -> Option<Vec<String>> {
    let mut bench = Bench::new(test)?;
    let registry = Registry::start();
    let address = registry.address();
    let image = json!({"image": format!("{address}/team/private:1")});
    let job = StockJob::new("batches", 1).step_with("a", &["true"], &image);
    bench.server.give(change(job, &address));
    let own = json!({"auths": {&address: {"auth": AGENT}}}).to_string();
    bench.start_with(&[("EXECUTOR_QUEUE_NAME", "batches"), ("EXECUTOR_DOCKER_AUTH_CONFIG", &own)]);
    let record = bench.ended("batches", 1);
    assert_eq!(record.state, State::Errored, "{record:#?}");
    let told = format!("{record:?}{}", bench.log());
    for secret in [JOB, AGENT, "job-pass", "agent-pass"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    bench.end();
    Some(registry.logins())
}

fn config(address: &str) -> Value {
    // Whatever else such a file may hold is passed over.
    json!({"auths": {address: {"auth": JOB, "email": "a@b"}}, "credsStore": "desktop", "credHelpers": {address: "x"}})
}

#[test]
fn a_job_s_own_credentials_come_first() {
    let test = "a_job_s_own_credentials_come_first";
    let Some(tried) = logins(test, |job, address| job.set("dockerAuthConfig", config(address))) else {
        return;
    };
    assert_eq!(tried, [format!("Basic {JOB}")]);
}

#[test]
fn a_job_without_credentials_gets_the_executor_s() {
    let test = "a_job_without_credentials_gets_the_executor_s";
    let Some(tried) = logins(test, |job, _| job.set("dockerAuthConfig", json!({}))) else { return };
    assert_eq!(tried, [format!("Basic {AGENT}")]);
}

#[test]
fn credentials_in_a_payload_of_version_1_are_not_read() {
    let test = "credentials_in_a_payload_of_version_1_are_not_read";
    let Some(tried) = logins(test, |job, address| job.version_1().set("dockerAuthConfig", config(address)))
    else {
        return;
    };
    assert_eq!(tried, [format!("Basic {AGENT}")]);
}
