//! What may be asked through a door, and what becomes of a container's description on its way.

use super::Workspace;
use hyper::Method;
use serde_json::{Map, Value, json};
use std::path::{Component, Path};

/// What is to be done with a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// The engine answers it.
    Pass,
    /// It asks about this image.
    Inspect(&'a str),
    /// It makes a container, which is to be the sandbox's.
    Create,
    /// It is about this container, which must be the sandbox's.
    About(&'a str),
    /// It is none of those that running a container needs.
    Refuse,
}

/// Calls about a container that running it needs.
const ABOUT: [&str; 9] = ["attach", "start", "wait", "resize", "kill", "stop", "json", "logs", "archive"];

/// Judges a call by its method and the path, which may name a version of the API.
pub(super) fn judge<'a>(method: &Method, path: &'a str) -> Verdict<'a> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = match path.split_once('/') {
        Some((version, rest)) if is_version(version) => rest,
        _ => path,
    };
    let parts: Vec<&str> = path.split('/').collect();
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match parts.as_slice() {
        ["_ping" | "version" | "info"] if reads => Verdict::Pass,
        ["images", "create"] if *method == Method::POST => Verdict::Pass,
        // Names of images have slashes.
        ["images", _, .., "json"] if reads => {
            Verdict::Inspect(&path["images/".len()..path.len() - "/json".len()])
        }
        ["containers", "create"] if *method == Method::POST => Verdict::Create,
        ["containers", id] if *method == Method::DELETE => Verdict::About(id),
        ["containers", id, what] if ABOUT.contains(what) => Verdict::About(id),
        _ => Verdict::Refuse,
    }
}

fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

impl Workspace {
    /// The engine's path of what `source` names on this host, which must be below the workspace, also after
    /// every link was followed.
    fn seen(&self, source: &str) -> Result<String, String> {
        let outside = || format!("{source:?} is not in the job's workspace, and nothing else can be mounted");
        let path = Path::new(source);
        let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !path.is_absolute() || !plain {
            return Err(outside());
        }
        let root = self.here.canonicalize().map_err(|fault| fault.to_string())?;
        let real = path.canonicalize().map_err(|fault| format!("{source:?}: {fault}"))?;
        let below = real.strip_prefix(&root).map_err(|_| outside())?;
        let seen = Path::new(&self.as_mounted).join(below);
        seen.to_str().map(str::to_owned).ok_or_else(outside)
    }
}

/// What every container of a sandbox has, whoever describes it: `ours` wins over what is there, part by
/// part.
pub(super) fn confine(
    container: &mut Map<String, Value>,
    ours: &Map<String, Value>,
    workspace: &Workspace,
) -> Result<(), String> {
    let asked = container.remove("HostConfig").unwrap_or_else(|| json!({}));
    let Value::Object(mut asked) = asked else { return Err("HostConfig is no object".to_owned()) };
    let mut host = Map::new();
    let mut mounts = Vec::new();
    for bind in list(&mut asked, "Binds")? {
        mounts.push(of_bind(&bind, workspace)?);
    }
    for mount in list(&mut asked, "Mounts")? {
        mounts.push(of_mount(mount, workspace)?);
    }
    host.insert("Mounts".to_owned(), Value::Array(mounts));
    for name in ["AutoRemove", "Init", "ConsoleSize"] {
        host.extend(asked.remove(name).map(|value| (name.to_owned(), value)));
    }
    refuse_what_is_left(&asked)?;
    container.remove("NetworkingConfig");
    for (name, value) in ours {
        match (name.as_str(), value) {
            ("HostConfig", Value::Object(ours)) => host.extend(ours.clone()),
            _ => drop(container.insert(name.clone(), value.clone())),
        }
    }
    container.insert("HostConfig".to_owned(), Value::Object(host));
    Ok(())
}

