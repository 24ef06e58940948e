//! Registries, and how jobs' images get here.

use super::finding::{Finding, fatal, info, ok, warning};
use super::frontend::{Fault, explain};
use super::known::Known;
use reqwest::{Client, Url, redirect};
use std::time::Duration;
use tls::Roots;
use tokio::task::JoinSet;
use wire::DockerAuthConfig;

const LIMIT: Duration = Duration::from_secs(3);
const DOCKER_HUB: &str = "https://registry-1.docker.io";

pub(super) async fn answers(known: &Known) -> Vec<Finding> {
    let mirrors: Vec<String> = known.agent.mirrors.iter().map(ToString::to_string).collect();
    let asked = if mirrors.is_empty() {
        vec![("Docker Hub".to_owned(), DOCKER_HUB.to_owned())]
    } else {
        mirrors.into_iter().map(|address| (format!("the mirror {address}"), address)).collect()
    };
    let mut asking = JoinSet::new();
    for (name, address) in asked {
        let roots = known.agent.roots.clone();
        asking.spawn(async move {
            let met = ask(&address, &roots).await;
            judge(&name, &met)
        });
    }
    let mut findings = asking.join_all().await;
    findings.sort_by(|a, b| a.seen.cmp(&b.seen));
    findings
}

/// How a registry was met.
#[derive(Debug)]
enum Met {
    Answered { status: u16, is_registry: bool },
    Failed(Fault),
}

