//! Registry credentials: the job's own if it brings any, else the agent's.

use super::Failure;
use images::RegistryCredentials;
use secrecy::SecretString;
use wire::DockerAuthConfig;

/// What `job` may pull with.
pub(super) fn choose(job: &DockerAuthConfig, own: &DockerAuthConfig) -> Result<RegistryCredentials, Failure> {
    if job.auths.is_empty() {
        // Refused when the agent began, so this can't be the job's fault.
        return read(own).map_err(|fault| Failure::sandbox(format!("the executor's own {fault}")));
    }
    read(job).map_err(|fault| Failure::bad_job(format!("the {fault}")))
}

/// Checks credentials; what is wrong is told with the registry's name and without the value.
pub(crate) fn check(own: &DockerAuthConfig) -> Result<(), String> {
    read(own).map(drop)
}

fn read(config: &DockerAuthConfig) -> Result<RegistryCredentials, String> {
    let mut credentials = RegistryCredentials::default();
    for (host, auth) in &config.auths {
        let (user, password) = auth
            .decode()
            .ok_or_else(|| format!("credentials for registry {host:?} are not base64 of user:password"))?;
        credentials.by_host.insert(host.clone(), (user, SecretString::from(password)));
    }
    Ok(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobs::EndReason;

    fn config(text: &str) -> DockerAuthConfig {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_jobs_own_credentials_replace_the_agents() {
        let own = config(r#"{"auths":{"a":{"auth":"dTpw"}}}"#);
        let job = config(r#"{"auths":{"b":{"auth":"dTpw"}}}"#);
        let hosts = |job: &DockerAuthConfig| -> Vec<String> {
            choose(job, &own).unwrap().by_host.into_keys().collect()
        };
        assert_eq!(hosts(&job), ["b"]);
        assert_eq!(hosts(&DockerAuthConfig::default()), ["a"]);
        let bad = config(r#"{"auths":{"b":{"auth":"%"}}}"#);
        let reason = |job: &DockerAuthConfig, own: &DockerAuthConfig| match choose(job, own) {
            Err(Failure::Broke { reason, .. }) => Some(reason),
            _ => None,
        };
        assert_eq!(reason(&bad, &own), Some(EndReason::BadJob));
        assert_eq!(reason(&DockerAuthConfig::default(), &bad), Some(EndReason::Sandbox));
        assert_eq!(reason(&job, &bad), None);
    }
}
