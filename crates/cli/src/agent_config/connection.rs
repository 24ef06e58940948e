//! Where an agent finds its control plane, and which queues it takes jobs of.

use crate::env::EnvReader;
use secrecy::SecretString;
use url::{Host, ParseError, Url};

const QUEUE_NAMES: &str = "batches, codeintel";
const SHAPE: &str = "EXECUTOR_FRONTEND_URL must be in the format scheme://host (and optionally :port)";
/// What is wrong with `127.0.0.1:3080`, of which no part is a scheme.
const COLON: &str = "first path segment in URL cannot contain colon, write http:// or https:// before it";
/// How a container on Docker for desktops finds its host.
const DOCKER_S_HOST: &str = "host.docker.internal";

/// Where an agent finds its control plane.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) url: Url,
    /// Empty where the agent registers.
    pub(crate) password: SecretString,
    /// What the agent gets an identity of its own for, in place of the password.
    pub(crate) registration: Option<SecretString>,
    pub(crate) queues: Vec<String>,
    pub(crate) multi_queue: bool,
}

/// Checks what was loaded, in the documented order: the queues, then the URL.
pub(super) fn read(env: &mut EnvReader<'_>) -> Option<Connection> {
    let queues = queues(env);
    let url = frontend_url(env);
    let registration = env.text("EXECUTOR_REGISTRATION_TOKEN").map(SecretString::from);
    let password = match (env.text("EXECUTOR_FRONTEND_PASSWORD"), &registration) {
        (Some(password), _) => password.into(),
        (None, Some(_)) => String::new().into(),
        (None, None) => return None,
    };
    let (queues, multi_queue) = queues?;
    Some(Connection { url: url?, password, registration, queues, multi_queue })
}

fn queues(env: &mut EnvReader<'_>) -> Option<(Vec<String>, bool)> {
    match (env.text("EXECUTOR_QUEUE_NAME"), env.text("EXECUTOR_QUEUE_NAMES")) {
        (None, None) => env.fault("neither EXECUTOR_QUEUE_NAME or EXECUTOR_QUEUE_NAMES is set"),
        (Some(_), Some(_)) => env.fault("both EXECUTOR_QUEUE_NAME and EXECUTOR_QUEUE_NAMES are set"),
        (Some(name), None) if is_known(&name) => return Some((vec![name], false)),
        (Some(_), None) => {
            env.fault(format!("EXECUTOR_QUEUE_NAME must be set to one of '{QUEUE_NAMES}'"));
        }
        (None, Some(names)) => return several_queues(env, &names),
    }
    None
}

fn several_queues(env: &mut EnvReader<'_>, names: &str) -> Option<(Vec<String>, bool)> {
    let mut names: Vec<String> = names.split(',').map(str::to_owned).collect();
    let unknown: Vec<&String> = names.iter().filter(|name| !is_known(name)).collect();
    for name in &unknown {
        env.fault(format!(
            "EXECUTOR_QUEUE_NAMES contains invalid queue name '{name}', valid names are '{QUEUE_NAMES}' and \
             should be comma-separated"
        ));
    }
    if !unknown.is_empty() {
        return None;
    }
    names.sort();
    names.dedup();
    Some((names, true))
}

fn is_known(queue: &str) -> bool {
    jobs::name::check_queue(queue).is_ok()
}

/// The control plane's URL, without credentials and fragment. Its query goes with each call, as it always did;
/// whoever shows the URL leaves it out.
pub(super) fn frontend_url(env: &mut EnvReader<'_>) -> Option<Url> {
    let text = env.text("EXECUTOR_FRONTEND_URL").unwrap_or_default();
    let mut url = match Url::parse(&text) {
        Ok(url) if url.has_host() && matches!(url.scheme(), "http" | "https") => url,
        Err(ParseError::RelativeUrlWithoutBase) if has_colon_without_scheme(&text) => {
            env.fault(format!("failed to parse EXECUTOR_FRONTEND_URL: {COLON}"));
            return None;
        }
        Ok(_) | Err(ParseError::RelativeUrlWithoutBase | ParseError::EmptyHost) => {
            env.fault(SHAPE);
            return None;
        }
        Err(fault) => {
            env.fault(format!("failed to parse EXECUTOR_FRONTEND_URL: {fault}"));
            return None;
        }
    };
    if url.host() == Some(Host::Domain(DOCKER_S_HOST)) && !env.bool("EXECUTOR_DOCKER_ADD_HOST_GATEWAY") {
        env.fault(
            "Making the executor talk to host.docker.internal but not allowing host gateway access using \
             EXECUTOR_DOCKER_ADD_HOST_GATEWAY can cause connectivity problems",
        );
    }
    // No call has it.
    url.set_fragment(None);
    // Ours are other credentials, and a URL is shown.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    Some(url)
}

