//! What becomes of a container's description on its way through a door.
//!
//! Engines take names of members in any case, so a description is made anew from the names that are known here,
//! to the letter: what is spelled in another way reaches no engine.

use super::Workspace;
use serde_json::{Map, Value, json};
use std::path::{Component, Path, PathBuf};

/// What a program may say of a container, beside its `HostConfig`.
const PASSED: [&str; 17] = [
    "Hostname",
    "Domainname",
    "User",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "Env",
    "Cmd",
    "ArgsEscaped",
    "Image",
    "WorkingDir",
    "Entrypoint",
    "StopSignal",
    "StopTimeout",
];
/// What ours replace, or nobody needs, so that it may ask for anything; it gets no more than that.
const DROPPED: [&str; 3] = ["Labels", "Healthcheck", "NetworkingConfig"];
/// What it may say of a container's place on the host.
const HOST_PASSED: [&str; 3] = ["AutoRemove", "Init", "ConsoleSize"];
/// As [`DROPPED`]. The file of the container's id is written by the client.
const HOST_DROPPED: [&str; 20] = [
    "NetworkMode",
    "Memory",
    "MemorySwap",
    "NanoCpus",
    "CpuPeriod",
    "CpuQuota",
    "CpuShares",
    "PidsLimit",
    "LogConfig",
    "OomScoreAdj",
    "CapDrop",
    "RestartPolicy",
    "ShmSize",
    "MaskedPaths",
    "ReadonlyPaths",
    "Ulimits",
    "ExtraHosts",
    "Runtime",
    "MemorySwappiness",
    "ContainerIDFile",
];

/// A description with which a container is one of the sandbox.
#[derive(Debug)]
pub(super) struct Confined {
    pub(super) description: Map<String, Value>,
    /// What of this host it is to see, without links.
    pub(super) sources: Vec<PathBuf>,
}

/// What every container of a sandbox has, whoever describes it: `ours` wins over what is there, part by
/// part.
pub(super) fn confine(
    mut asked: Map<String, Value>,
    ours: &Map<String, Value>,
    workspace: &Workspace,
) -> Result<Confined, String> {
    let mut host = match asked.remove("HostConfig") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(host)) => host,
        Some(_) => return Err("HostConfig is no object".to_owned()),
    };
    let (mut mounts, mut sources) = (Vec::new(), Vec::new());
    for bind in list(&mut host, "Binds")? {
        mounts.push(of_bind(&bind, workspace, &mut sources)?);
    }
    for mount in list(&mut host, "Mounts")? {
        mounts.push(of_mount(mount, workspace, &mut sources)?);
    }
    let mut host = known(host, &HOST_PASSED, &HOST_DROPPED)?;
    host.insert("Mounts".to_owned(), Value::Array(mounts));
    let mut description = known(asked, &PASSED, &DROPPED)?;
    for (name, value) in ours {
        match (name.as_str(), value) {
            ("HostConfig", Value::Object(ours)) => host.extend(ours.clone()),
            _ => drop(description.insert(name.clone(), value.clone())),
        }
    }
    description.insert("HostConfig".to_owned(), Value::Object(host));
    Ok(Confined { description, sources })
}

/// What of `asked` is `passed`. Programs write down every setting there is, most of them as nothing: only one
/// that asks for something is refused, or one that is spelled as no program does.
fn known(asked: Map<String, Value>, passed: &[&str], dropped: &[&str]) -> Result<Map<String, Value>, String> {
    let mut kept = Map::new();
    for (name, value) in asked {
        if passed.contains(&name.as_str()) {
            kept.insert(name, value);
        } else if !dropped.contains(&name.as_str()) && !says_nothing(&value) {
            return Err(format!("a job's containers can't be given {name}"));
        }
    }
    Ok(kept)
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => matches!(text.as_str(), "" | "default" | "private"),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

fn list(asked: &mut Map<String, Value>, name: &str) -> Result<Vec<Value>, String> {
    match asked.remove(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("{name} is no list")),
    }
}

