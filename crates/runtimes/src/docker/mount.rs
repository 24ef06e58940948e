//! What the operator mounts into every container besides the workspace.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// A mount as `docker run --mount` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mount {
    /// What is mounted: `bind`, `volume`, `tmpfs`, or what newer engines know.
    #[serde(rename = "Type")]
    pub kind: String,
    /// A path on the engine's host, or a volume's name; empty for a temporary file system.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Where it is seen in the container.
    pub target: String,
    /// Whether nothing can be written to it.
    #[serde(skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// `consistent`, `cached` or `delegated`; empty leaves it to the engine.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub consistency: String,
    /// For a `bind`.
    #[serde(rename = "BindOptions", skip_serializing_if = "is_default")]
    pub bind: BindOptions,
    /// For a `volume`.
    #[serde(rename = "VolumeOptions", skip_serializing_if = "is_default")]
    pub volume: VolumeOptions,
    /// For a `tmpfs`.
    #[serde(rename = "TmpfsOptions", skip_serializing_if = "is_default")]
    pub tmpfs: TmpfsOptions,
}

/// How a host's directory is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BindOptions {
    /// `rprivate`, `private`, `rshared`, `shared`, `rslave` or `slave`; empty leaves it to the engine.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub propagation: String,
    /// Leave out what is mounted below.
    #[serde(skip_serializing_if = "is_default")]
    pub non_recursive: bool,
}

/// How a volume is made and mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeOptions {
    /// Leave out what the image has at the target.
    #[serde(skip_serializing_if = "is_default")]
    pub no_copy: bool,
    /// For a volume that is made.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Who makes it.
    #[serde(rename = "DriverConfig", skip_serializing_if = "is_default")]
    pub driver: VolumeDriver,
}

/// Who makes a volume.
#[derive(Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VolumeDriver {
    /// The driver; empty means `local`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What it is told.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

impl fmt::Debug for VolumeDriver {
    /// Options may hold the password of a share.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<&String> = self.options.keys().collect();
        f.debug_struct("VolumeDriver").field("name", &self.name).field("options", &options).finish()
    }
}

/// How memory is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TmpfsOptions {
    /// Bytes; `None` means without a limit of its own.
    #[serde(skip_serializing_if = "is_default")]
    pub size_bytes: Option<u64>,
    /// Its top directory's mode.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: Option<u32>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Mount {
    /// A directory of the engine's host.
    pub(super) fn bind(source: impl Into<String>, target: impl Into<String>) -> Self {
        Self { kind: "bind".into(), source: source.into(), target: target.into(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_was_said_is_passed_on() {
        let bind = serde_json::to_value(Mount::bind("/host", "/data")).unwrap();
        assert_eq!(bind, json!({ "Type": "bind", "Source": "/host", "Target": "/data" }));
        let volume = Mount {
            kind: "volume".into(),
            source: "cache".into(),
            target: "/cache".into(),
            read_only: true,
            volume: VolumeOptions {
                no_copy: true,
                labels: [("a".to_owned(), "b".to_owned())].into(),
                driver: VolumeDriver {
                    name: "local".into(),
                    options: [("o".to_owned(), "size=1g".to_owned())].into(),
                },
            },
            ..Mount::default()
        };
        assert_eq!(
            serde_json::to_value(volume).unwrap(),
            json!({
                "Type": "volume", "Source": "cache", "Target": "/cache", "ReadOnly": true,
                "VolumeOptions": {
                    "NoCopy": true, "Labels": { "a": "b" },
                    "DriverConfig": { "Name": "local", "Options": { "o": "size=1g" } },
                },
            })
        );
        let tmpfs = Mount {
            kind: "tmpfs".into(),
            target: "/fast".into(),
            tmpfs: TmpfsOptions { size_bytes: Some(1 << 20), mode: Some(0o1777) },
            ..Mount::default()
        };
        assert_eq!(
            serde_json::to_value(tmpfs).unwrap(),
            json!({ "Type": "tmpfs", "Target": "/fast", "TmpfsOptions": { "SizeBytes": 1_048_576, "Mode": 1023 } })
        );
    }
}