/// Whether what has no scheme is no relative reference either: its first segment may have no colon, or what is
/// before it would be taken for a scheme.
fn has_colon_without_scheme(text: &str) -> bool {
    text.split(['/', '?', '#']).next().is_some_and(|segment| segment.contains(':'))
}

#[cfg(test)]
mod tests {
    use crate::agent_config::tests::{faults, read};

    const SHAPE: &str = "EXECUTOR_FRONTEND_URL must be in the format scheme://host (and optionally :port)";

    #[test]
    fn queues_are_one_or_several_and_known() {
        assert_eq!(read(&[]).unwrap().0.queues, ["batches"]);
        let several = [("EXECUTOR_QUEUE_NAME", ""), ("EXECUTOR_QUEUE_NAMES", "codeintel,batches,batches")];
        let (connection, _) = read(&several).unwrap();
        assert_eq!((connection.queues.join(","), connection.multi_queue), ("batches,codeintel".into(), true));
        let one_of_several = [("EXECUTOR_QUEUE_NAME", ""), ("EXECUTOR_QUEUE_NAMES", "batches")];
        assert!(read(&one_of_several).unwrap().0.multi_queue);
    }

    #[test]
    fn faults_of_queues_have_the_documented_words() {
        let names = |value| [("EXECUTOR_QUEUE_NAME", ""), ("EXECUTOR_QUEUE_NAMES", value)];
        let invalid = |name: &str| {
            format!(
                "EXECUTOR_QUEUE_NAMES contains invalid queue name '{name}', valid names are 'batches, codeintel' \
                 and should be comma-separated"
            )
        };
        assert_eq!(faults(&names("")), ["neither EXECUTOR_QUEUE_NAME or EXECUTOR_QUEUE_NAMES is set"]);
        assert_eq!(
            faults(&[("EXECUTOR_QUEUE_NAMES", "batches")]),
            ["both EXECUTOR_QUEUE_NAME and EXECUTOR_QUEUE_NAMES are set"]
        );
        assert_eq!(
            faults(&[("EXECUTOR_QUEUE_NAME", "bulk")]),
            ["EXECUTOR_QUEUE_NAME must be set to one of 'batches, codeintel'"]
        );
        assert_eq!(faults(&names("batches, codeintel")), [invalid(" codeintel")]);
        assert_eq!(faults(&names("bulk,batches,")), [invalid("bulk"), invalid("")]);
    }

    #[test]
    fn faults_of_the_url_have_the_documented_words() {
        for url in
            ["sourcegraph.example.com", "/base:1", "sourcegraph:3080", "//sg:3080", "mailto:me", "ftp://sg"]
        {
            assert_eq!(faults(&[("EXECUTOR_FRONTEND_URL", url)]), [SHAPE], "{url}");
        }
        for url in ["127.0.0.1:3080", "[::1]:80/x", "my_sg:3080", ":80"] {
            let expected = "failed to parse EXECUTOR_FRONTEND_URL: first path segment in URL cannot contain colon, \
                            write http:// or https:// before it";
            assert_eq!(faults(&[("EXECUTOR_FRONTEND_URL", url)]), [expected], "{url}");
        }
        for url in ["http://host:port", "http://[::1", "https://exa mple.com"] {
            let faults = faults(&[("EXECUTOR_FRONTEND_URL", url)]);
            let [fault] = faults.as_slice() else { panic!("{url}: {faults:?}") };
            assert!(fault.starts_with("failed to parse EXECUTOR_FRONTEND_URL: "), "{fault}");
        }
        assert_eq!(
            faults(&[("EXECUTOR_FRONTEND_URL", "")]),
            ["invalid value \"\" for EXECUTOR_FRONTEND_URL: no value supplied", SHAPE]
        );
    }

    #[test]
    fn docker_s_name_of_its_host_needs_the_gateway() {
        let url = ("EXECUTOR_FRONTEND_URL", "http://host.docker.internal:7080");
        assert_eq!(
            faults(&[url]),
            ["Making the executor talk to host.docker.internal but not allowing host gateway access using \
              EXECUTOR_DOCKER_ADD_HOST_GATEWAY can cause connectivity problems"]
        );
        assert!(read(&[url, ("EXECUTOR_DOCKER_ADD_HOST_GATEWAY", "true")]).is_ok());
    }

    #[test]
    fn credentials_and_fragment_of_the_url_are_left_out() {
        let (connection, _) =
            read(&[("EXECUTOR_FRONTEND_URL", "https://me:hunter2@sg.example.com/#hunter2")]).unwrap();
        assert_eq!(connection.url.as_str(), "https://sg.example.com/");
    }

    #[test]
    fn the_path_and_the_query_of_the_url_are_kept() {
        let (connection, _) = read(&[("EXECUTOR_FRONTEND_URL", "https://sg.example.com/base?a=b")]).unwrap();
        assert_eq!(connection.url.as_str(), "https://sg.example.com/base?a=b");
    }
}
