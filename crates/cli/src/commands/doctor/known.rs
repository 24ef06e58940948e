//! What is known before anything is looked at: the configuration, whether or not an agent could run with it.

use crate::agent_config::{Pieces, read_for_run};
use crate::commands::run;
use crate::env::conflicts::{self, Conflicts};
use crate::env::{EnvErrors, EnvReader, Variables, unknown};
use crate::paths::Paths;
use secrecy::ExposeSecret;
use std::path::PathBuf;
use wire::RegistryAuth;

pub(super) struct Known {
    /// What `executor run` would say, one text for each fault.
    pub(super) faults: Vec<String>,
    /// Names that never were variables.
    pub(super) never: Vec<String>,
    pub(super) unknown: Vec<(String, Option<&'static str>)>,
    pub(super) conflicts: Conflicts,
    pub(super) agent: Pieces,
    /// The frontend's URL as it was given.
    pub(super) url_text: String,
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    pub(super) certificates: [String; 2],
    pub(super) no_proxy: String,
    /// Names of variables, and the URLs of exporters that they have.
    pub(super) exporters: Vec<(&'static str, String)>,
    pub(super) data_dir: PathBuf,
    /// `EXECUTOR_VM_STARTUP_SCRIPT_PATH`.
    pub(super) startup_script: Option<PathBuf>,
    /// What `EXECUTOR_DOCKER_AUTH_CONFIG` names of credential helpers.
    pub(super) auth_helpers: Vec<&'static str>,
    /// Documented variables that are set and that newer releases of the reference know no more.
    pub(super) obsolete: Vec<&'static str>,
}

/// Keys of a Docker configuration under which it names credential helpers.
const HELPER_KEYS: [&str; 2] = ["credsStore", "credHelpers"];
/// Of old manifests.
const OBSOLETE: [&str; 2] = ["EXECUTOR_KUBERNETES_PERSISTENCE_VOLUME_NAME", "KUBERNETES_SINGLE_JOB_POD"];

impl Known {
    /// Reads what there is. `program` is what this one was called as; `env` has the faults so far.
    pub(super) fn read(variables: &Variables, program: &str, env: EnvReader<'_>, paths: &Paths) -> Self {
        let faults = read_for_run(env).err().map(EnvErrors::into_texts).unwrap_or_default();
        let mut env = EnvReader::new(variables, program);
        let agent = Pieces::read(&mut env);
        let never = conflicts::never(&env);
        let misspelt = conflicts::misspelt(&env);
        let mut conflicts = conflicts::find(&env, agent.runtime);
        conflicts.warnings.extend(agent.runtime_conflict.clone());
        // These have a check of their own.
        conflicts.warnings.retain(|warning| !never.contains(warning) && !misspelt.contains(warning));
        let faults = faults.into_iter().filter(|fault| !never.contains(fault)).collect();
        let text = |name| env.text(name).unwrap_or_default();
        let exporters = ["NODE_EXPORTER_URL", "DOCKER_REGISTRY_NODE_EXPORTER_URL"];
        let exporters = exporters.into_iter().filter_map(|name| Some((name, env.text(name)?)));
        let no_proxy = variables.get("NO_PROXY").or_else(|| variables.get("no_proxy"));
        let last_up = || paths.agent_data_dir(None, None);
        Self {
            faults,
            unknown: unknown::unknown(&env),
            never,
            conflicts,
            url_text: text("EXECUTOR_FRONTEND_URL"),
            certificates: [text("SSL_CERT_FILE"), text("SSL_CERT_DIR")],
            no_proxy: no_proxy.unwrap_or_default().to_owned(),
            exporters: exporters.collect(),
            startup_script: env.text("EXECUTOR_VM_STARTUP_SCRIPT_PATH").map(Into::into),
            auth_helpers: helpers_of(&text("EXECUTOR_DOCKER_AUTH_CONFIG")),
            obsolete: OBSOLETE.into_iter().filter(|name| variables.get(name).is_some()).collect(),
            data_dir: run::data_dir(paths).unwrap_or_else(|_| last_up()),
            agent,
        }
    }

    /// What may not be shown.
    pub(super) fn secrets(&self) -> Vec<String> {
        let password = self.agent.password.iter().map(|password| password.expose_secret().to_owned());
        let auths = self.agent.docker_auth.auths.values();
        let logins = auths.filter_map(RegistryAuth::decode).map(|(_, password)| password.trim().to_owned());
        password.chain(logins).collect()
    }
}

/// What names credential helpers in a text that may be such JSON.
fn helpers_of(text: &str) -> Vec<&'static str> {
    let json: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    HELPER_KEYS.into_iter().filter(|key| json.get(key).is_some()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_seen_where_they_do_not_count() {
        assert_eq!(
            helpers_of(r#"{"credsStore": "ecr-login", "credHelpers": {}}"#),
            ["credsStore", "credHelpers"]
        );
        for none in ["", "{", "[]", r#"{"auths": {}}"#] {
            assert!(helpers_of(none).is_empty(), "{none}");
        }
    }
}
