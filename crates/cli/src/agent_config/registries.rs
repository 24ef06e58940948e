//! Registries: their mirrors and their credentials.

use super::json;
use crate::env::EnvReader;
use images::{DockerConfig, Mirror};
use std::path::Path;
use wire::DockerAuthConfig;

/// What a credential helper gets of our environment besides `PATH` and `HOME`: where its vault is, how
/// to reach it, and whom to believe. Nothing of the agent's own secrets.
const HELPERS_GET: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "DOCKER_CONFIG",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "GNUPGHOME",
    "PASSWORD_STORE_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
/// The same, of clouds whose registries have helpers.
const CLOUDS: [&str; 4] = ["AWS_", "GOOGLE_", "CLOUDSDK_", "AZURE_"];

/// Reads `EXECUTOR_DOCKER_REGISTRY_MIRROR_URL`.
pub(super) fn mirrors(env: &mut EnvReader<'_>) -> Vec<Mirror> {
    let text = env.text("EXECUTOR_DOCKER_REGISTRY_MIRROR_URL").unwrap_or_default();
    Mirror::list(&text).unwrap_or_else(|fault| {
        env.fault(format!("invalid EXECUTOR_DOCKER_REGISTRY_MIRROR_URL: {fault}"));
        Vec::new()
    })
}

/// The Docker configuration of the executor's user, if there can be one.
pub(super) fn docker_config(env: &EnvReader<'_>) -> Option<DockerConfig> {
    let beneath_home = || Some(Path::new(&env.text("HOME")?).join(".docker"));
    let directory = env.text("DOCKER_CONFIG").map(Into::into).or_else(beneath_home)?;
    Some(DockerConfig {
        path: directory.join("config.json"),
        search_path: env.text("PATH").unwrap_or_default().into(),
        environment: env.passed(&HELPERS_GET, &CLOUDS),
    })
}

/// Reads `EXECUTOR_DOCKER_AUTH_CONFIG`. No fault shows a piece of the value.
pub(super) fn docker_auth(env: &mut EnvReader<'_>) -> DockerAuthConfig {
    let Some(text) = env.text("EXECUTOR_DOCKER_AUTH_CONFIG") else { return DockerAuthConfig::default() };
    parse(&text).unwrap_or_else(|fault| {
        env.fault(format!("invalid EXECUTOR_DOCKER_AUTH_CONFIG, failed to parse: {fault}"));
        DockerAuthConfig::default()
    })
}

fn parse(text: &str) -> Result<DockerAuthConfig, String> {
    let config = DockerAuthConfig::from_json(text).map_err(|fault| json::syntax(&fault))?;
    match config.auths.iter().find(|(_, auth)| auth.decode().is_none()) {
        Some((registry, _)) => Err(format!("the auth of {registry:?} is not base64 of user:password")),
        None => Ok(config),
    }
}

#[cfg(test)]
mod tests {
    use crate::agent_config::tests::{faults, read};

    const NAME: &str = "EXECUTOR_DOCKER_AUTH_CONFIG";
    const MIRRORS: &str = "EXECUTOR_DOCKER_REGISTRY_MIRROR_URL";

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
    fn credentials_are_found_in_any_letter_case() {
        let found = |value: &str| read(&[(NAME, value)]).unwrap().1.docker_auth.auths.len();
        assert_eq!(found(r#"{"Auths": {"r.example": {"AUTH": "dXNlcjpwYXNz"}}}"#), 1);
        assert_eq!(found("null"), 0);
        let told = faults(&[(NAME, r#"{"AUTHS": {"r.example": {"Auth": "hunter2"}}}"#)]);
        assert!(told[0].ends_with("the auth of \"r.example\" is not base64 of user:password"), "{told:?}");
        assert_eq!(faults(&[(NAME, "[]")]).len(), 1);
    }

    #[test]
    fn mirrors_are_addresses() {
        let mirrors =
            |value: &str| read(&[(MIRRORS, value)]).map(|(_, settings)| settings.runtime.images.mirrors);
        let shown: Vec<_> = mirrors("https://mirror.gcr.io,http://10.0.1.4:5000").unwrap();
        assert_eq!(
            shown.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["https://mirror.gcr.io", "http://10.0.1.4:5000"]
        );
        assert_eq!(mirrors("").unwrap(), []);
        let told = &faults(&[(MIRRORS, "10.0.1.4:5000")])[0];
        assert!(told.starts_with("invalid EXECUTOR_DOCKER_REGISTRY_MIRROR_URL: \"10.0.1.4:5000\""), "{told}");
    }

    #[test]
    fn helpers_get_what_they_need_and_no_secret_of_ours() {
        let (_, settings) = read(&[
            ("HOME", "/home/executor"),
            ("PATH", "/bin"),
            ("AWS_PROFILE", "builds"),
            ("NPM_TOKEN", "hunter2"),
        ])
        .unwrap();
        let config = settings.docker_config.unwrap();
        assert_eq!(config.path.to_str(), Some("/home/executor/.docker/config.json"));
        assert_eq!(config.search_path, "/bin");
        let names: Vec<_> = config.environment.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["AWS_PROFILE", "HOME", "PATH"]);
        let (_, settings) =
            read(&[("HOME", "/home/executor"), ("DOCKER_CONFIG", "/etc/docker-config")]).unwrap();
        assert_eq!(settings.docker_config.unwrap().path.to_str(), Some("/etc/docker-config/config.json"));
        assert!(read(&[]).unwrap().1.docker_config.is_none());
    }

    #[test]
    fn other_keys_of_a_docker_configuration_are_let_through() {
        let value = r#"{"credsStore": "x", "auths": {"r.example": {"auth": "dXNlcjpwYXNz", "email": "x"}}}"#;
        let (_, settings) = read(&[(NAME, value)]).unwrap();
        assert_eq!(settings.docker_auth.auths.len(), 1);
    }
}