/// `SOURCE:TARGET[:OPTIONS]`, as a mount.
fn of_bind(bind: &Value, workspace: &Workspace, sources: &mut Vec<PathBuf>) -> Result<Value, String> {
    let text = bind.as_str().unwrap_or_default();
    let mut parts = text.split(':');
    let (source, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let read_only = match parts.next() {
        None | Some("" | "rw") => false,
        Some("ro") => true,
        Some(_) => return Err(format!("the options of {text:?} can't be given to a job's containers")),
    };
    bound(source, &target.into(), &read_only.into(), workspace, sources)
}

fn of_mount(mount: Value, workspace: &Workspace, sources: &mut Vec<PathBuf>) -> Result<Value, String> {
    let Value::Object(mut mount) = mount else { return Err("a mount is no object".to_owned()) };
    let mut take = |name: &str| mount.remove(name).unwrap_or_default();
    let (kind, source, target, read_only) = (take("Type"), take("Source"), take("Target"), take("ReadOnly"));
    let made = match kind.as_str() {
        Some("bind") => {
            // How mounts of the host appear there: never.
            let _ = take("BindOptions");
            bound(source.as_str().unwrap_or_default(), &target, &read_only, workspace, sources)?
        }
        Some("tmpfs") => {
            let options = match take("TmpfsOptions") {
                Value::Object(options) => known(options, &["SizeBytes", "Mode"], &[])?,
                _ => Map::new(),
            };
            json!({ "Type": "tmpfs", "Target": target, "ReadOnly": read_only, "TmpfsOptions": options })
        }
        other => {
            let kind = other.unwrap_or_default();
            return Err(format!("mounts of type {kind:?} can't be given to a job's containers"));
        }
    };
    known(mount, &[], &["Consistency"]).map(|_| made)
}

fn bound(
    source: &str,
    target: &Value,
    read_only: &Value,
    workspace: &Workspace,
    sources: &mut Vec<PathBuf>,
) -> Result<Value, String> {
    let (real, seen) = workspace.seen(source)?;
    sources.push(real);
    Ok(json!({ "Type": "bind", "Source": seen, "Target": target, "ReadOnly": read_only }))
}

impl Workspace {
    /// What `source` names on this host, without links, and the engine's path of it. It must be below the
    /// workspace.
    fn seen(&self, source: &str) -> Result<(PathBuf, String), String> {
        let outside = || format!("{source:?} is not in the job's workspace, and nothing else can be mounted");
        let path = Path::new(source);
        let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !path.is_absolute() || !plain {
            return Err(outside());
        }
        let root = self.here.canonicalize().map_err(|fault| fault.to_string())?;
        let real = path.canonicalize().map_err(|fault| format!("{source:?}: {fault}"))?;
        let below = real.strip_prefix(&root).map_err(|_| outside())?;
        let seen = Path::new(&self.as_mounted).join(below).to_str().map(str::to_owned).ok_or_else(outside)?;
        Ok((real, seen))
    }
}

/// Refuses a container to which one of `sources` would now show something else than when it was made: the
/// engine follows links when it starts one.
pub(super) fn check_again(sources: &[PathBuf]) -> Result<(), String> {
    let moved = |source: &&PathBuf| !source.canonicalize().is_ok_and(|real| real == **source);
    let moved = sources.iter().find(moved);
    moved.map_or(Ok(()), |moved| Err(format!("{} is not what the container was made with", moved.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(members) = value else { panic!("{value} is no object") };
        members
    }

    /// A workspace in a directory, with a link out of it.
    fn workspace() -> (tempfile::TempDir, Workspace) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        std::fs::create_dir(dir.path().join("data/repository")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("data/link")).unwrap();
        let here = dir.path().join("data");
        (dir, Workspace { here, as_mounted: "/seen".to_owned() })
    }

    fn described(container: &Value) -> Result<Map<String, Value>, String> {
        let (_dir, workspace) = workspace();
        let here = workspace.here.to_str().unwrap();
        let container = serde_json::from_str(&container.to_string().replace("HERE", here)).unwrap();
        let ours =
            object(json!({ "Labels": { "o": "1" }, "HostConfig": { "PidsLimit": 7, "CapDrop": ["ALL"] } }));
        confine(object(container), &ours, &workspace).map(|confined| confined.description)
    }

    fn confined(host: &Value) -> Result<Map<String, Value>, String> {
        described(&json!({ "Image": "i", "Labels": { "mine": "1" }, "HostConfig": host }))
    }

    #[test]
    fn a_container_gets_what_all_of_the_sandbox_get() {
        let container = confined(&json!({
            "Binds": ["HERE/repository:/work:ro"],
            "Mounts": [{ "Type": "bind", "Source": "HERE", "Target": "/all" }],
            "AutoRemove": true, "Init": true, "NetworkMode": "host", "PidsLimit": 0, "CapDrop": null, "Privileged": false,
            "IpcMode": "", "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
            "ContainerIDFile": "/anywhere",
        }));
        assert_eq!(
            Value::Object(container.unwrap()),
            json!({
                "Image": "i",
                "Labels": { "o": "1" },
                "HostConfig": {
                    "AutoRemove": true, "Init": true, "PidsLimit": 7, "CapDrop": ["ALL"],
                    "Mounts": [
                        { "Type": "bind", "Source": "/seen/repository", "Target": "/work", "ReadOnly": true },
                        { "Type": "bind", "Source": "/seen/", "Target": "/all", "ReadOnly": null },
                    ],
                },
            })
        );
    }

    #[test]
    fn what_would_lead_out_is_refused() {
        for (host, why) in [
            (json!({ "Privileged": true }), "a job's containers can't be given Privileged"),
            (json!({ "PidMode": "host" }), "PidMode"),
            (json!({ "CapAdd": ["SYS_ADMIN"] }), "CapAdd"),
            (json!({ "Devices": [{ "PathOnHost": "/dev/sda" }] }), "Devices"),
            (json!({ "VolumesFrom": ["other"] }), "VolumesFrom"),
            (json!({ "SecurityOpt": ["seccomp=unconfined"] }), "SecurityOpt"),
            (json!({ "SomethingNew": "x" }), "SomethingNew"),
            (json!({ "Binds": ["/etc:/etc"] }), "\"/etc\" is not in the job's workspace"),
            (json!({ "Binds": ["HERE/../../etc:/etc"] }), "is not in the job's workspace"),
            (json!({ "Binds": ["HERE/link:/etc"] }), "is not in the job's workspace"),
            (json!({ "Binds": ["volume:/etc"] }), "is not in the job's workspace"),
            (json!({ "Binds": ["HERE:/etc:rshared"] }), "options"),
            (json!({ "Binds": "HERE:/etc" }), "Binds is no list"),
            (json!({ "Mounts": [{ "Type": "volume", "Source": "v", "Target": "/v" }] }), "type \"volume\""),
            (json!({ "Mounts": [{ "Type": "bind", "Source": "/", "Target": "/v" }] }), "\"/\" is not in"),
            (json!({ "Mounts": ["/"] }), "a mount is no object"),
            (json!([]), "HostConfig is no object"),
        ] {
            let refused = confined(&host).unwrap_err();
            assert!(refused.contains(why), "{host}: {refused}");
        }
    }

    /// Engines take a name in any case, and the last of several.
    #[test]
    fn no_spelling_leads_around() {
        let bind = |more: Value| {
            let mut mount = object(json!({ "Type": "bind", "Source": "HERE", "Target": "/v" }));
            mount.extend(object(more));
            json!({ "HostConfig": { "Mounts": [mount] } })
        };
        for (container, why) in [
            (json!({ "HostConfig": {}, "hostconfig": { "Privileged": true } }), "given hostconfig"),
            (json!({ "HostConfig": {}, "HOSTCONFIG": { "Binds": ["/:/h"] } }), "given HOSTCONFIG"),
            (json!({ "Ho\u{17f}tConfig": { "Privileged": true } }), "given Ho\u{17f}tConfig"),
            (json!({ "labels": { "o": "2" } }), "given labels"),
            (json!({ "image": "other" }), "given image"),
            (json!({ "Volumes": { "/v": {} } }), "given Volumes"),
            (json!({ "HostConfig": { "privileged": true } }), "given privileged"),
            (json!({ "HostConfig": { "binds": ["/:/h"] } }), "given binds"),
            (json!({ "HostConfig": { "pidslimit": -1 } }), "given pidslimit"),
            (json!({ "HostConfig": { "networKMode": "host" } }), "given networKMode"),
            (bind(json!({ "source": "/" })), "given source"),
            (bind(json!({ "type": "volume" })), "given type"),
            (bind(json!({ "VolumeOptions": { "DriverConfig": { "Name": "local" } } })), "VolumeOptions"),
            (
                json!({ "HostConfig": { "Mounts": [
                    { "Type": "tmpfs", "Target": "/v", "TmpfsOptions": { "Options": [["exec"]] } },
                ] } }),
                "given Options",
            ),
        ] {
            let refused = described(&container).unwrap_err();
            assert!(refused.contains(why), "{container}: {refused}");
        }
        let nothing = json!({ "hostconfig": null, "HostConfig": { "binds": [], "devices": [] } });
        let described = Value::Object(described(&nothing).unwrap()).to_string();
        assert!(!described.contains("hostconfig") && !described.contains("binds"), "{described}");
    }

    #[test]
    fn what_was_replaced_by_a_link_meanwhile_is_refused() {
        let (_dir, workspace) = workspace();
        let source = workspace.here.join("repository");
        let bind = json!({ "HostConfig": { "Binds": [format!("{}:/v", source.display())] } });
        let confined = confine(object(bind), &Map::new(), &workspace).unwrap();
        assert_eq!(check_again(&confined.sources), Ok(()));
        std::fs::rename(&source, workspace.here.join("away")).unwrap();
        assert!(check_again(&confined.sources).is_err());
        std::os::unix::fs::symlink("/etc", &source).unwrap();
        assert!(
            check_again(&confined.sources).unwrap_err().contains("is not what the container was made with")
        );
    }
}
