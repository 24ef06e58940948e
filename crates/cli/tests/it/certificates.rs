//! A control plane behind TLS by a private authority, and steps that are to believe in it as well.

use crate::leftovers::nothing_is_left;
use crate::support::{Process, System, system, text};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use testkit::tls::{Authority, TlsFront};

/// A system whose control plane also speaks TLS.
struct Secret {
    system: System,
    front: TlsFront,
    bundle: PathBuf,
    /// Held for what runs in it: the front.
    _runtime: tokio::runtime::Runtime,
}

impl Secret {
    fn start(test: &str) -> Option<Self> {
        let system = system(test)?;
        let authority = Authority::new("ours");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let plain: SocketAddr = system.url().strip_prefix("http://").unwrap().parse().unwrap();
        let front = {
            let _within = runtime.enter();
            TlsFront::start(&authority, plain)
        };
        let bundle = system.dir.path().join("ca.pem");
        std::fs::write(&bundle, authority.pem()).unwrap();
        Some(Self { system, front, bundle, _runtime: runtime })
    }

    fn url(&self) -> String {
        format!("https://{}", self.front.address)
    }

    /// An agent that goes by TLS, and whom it believes.
    fn agent(&mut self) -> Command {
        let mut command = self.system.agent_command();
        command.env("EXECUTOR_FRONTEND_URL", self.url()).env("SSL_CERT_FILE", &self.bundle);
        command
    }

    /// A client that goes by TLS.
    fn client(&self, args: &[&str]) -> Command {
        let mut command = self.system.executor(args);
        command.env("EXECUTOR_SERVER_URL", self.url());
        command.env("EXECUTOR_API_TOKEN", self.system.setting("apiToken"));
        command
    }
}

#[test]
fn agent_and_client_believe_a_named_authority_and_jobs_where_they_are_to() {
    let Some(mut secret) = Secret::start("agent_and_client_believe_a_named_authority") else { return };
    let mut command = secret.agent();
    command.env("EXECUTOR_JOB_HOST_CERTIFICATES", "true");
    let agent = Process::start(command, "agent ");
    let script = "grep -c BEGIN $SSL_CERT_FILE; cat $GIT_SSL_CAINFO; echo x >> $SSL_CERT_FILE || echo kept";
    let args = ["job", "run", "--image", "busybox", "--step", script, "--step", "test -s $SSL_CERT_FILE"];
    let output = secret.client(&args).env("SSL_CERT_FILE", &secret.bundle).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = std::fs::read_to_string(&secret.bundle).unwrap().lines().nth(1).unwrap().to_owned();
    assert!(said.contains(&line) && said.contains("kept"), "{}", text(&output));

    let output = secret.client(&["job", "list"]).output().unwrap();
    assert_ne!(output.status.code(), Some(0));
    let said = text(&output);
    assert!(said.contains("UnknownIssuer") && said.contains("SSL_CERT_FILE"), "{said}");
    agent.stop();
    nothing_is_left(secret.system.dir.path());
}

#[test]
fn steps_get_no_certificates_unless_they_are_to() {
    let Some(mut secret) = Secret::start("steps_get_no_certificates_unless_they_are_to") else { return };
    let agent = Process::start(secret.agent(), "agent ");
    let output = secret.system.job("test ! -e /etc/executor && test -z \"$SSL_CERT_FILE\"");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    agent.stop();
}

#[test]
fn validate_tells_what_is_wrong_with_certificates() {
    let Some(mut secret) = Secret::start("validate_tells_what_is_wrong_with_certificates") else { return };
    let bundle = secret.bundle.to_string_lossy().into_owned();
    let mut validate = |file: &str| {
        let agent = secret.agent();
        let mut command = secret.system.executor(&["validate"]);
        command.envs(agent.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = command.env("SSL_CERT_FILE", file).output().unwrap();
        (output.status.code(), text(&output))
    };
    let (code, said) = validate("/nowhere/ca.pem");
    let expected =
        "executor: invalid SSL_CERT_FILE: the certificate file /nowhere/ca.pem can't be read: No such file";
    assert!(code == Some(1) && said.contains(expected), "{said}");
    let (code, said) = validate("");
    assert!(code == Some(1) && said.contains("failed to validate authorization token"), "{said}");
    assert!(said.contains("UnknownIssuer"), "{said}");
    let (code, said) = validate(&bundle);
    assert!(code == Some(0) && said.contains("All checks passed!"), "{said}");
}
