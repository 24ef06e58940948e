//! The secret that holds logins of registries.

use crate::unique;
use serde::Deserialize;
use std::collections::BTreeMap;
use wire::{DockerAuthConfig, RegistryAuth};

/// The key whose value is a configuration of Docker's: no variable of a step, but what the images of a job are pulled with.
pub const DOCKER_AUTH_CONFIG: &str = "DOCKER_AUTH_CONFIG";

/// What is wrong with the value of [`DOCKER_AUTH_CONFIG`]. Nothing of it is told but names of registries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDockerAuth {
    /// It is no such configuration.
    #[error(
        "the value of {DOCKER_AUTH_CONFIG} is no Docker configuration, at line {line} column {column}: write \
         {{\"auths\": {{\"registry.example\": {{\"auth\": \"BASE64\"}}}}}}, BASE64 of user:password, and no other keys"
    )]
    Form {
        /// Where it was not understood.
        line: usize,
        /// And there.
        column: usize,
    },
    /// It names programs, which are not where the job runs.
    #[error(
        "the value of {DOCKER_AUTH_CONFIG} uses {0}, but a job has no credential helpers: give each registry an entry \
         in auths"
    )]
    Helpers(&'static str),
    /// A login can't be read.
    #[error(
        "the value of {DOCKER_AUTH_CONFIG} has an auth for {0:?} that is not base64 of user:password: make it with \
         printf %s USER:PASSWORD | base64 -w0"
    )]
    Login(String),
}

/// Those keys of a Docker configuration that may be there at all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Content {
    #[serde(default, deserialize_with = "unique::map")]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    auth: String,
}

/// Reads the value of [`DOCKER_AUTH_CONFIG`].
pub fn docker_auth(value: &str) -> Result<DockerAuthConfig, BadDockerAuth> {
    let content: Content = serde_json::from_str(value).map_err(|fault| {
        // The parser's own words may hold a piece of the value.
        BadDockerAuth::Form { line: fault.line(), column: fault.column() }
    })?;
    if content.creds_store.is_some_and(|store| !store.is_empty()) {
        return Err(BadDockerAuth::Helpers("credsStore"));
    }
    if content.cred_helpers.is_some_and(|helpers| !helpers.is_empty()) {
        return Err(BadDockerAuth::Helpers("credHelpers"));
    }
    let login = |(registry, Entry { auth }): (String, Entry)| {
        let login = RegistryAuth { auth };
        if login.decode().is_none() {
            return Err(BadDockerAuth::Login(registry));
        }
        Ok((registry, login))
    };
    let auths = content.auths.into_iter().map(login).collect::<Result<_, _>>()?;
    Ok(DockerAuthConfig { auths })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(value: &str) -> String {
        let told = docker_auth(value).unwrap_err().to_string();
        assert!(!told.contains("hunter2") && !told.contains("aHVudGVyMg") && !told.contains('\n'), "{told}");
        told
    }

    #[test]
    fn logins_are_read_as_they_travel() {
        let auth =
            docker_auth(r#"{"auths": {"ghcr.io": {"auth": "dTpw"}}, "credsStore": "", "credHelpers": {}}"#);
        assert_eq!(auth.unwrap().auths["ghcr.io"].decode(), Some(("u".to_owned(), "p".to_owned())));
        assert!(docker_auth("{}").unwrap().auths.is_empty());
    }

    #[test]
    fn what_is_none_is_told_without_a_value() {
        for none in [
            "hunter2",
            "",
            "{",
            r#"{"auths": {"a": {"auth": "dTpw", "password": "hunter2"}}}"#,
            r#"{"auths": {"a": {}}}"#,
            r#"{"auths": {"a": "hunter2"}}"#,
            r#"{"auths": {"a": {"auth": "dTpw"}, "a": {"auth": "dTpx"}}}"#,
            r#"{"HttpHeaders": {"X": "hunter2"}}"#,
            r#"{"auths": {}} hunter2"#,
        ] {
            assert!(told(none).contains("no Docker configuration, at line"), "{none}");
        }
        assert!(told(r#"{"credsStore": "pass"}"#).contains("uses credsStore"));
        assert!(told(r#"{"credHelpers": {"a": "ecr-login"}}"#).contains("uses credHelpers"));
        // "hunter2" without a colon, and what is no base64.
        for auth in ["aHVudGVyMg==", "hunter2:%"] {
            let value = format!(r#"{{"auths": {{"a.test": {{"auth": "{auth}"}}}}}}"#);
            assert!(
                told(&value).contains("auth for \"a.test\" that is not base64 of user:password"),
                "{auth}"
            );
        }
    }
}
