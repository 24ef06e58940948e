//! Registry credentials: the job's own if it brings any, else the executor's, else those of its user.

use super::Failure;
use crate::config::AgentConfig;
use images::{Login, RegistryCredentials};
use secrecy::SecretString;
use wire::DockerAuthConfig;

/// What `job` may pull with.
pub(super) fn choose(job: &DockerAuthConfig, config: &AgentConfig) -> Result<RegistryCredentials, Failure> {
    if !job.auths.is_empty() {
        return read(job).map_err(|fault| Failure::bad_job(format!("the {fault}")));
    }
    if !config.docker_auth.auths.is_empty() {
        // Refused when the agent began, so this can't be the job's fault.
        return read(&config.docker_auth)
            .map_err(|fault| Failure::sandbox(format!("the executor's own {fault}")));
    }
    Ok(config.docker_config.clone().map(RegistryCredentials::of_user).unwrap_or_default())
}

/// The same as the documented configuration: the job's own, else the executor's; `None` leaves it to the
/// configuration of its user.
pub(super) fn documented<'a>(
    job: &'a DockerAuthConfig,
    config: &'a AgentConfig,
) -> Option<&'a DockerAuthConfig> {
    [job, &config.docker_auth].into_iter().find(|config| !config.auths.is_empty())
}

/// What of all of these is secret: passwords, tokens, and the texts in which they are written down. What helpers
/// would answer is not among them; it reaches no program of a job.
pub(super) fn secrets(job: &DockerAuthConfig, config: &AgentConfig) -> Vec<SecretString> {
    let of_login = |auth: &wire::RegistryAuth| {
        let password =
            auth.decode().map(|(_, password)| password.trim_end_matches(['\r', '\n', '\0']).to_owned());
        [Some(auth.auth.trim().to_owned()), password].into_iter().flatten().map(SecretString::from)
    };
    let logins = job.auths.values().chain(config.docker_auth.auths.values()).flat_map(of_login);
    // A file that can't be used is told of where it would be.
    let of_user = config.docker_config.iter().flat_map(|user| user.secrets().unwrap_or_default());
    logins.chain(of_user).collect()
}

/// Checks the executor's own credentials; what is wrong is told without any value.
pub(crate) fn check(config: &AgentConfig) -> Result<(), String> {
    if !config.docker_auth.auths.is_empty() {
        return read(&config.docker_auth).map(drop).map_err(|fault| format!("the executor's own {fault}"));
    }
    config.docker_config.as_ref().map_or(Ok(()), |user| user.check().map_err(|fault| fault.to_string()))
}

fn read(config: &DockerAuthConfig) -> Result<RegistryCredentials, String> {
    let login = |(registry, auth): (&String, &wire::RegistryAuth)| {
        let (user, password) = auth.decode().ok_or_else(|| {
            format!("credentials for registry {registry:?} are not base64 of user:password")
        })?;
        Ok((registry.clone(), Login::password(user, &password)))
    };
    let logins: Result<Vec<_>, String> = config.auths.iter().map(login).collect();
    Ok(RegistryCredentials::of_logins(logins?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use images::DockerConfig;
    use jobs::EndReason;

    fn config(text: &str) -> DockerAuthConfig {
        serde_json::from_str(text).unwrap()
    }

    fn agent(own: &str) -> AgentConfig {
        let url = "http://control.example".parse().unwrap();
        let mut agent = AgentConfig::new(url, "secret".into(), "batches", "agent-1", "/nowhere".into());
        agent.docker_auth = config(own);
        agent
    }

    const NONE: &str = r#"{"auths":{}}"#;

    #[test]
    fn the_jobs_own_credentials_replace_the_agents() {
        let own = agent(r#"{"auths":{"a":{"auth":"dTpw"}}}"#);
        let job = config(r#"{"auths":{"b":{"auth":"dTpw"}}}"#);
        let hosts = |job: &DockerAuthConfig| choose(job, &own).unwrap().registries();
        assert_eq!(hosts(&job), ["b"]);
        assert_eq!(hosts(&DockerAuthConfig::default()), ["a"]);
        let bad = r#"{"auths":{"b":{"auth":"%"}}}"#;
        let reason = |job: &DockerAuthConfig, own: &AgentConfig| match choose(job, own) {
            Err(Failure::Broke { reason, .. }) => Some(reason),
            _ => None,
        };
        assert_eq!(reason(&config(bad), &own), Some(EndReason::BadJob));
        assert_eq!(reason(&DockerAuthConfig::default(), &agent(bad)), Some(EndReason::Sandbox));
        assert_eq!(reason(&job, &agent(bad)), None);
        assert!(check(&agent(bad)).unwrap_err().contains("\"b\""));
    }

    #[test]
    fn what_they_hold_is_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        // of-user:user's one, and a token.
        let text =
            r#"{"auths":{"a":{"auth":"b2YtdXNlcjp1c2VyJ3Mgb25l"},"b":{"identitytoken":"user-token"}}}"#;
        std::fs::write(&path, text).unwrap();
        let docker_config = Some(DockerConfig { path, ..DockerConfig::default() });
        // u:agent's one
        let agent =
            AgentConfig { docker_config, ..agent(r#"{"auths":{"c":{"auth":"dTphZ2VudCdzIG9uZQ=="}}}"#) };
        // u:job's one, with a line's end
        let job = config(r#"{"auths":{"d":{"auth":"dTpqb2IncyBvbmUK"}}}"#);
        let job = wire::Job { docker_auth_config: job, ..wire::Job::default() };
        let auth = crate::api::JobAuth { id: wire::JobId(1), queue: "q".to_owned(), token: "t0ken".into() };
        let redactor = super::super::redactor(&job, &auth, &agent);
        for secret in [
            "user's one",
            "b2YtdXNlcjp1c2VyJ3Mgb25l",
            "user-token",
            "agent's one",
            "dTphZ2VudCdzIG9uZQ==",
            "job's one",
            "dTpqb2IncyBvbmUK",
        ] {
            assert_eq!(redactor.redact(&format!("a {secret} b")), "a SECRET_REMOVED b", "{secret}");
        }
    }

    #[tokio::test]
    async fn those_of_the_agents_user_come_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, r#"{"auths":{"a":{"auth":"dTpw"},"c":{"auth":"dTpw"}}}"#).unwrap();
        let user = Some(DockerConfig { path: path.clone(), ..DockerConfig::default() });
        let with_user = |own: &str| AgentConfig { docker_config: user.clone(), ..agent(own) };
        let knows = async |agent: &AgentConfig, image: &str| {
            let credentials = choose(&DockerAuthConfig::default(), agent).unwrap();
            credentials.login(&image.parse().unwrap()).await.unwrap().is_some()
        };
        let (alone, behind) = (with_user(NONE), with_user(r#"{"auths":{"a.b":{"auth":"dTpw"}}}"#));
        assert!(!knows(&alone, "a.b/x").await && knows(&behind, "a.b/x").await);
        std::fs::write(&path, r#"{"auths":{"c.d":{"auth":"dTpw"}}}"#).unwrap();
        assert!(knows(&alone, "c.d/x").await && !knows(&behind, "c.d/x").await);
        std::fs::write(&path, "{").unwrap();
        assert!(check(&alone).unwrap_err().contains("config.json"));
        check(&behind).unwrap();
    }
}
