//! Who may do what: tokens of people, and agents with an identity of their own.

use crate::support::{Process, System, system, text};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Runs the client with another token than that of the settings.
fn with_token(system: &System, token: &str, args: &[&str]) -> Output {
    let mut command = system.executor(args);
    command.env("EXECUTOR_SERVER_URL", system.url()).env("EXECUTOR_API_TOKEN", token).output().unwrap()
}

#[test]
fn a_token_is_made_used_and_revoked() {
    let Some(system) = system("a_token_is_made_used_and_revoked") else { return };
    let create =
        ["token", "create", "ci", "--role", "submitter", "--namespace", "org:acme", "--expires", "1h"];
    let made = system.run(&create);
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success() && said.contains("submitter of org:acme"), "{}", text(&made));
    // Nothing else is on standard output, so it can go into a file.
    let token = String::from_utf8_lossy(&made.stdout).trim_end().to_owned();
    let token = token.as_str();
    assert!(token.starts_with("executor_api_") && token.lines().count() == 1, "{token}");
    assert!(system.refused(&create).contains("exists already in the namespace org:acme"));
    let whoami = with_token(&system, token, &["token", "whoami"]);
    assert_eq!(String::from_utf8_lossy(&whoami.stdout), "ci: submitter of org:acme\n");
    let submitted =
        with_token(&system, token, &["job", "run", "--detach", "--image", "busybox", "--", "true"]);
    let id = String::from_utf8_lossy(&submitted.stdout).trim().to_owned();
    assert_eq!(json(&system.ok(&["job", "show", &id, "--json"]))["namespace"], "org:acme");
    let root_s = system.submit("true");
    let foreign = with_token(&system, token, &["job", "show", &root_s]);
    assert!(!foreign.status.success() && text(&foreign).contains("there is no job"), "{}", text(&foreign));
    let forbidden = with_token(&system, token, &["queue", "pause", "batches"]);
    assert!(text(&forbidden).contains("takes the role operator"), "{}", text(&forbidden));
    let listed = system.ok(&["token", "list"]);
    assert!(listed.contains("org:acme") && !listed.contains(token), "{listed}");
    let number = json(&system.ok(&["token", "list", "--json"]))[0]["id"].to_string();
    system.ok(&["token", "revoke", &number]);
    let refused = with_token(&system, token, &["job", "list"]);
    assert!(
        !refused.status.success() && text(&refused).contains("unknown, expired or revoked"),
        "{}",
        text(&refused)
    );
    let audit = system.ok(&["audit"]);
    assert!(
        audit.contains("token.create") && audit.contains("token.revoke") && !audit.contains(token),
        "{audit}"
    );
}

#[test]
fn an_agent_registers_once_and_is_refused_when_it_was_revoked() {
    let Some(mut system) = system("an_agent_registers_once_and_is_refused_when_it_was_revoked") else {
        return;
    };
    let made = json(&system.ok(&["agent", "invite", "create", "rack-7", "--json"]));
    let token = made["token"].as_str().unwrap().to_owned();
    let mut command = || {
        let mut command = system.agent_command();
        command.env_remove("EXECUTOR_FRONTEND_PASSWORD").env("EXECUTOR_REGISTRATION_TOKEN", &token);
        // Of the same host each time.
        command.env("HOSTNAME", "registered");
        command
    };
    let (first, second, third) = (command(), command(), command());
    let agent = Process::start(first, "agent ");
    let name = agent.executor_name();
    let ran = system.job("env; echo done");
    assert!(ran.status.success() && text(&ran).contains("done"), "{}", text(&ran));
    let file = PathBuf::from(system.agent_dir()).join("agent/identity");
    let identity = json(&std::fs::read_to_string(&file).unwrap())["identity"].as_str().unwrap().to_owned();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!text(&ran).contains(&identity) && !text(&ran).contains(&token), "{}", text(&ran));
    agent.stop();
    // The token is used up; what it was given for is still there.
    let agent = Process::start(second, "agent ");
    assert_eq!(agent.executor_name(), name);
    assert!(system.job("true").status.success());
    let identities = json(&system.ok(&["agent", "identities", "--json"]));
    assert_eq!(
        (&identities[0]["name"], &identities[0]["registration"]),
        (&name.as_str().into(), &"rack-7".into())
    );
    let revoked = system.ok(&["agent", "revoke", &name]);
    assert!(!revoked.contains("still good"), "its token was for one agent: {revoked}");
    agent.stop();
    let mut third = third;
    let refused = third.output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    let told: Vec<&str> = said.lines().filter(|line| line.contains("refuses this agent")).collect();
    let [told] = told[..] else { panic!("{said}") };
    assert!(told.contains("was revoked at") && told.contains("EXECUTOR_REGISTRATION_TOKEN"), "{told}");
    let audit = system.ok(&["audit", "--json"]);
    assert!(audit.contains("executor.register") && audit.contains("executor.revoke"), "{audit}");
}

/// Who has the token that a revoked agent came with can come back with it: whoever revokes must hear of that.
#[test]
fn who_revokes_an_agent_is_told_of_the_token_that_could_bring_it_back() {
    let Some(mut system) = system("who_revokes_an_agent_is_told_of_the_token_that_could_bring_it_back")
    else {
        return;
    };
    let made = json(&system.ok(&["agent", "invite", "create", "rack-8", "--uses", "3", "--json"]));
    let mut command = system.agent_command();
    command.env_remove("EXECUTOR_FRONTEND_PASSWORD");
    command.env("EXECUTOR_REGISTRATION_TOKEN", made["token"].as_str().unwrap());
    let agent = Process::start(command, "agent ");
    let name = agent.executor_name();
    let told = system.ok(&["agent", "revoke", &name]);
    let id = made["id"].to_string();
    let remedy = format!("`executor agent invite revoke {id}`");
    assert!(told.contains("rack-8") && told.contains("still good") && told.contains(&remedy), "{told}");
    system.ok(&["agent", "invite", "revoke", &id]);
}