/// Programs write down every setting there is, most of them as nothing: only one that asks for something is
/// refused.
fn refuse_what_is_left(asked: &Map<String, Value>) -> Result<(), String> {
    /// What ours replace, so that it may ask for anything; it gets no more than that.
    const REPLACED: [&str; 19] = [
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
    ];
    let extra = asked.iter().find(|(name, value)| !REPLACED.contains(&name.as_str()) && !says_nothing(value));
    match extra {
        Some((name, _)) => Err(format!("a job's containers can't be given {name}")),
        None => Ok(()),
    }
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
fn of_bind(bind: &Value, workspace: &Workspace) -> Result<Value, String> {
    let text = bind.as_str().unwrap_or_default();
    let mut parts = text.split(':');
    let (source, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let read_only = match parts.next() {
        None | Some("" | "rw") => false,
        Some("ro") => true,
        Some(_) => return Err(format!("the options of {text:?} can't be given to a job's containers")),
    };
    let source = workspace.seen(source)?;
    Ok(json!({ "Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only }))
}

fn of_mount(mut mount: Value, workspace: &Workspace) -> Result<Value, String> {
    match mount["Type"].as_str() {
        Some("bind") => {
            let source = workspace.seen(mount["Source"].as_str().unwrap_or_default())?;
            let Value::Object(members) = &mut mount else { return Err("a mount is no object".to_owned()) };
            members.remove("BindOptions");
            members.insert("Source".to_owned(), source.into());
            Ok(mount)
        }
        Some("tmpfs") => Ok(mount),
        other => {
            Err(format!("mounts of type {:?} can't be given to a job's containers", other.unwrap_or("")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_running_a_container_needs_may_be_asked_and_no_more() {
        let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
        for (method, path, verdict) in [
            (&get, "/_ping", Verdict::Pass),
            (&get, "/v1.41/version", Verdict::Pass),
            (&post, "/v1.41/images/create", Verdict::Pass),
            (&get, "/v1.41/images/a.example:5000/b/c:1/json", Verdict::Inspect("a.example:5000/b/c:1")),
            (&get, "/images/json", Verdict::Refuse),
            (&post, "/v1.41/containers/create", Verdict::Create),
            (&post, "/containers/4f/attach", Verdict::About("4f")),
            (&delete, "/v1.41/containers/4f", Verdict::About("4f")),
            (&post, "/v1.41/containers/4f/exec", Verdict::Refuse),
            (&get, "/v1.41/containers/json", Verdict::Refuse),
            (&post, "/v1.41/containers/create/../4f/start", Verdict::Refuse),
            (&post, "/v1.41/volumes/create", Verdict::Refuse),
            (&post, "/v1.41/build", Verdict::Refuse),
            (&post, "/v1.41/images/load", Verdict::Refuse),
            (&delete, "/v1.41/images/busybox", Verdict::Refuse),
            (&post, "/session", Verdict::Refuse),
            (&get, "/v1.41", Verdict::Refuse),
        ] {
            assert_eq!(judge(method, path), verdict, "{method} {path}");
        }
    }

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

    fn confined(host: &Value) -> Result<Map<String, Value>, String> {
        let (_dir, workspace) = workspace();
        let host: Value =
            serde_json::from_str(&host.to_string().replace("HERE", workspace.here.to_str().unwrap()))
                .unwrap();
        let mut container = object(json!({ "Image": "i", "Labels": { "mine": "1" }, "HostConfig": host }));
        let ours =
            object(json!({ "Labels": { "o": "1" }, "HostConfig": { "PidsLimit": 7, "CapDrop": ["ALL"] } }));
        confine(&mut container, &ours, &workspace).map(|()| container)
    }

    #[test]
    fn a_container_gets_what_all_of_the_sandbox_get() {
        let container = confined(&json!({
            "Binds": ["HERE/repository:/work:ro"],
            "Mounts": [{ "Type": "bind", "Source": "HERE", "Target": "/all" }],
            "AutoRemove": true, "Init": true, "NetworkMode": "host", "PidsLimit": 0, "CapDrop": null, "Privileged": false,
            "IpcMode": "", "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
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
                        { "Type": "bind", "Source": "/seen/", "Target": "/all" },
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
            (json!({ "Mounts": ["/"] }), "type \"\""),
            (json!([]), "HostConfig is no object"),
        ] {
            let refused = confined(&host).unwrap_err();
            assert!(refused.contains(why), "{host}: {refused}");
        }
    }
}
