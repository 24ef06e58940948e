//! Which engine it is, and which version of its API is spoken.
//!
//! The oldest version that both sides know is spoken, not the newest: an engine keeps what an old
//! version means, so that what was tested with one engine is what runs with the next.

use serde::Deserialize;

/// Docker 20.10's and Podman 3's.
const OLDEST: Api = Api(1, 41);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Api(u32, u32);

/// What an engine says of itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Said {
    version: String,
    api_version: String,
    #[serde(rename = "MinAPIVersion")]
    min_api_version: String,
    components: Option<Vec<Component>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Component {
    name: String,
}

/// An engine that can be talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Engine {
    /// `Docker` or `Podman`.
    pub(super) name: &'static str,
    /// Its release, such as `20.10.24`.
    pub(super) release: String,
    /// What is spoken, such as `1.41`.
    pub(super) api: String,
}

impl Engine {
    /// What calls' paths begin with.
    pub(super) fn prefix(&self) -> String {
        format!("/v{}", self.api)
    }

    pub(super) fn is_podman(&self) -> bool {
        self.name == PODMAN
    }
}

const DOCKER: &str = "Docker";
const PODMAN: &str = "Podman";

/// Chooses the version to speak, or tells why there is none.
pub(super) fn judge(said: Said) -> Result<Engine, String> {
    let components = said.components.unwrap_or_default();
    let podman = components.iter().any(|component| component.name.contains(PODMAN));
    let name = if podman { PODMAN } else { DOCKER };
    let Some(newest) = parse(&said.api_version) else {
        return Err(format!(
            "what answers there is no container engine: it says that its API has version {:?}; check DOCKER_HOST",
            said.api_version
        ));
    };
    if newest < OLDEST {
        return Err(format!(
            "{name} {} speaks API {} at most, and {}.{} is needed: update it to Docker 20.10 or later",
            said.version, said.api_version, OLDEST.0, OLDEST.1
        ));
    }
    let Api(major, minor) = parse(&said.min_api_version).unwrap_or(OLDEST).max(OLDEST);
    Ok(Engine { name, release: said.version, api: format!("{major}.{minor}") })
}

fn parse(text: &str) -> Option<Api> {
    let (major, minor) = text.split_once('.')?;
    Some(Api(major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Said {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_oldest_version_that_both_know_is_spoken() {
        for (api, oldest, spoken) in [
            ("1.41", "1.12", "1.41"),
            ("1.51", "1.24", "1.41"),
            ("1.52", "1.44", "1.44"),
            ("1.41", "", "1.41"),
            ("1.100", "1.99", "1.99"),
        ] {
            let text =
                format!(r#"{{"Version":"1","ApiVersion":"{api}","MinAPIVersion":"{oldest}","Other":1}}"#);
            assert_eq!(judge(said(&text)).unwrap().api, spoken, "{text}");
        }
    }

    #[test]
    fn an_engine_that_is_too_old_or_none_is_told() {
        let old = judge(said(r#"{"Version":"18.09.1","ApiVersion":"1.39","Components":null}"#)).unwrap_err();
        assert!(old.contains("18.09.1") && old.contains("1.39") && old.contains("20.10"), "{old}");
        assert!(judge(said(r#"{"anything":"else"}"#)).unwrap_err().contains("no container engine"));
    }

    #[test]
    fn podman_is_told_from_docker() {
        let podman = r#"{"Version":"4.3.1","ApiVersion":"1.41","MinAPIVersion":"1.24","Components":[{"Name":"Podman Engine"}]}"#;
        assert!(judge(said(podman)).unwrap().is_podman());
        let docker = r#"{"Version":"20.10","ApiVersion":"1.41","Components":[{"Name":"Engine"}]}"#;
        assert!(!judge(said(docker)).unwrap().is_podman());
    }
}
