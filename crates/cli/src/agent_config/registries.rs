//! Credentials of registries.

use super::json;
use crate::env::EnvReader;
use wire::DockerAuthConfig;

/// Reads `EXECUTOR_DOCKER_AUTH_CONFIG`. No fault shows a piece of the value.
pub(super) fn docker_auth(env: &mut EnvReader<'_>) -> DockerAuthConfig {
    let Some(text) = env.text("EXECUTOR_DOCKER_AUTH_CONFIG") else { return DockerAuthConfig::default() };
    parse(&text).unwrap_or_else(|fault| {
        env.fault(format!("invalid EXECUTOR_DOCKER_AUTH_CONFIG, failed to parse: {fault}"));
        DockerAuthConfig::default()
    })
}

fn parse(text: &str) -> Result<DockerAuthConfig, String> {
    let config: DockerAuthConfig = serde_json::from_str(text).map_err(|fault| json::syntax(&fault))?;
    match config.auths.iter().find(|(_, auth)| auth.decode().is_none()) {
        Some((registry, _)) => Err(format!("the auth of {registry:?} is not base64 of user:password")),
        None => Ok(config),
    }
}

#[cfg(test)]
mod tests {
    use crate::agent_config::tests::{faults, read};

    const NAME: &str = "EXECUTOR_DOCKER_AUTH_CONFIG";

    #[test]
    fn broken_credentials_are_refused_without_being_shown() {
        for (value, told) in [
            ("{", "unexpected end of JSON input"),
            ("{\"auths\": hunter2", "invalid JSON at line 1 column 11"),
            ("{\"auths\": {\"r.example\": {\"auth\": 5}}}", "unexpected value at line 1 column 34"),
            (
                "{\"auths\": {\"r.example\": {\"auth\": \"hunter2\"}}}",
                "the auth of \"r.example\" is not base64 of user:password",
            ),
        ] {
            let expected = format!("invalid EXECUTOR_DOCKER_AUTH_CONFIG, failed to parse: {told}");
            assert_eq!(faults(&[(NAME, value)]), [expected]);
        }
    }

    #[test]
    fn other_keys_of_a_docker_configuration_are_let_through() {
        let value = r#"{"credsStore": "x", "auths": {"r.example": {"auth": "dXNlcjpwYXNz", "email": "x"}}}"#;
        let (_, settings) = read(&[(NAME, value)]).unwrap();
        assert_eq!(settings.docker_auth.auths.len(), 1);
    }
}