async fn ask(address: &str, roots: &Roots) -> Met {
    let Ok(url) = format!("{address}/v2/").parse::<Url>() else {
        return Met::Failed(Fault::Other(format!("{address} is no address")));
    };
    let builder = Client::builder()
        .timeout(LIMIT)
        .redirect(redirect::Policy::limited(3))
        .tls_backend_preconfigured(roots.client_config());
    // As for pulls: a proxy would not reach this machine's own registry.
    let builder = if is_loopback(&url) { builder.no_proxy() } else { builder };
    let answered = async { builder.build()?.get(url).send().await };
    match answered.await {
        Ok(answer) => Met::Answered {
            status: answer.status().as_u16(),
            is_registry: answer.headers().contains_key("docker-distribution-api-version"),
        },
        Err(error) => Met::Failed(Fault::of(&error)),
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(addresses::is_loopback_host)
}

fn judge(name: &str, met: &Met) -> Finding {
    const ID: &str = "registry.answer";
    const OTHERWISE: &str = "let it be reached, set EXECUTOR_DOCKER_REGISTRY_MIRROR_URL to a mirror that is, or bring \
                             images along by `executor image import`";
    match met {
        Met::Answered { status: 200, .. } => ok(ID, format!("{name} answers as a registry does")),
        Met::Answered { status: 401, .. } => {
            ok(ID, format!("{name} answers as a registry does, and wants a login"))
        }
        Met::Answered { status: 429, .. } => warning(
            ID,
            format!("{name} limits the rate of calls from here (429)"),
            "use a login, or a mirror",
        ),
        Met::Answered { status, is_registry: true } => {
            warning(ID, format!("{name} is out of order ({status})"), OTHERWISE)
        }
        Met::Answered { status, is_registry: false } => warning(
            ID,
            format!("{name} does not answer as a registry does ({status})"),
            "correct host and port: a registry answers at /v2/ with 200 or 401",
        ),
        Met::Failed(Fault::Tls(fault)) => {
            let (seen, remedy) = explain(fault);
            warning(ID, format!("{name}: {seen}"), remedy)
        }
        Met::Failed(Fault::Silent) => {
            warning(ID, format!("no answer from {name} within {} s", LIMIT.as_secs()), OTHERWISE)
        }
        Met::Failed(Fault::Other(why)) => warning(ID, format!("{name} can't be reached: {why}"), OTHERWISE),
    }
}

/// What the agent's own user has. Blocking.
pub(super) fn credentials(known: &Known) -> Vec<Finding> {
    let mut findings = Vec::new();
    match known.agent.docker_config.as_ref().map(|config| (config, config.helpers())) {
        None => {
            findings.push(info("registry.config", "there is no Docker configuration: this user has no home"));
        }
        Some((config, Err(fault))) => {
            let told = fault.to_string();
            let (seen, remedy) = told.rsplit_once("; ").unwrap_or((&told, "correct the file"));
            let remedy = format!("{remedy}: {}", config.path.display());
            findings.push(fatal("registry.config", seen, remedy));
        }
        Some((config, Ok(helpers))) => {
            let path = config.path.display();
            let is_there = if config.path.exists() { "can be used" } else { "is not there, and need not be" };
            findings.push(ok("registry.config", format!("the Docker configuration {path} {is_there}")));
            findings.extend(helpers.iter().map(|(program, at)| match at {
                Some(at) => ok("registry.helper", format!("{program} is {}", at.display())),
                None => warning(
                    "registry.helper",
                    format!("{program}, which {path} names, is not on PATH"),
                    "install it, or take it out of the file: images that need its logins can't be pulled",
                ),
            }));
        }
    }
    findings.extend(line_ends(&known.agent.docker_auth));
    findings.extend(helpers_elsewhere(&known.auth_helpers));
    findings
}

fn line_ends(auths: &DockerAuthConfig) -> Vec<Finding> {
    let ends = |text: &str| text.ends_with(['\n', '\r']);
    let bad =
        auths.auths.iter().filter(|(_, auth)| auth.decode().is_some_and(|(_, password)| ends(&password)));
    bad.map(|(registry, _)| {
        let seen = format!(
            "the password for {registry} in EXECUTOR_DOCKER_AUTH_CONFIG ends with a line break; it is left out here, \
             and other programs may take it for a part"
        );
        info("registry.login", seen)
    })
    .collect()
}

fn helpers_elsewhere(keys: &[&str]) -> Option<Finding> {
    let seen = format!("EXECUTOR_DOCKER_AUTH_CONFIG has {}, which is of no effect there", keys.join(" and "));
    let remedy = "put it into config.json of the Docker configuration of executor's user (DOCKER_CONFIG, else ~/.docker), \
                  or put static logins under \"auths\"";
    (!keys.is_empty()).then(|| warning("registry.login", seen, remedy))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    #[test]
    fn registries_are_told_from_others() {
        let answered = |status, is_registry| Met::Answered { status, is_registry };
        for (met, severity, told) in [
            (answered(200, false), Severity::Ok, "as a registry does"),
            (answered(401, true), Severity::Ok, "wants a login"),
            (answered(429, true), Severity::Warning, "limits the rate"),
            (answered(503, true), Severity::Warning, "out of order"),
            (answered(404, false), Severity::Warning, "not answer as a registry"),
            (Met::Failed(Fault::Silent), Severity::Warning, "within 3 s"),
            (Met::Failed(Fault::Other("refused".to_owned())), Severity::Warning, "refused"),
        ] {
            let finding = judge("the mirror", &met);
            assert_eq!(finding.severity, severity, "{finding:?}");
            assert!(finding.seen.contains(told), "{finding:?}");
        }
    }

    #[test]
    fn helpers_where_they_do_not_count_are_told() {
        assert_eq!(helpers_elsewhere(&[]), None);
        let finding = helpers_elsewhere(&["credsStore", "credHelpers"]).unwrap();
        assert!(finding.seen.contains("has credsStore and credHelpers, "), "{finding:?}");
    }

    #[test]
    fn a_line_s_end_in_a_password_is_told_without_it() {
        // jane:hunter2, and the same with a line's end.
        let text = r#"{"auths": {"a.test": {"auth": "amFuZTpodW50ZXIy"}, "b.test": {"auth": "amFuZTpodW50ZXIyCg=="}}}"#;
        let found = line_ends(&serde_json::from_str(text).unwrap());
        assert!(found.len() == 1 && found[0].seen.contains("b.test"), "{found:?}");
        assert!(!found[0].seen.contains("hunter2"));
    }
}
