//! Registry credentials: the job's own if it brings any, else the agent's.

use super::Failure;
use images::RegistryCredentials;
use secrecy::SecretString;
use wire::DockerAuthConfig;

/// What `job` may pull with.
pub(super) fn choose(job: &DockerAuthConfig, own: &DockerAuthConfig) -> Result<RegistryCredentials, Failure> {
    let chosen = if job.auths.is_empty() { own } else { job };
    let mut credentials = RegistryCredentials::default();
    for (host, auth) in &chosen.auths {
        let (user, password) = auth.decode().ok_or_else(|| {
            Failure::bad_job(format!("the credentials for registry {host:?} are not base64 of user:password"))
        })?;
        credentials.by_host.insert(host.clone(), (user, SecretString::from(password)));
    }
    Ok(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(choose(&config(r#"{"auths":{"b":{"auth":"%"}}}"#), &own).is_err());
    }
}
