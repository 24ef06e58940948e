use super::*;
use crate::oci::Helper;
use serde_json::{Value, json};

fn options() -> DockerOptions {
    DockerOptions::new("/state", "/scratch", Helper::new("/bin/true", vec![]))
}

fn step() -> Step {
    Step {
        image: "alpine:3".into(),
        argv: vec!["/bin/sh".into(), "/data/.sourcegraph-executor/7.0_r@c.sh".into()],
        cwd: "/data/sub".into(),
        env: vec!["A=b".into()],
        ..Step::default()
    }
}

fn made(limits: Limits, limits_disk: bool, options: &DockerOptions) -> Value {
    made_for(Filter::Docker("{}"), limits, limits_disk, options)
}

fn made_for(filter: Filter<'_>, limits: Limits, limits_disk: bool, options: &DockerOptions) -> Value {
    let step = step();
    let plan = Plan {
        step: &step,
        image: "sha256:abc",
        hostname: "job-7",
        workspace: "/host/workspace-7-91",
        certificates: options.certificates.as_deref().and_then(|bundle| bundle.to_str()),
        startup_script: options.startup_script.as_deref().and_then(|script| script.to_str()),
        limits: &limits,
        labels: [("executor.owner", "o".to_owned())].into(),
        limits_disk,
        filter,
        options,
    };
    serde_json::to_value(plan.container()).unwrap()
}

/// `docker run --rm --cpus 4 --memory 12G -v /host/workspace-7-91:/data -w /data/sub -e A=b
/// --entrypoint /bin/sh alpine:3 /data/.sourcegraph-executor/7.0_r@c.sh`, and what keeps it in.
#[test]
fn the_documented_command_line_and_what_it_leaves_open() {
    let limits = Limits { cpus: Some(4.0), memory: Some(12 << 30), pids: Some(4096), disk: Some(20 << 30) };
    let container = made(limits, false, &options());
    let expected = json!({
        "Hostname": "job-7",
        "Image": "sha256:abc",
        "Entrypoint": ["/bin/sh"],
        "Cmd": ["/data/.sourcegraph-executor/7.0_r@c.sh"],
        "WorkingDir": "/data/sub",
        "Env": ["A=b"],
        "Labels": { "executor.owner": "o" },
        "AttachStdout": true,
        "AttachStderr": true,
        "Healthcheck": { "Test": ["NONE"] },
        "HostConfig": {
            "Mounts": [{ "Type": "bind", "Source": "/host/workspace-7-91", "Target": "/data" }],
            "CpuPeriod": 100_000,
            "CpuQuota": 400_000,
            "Memory": 12_884_901_888_u64,
            "MemorySwap": 12_884_901_888_u64,
            "PidsLimit": 4096,
            "OomScoreAdj": 1_000,
            "CapDrop": ["ALL"],
            "CapAdd": ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
                       "CAP_SETUID", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT"],
            "SecurityOpt": ["no-new-privileges", "seccomp={}"],
            "MaskedPaths": profile::MASKED,
            "ReadonlyPaths": profile::READ_ONLY,
            "Ulimits": [{ "Name": "core", "Soft": 0, "Hard": 0 }],
            "LogConfig": { "Type": "none" },
        },
    });
    assert_eq!(container, expected);
}

#[test]
fn what_is_not_limited_is_not_mentioned() {
    let container = made(Limits::default(), true, &options());
    let host = container["HostConfig"].as_object().unwrap();
    for name in ["CpuPeriod", "CpuQuota", "Memory", "MemorySwap", "PidsLimit", "StorageOpt", "ExtraHosts"] {
        assert!(!host.contains_key(name), "{name}");
    }
}

#[test]
fn what_the_operator_asks_for() {
    let mut options = options();
    options.add_host_gateway = true;
    options.network = Some("none".into());
    options.oci_runtime = Some("runsc".into());
    options.additional_mounts = vec![Mount::bind("/certs", "/etc/ssl/certs")];
    let container = made(Limits { disk: Some(1 << 30), ..Limits::default() }, true, &options);
    let host = &container["HostConfig"];
    assert_eq!(host["ExtraHosts"], json!(["host.docker.internal:host-gateway"]));
    assert_eq!((&host["NetworkMode"], &host["Runtime"]), (&json!("none"), &json!("runsc")));
    assert_eq!(host["StorageOpt"], json!({ "size": "1073741824" }));
    assert_eq!(host["Mounts"][0]["Target"], "/etc/ssl/certs");
    assert_eq!(host["Mounts"][1]["Target"], "/data");
}

#[test]
fn rights_are_the_operators_choice() {
    let mut options = options();
    options.rights = Rights::Engine;
    let engine = made(Limits::default(), false, &options);
    for name in ["CapDrop", "CapAdd", "MaskedPaths", "ReadonlyPaths"] {
        assert!(engine["HostConfig"].get(name).is_none(), "{name}");
    }
    assert_eq!(engine["HostConfig"]["SecurityOpt"], json!(["no-new-privileges"]));
    options.rights = Rights::None;
    let none = made(Limits::default(), false, &options);
    assert_eq!(none["HostConfig"]["CapDrop"], json!(["ALL"]));
    assert!(none["HostConfig"].get("CapAdd").is_none());
}

#[test]
fn podman_is_told_the_same_in_its_own_words() {
    let mut options = options();
    let podman = |options: &DockerOptions| {
        made_for(Filter::Podman("/state/seccomp.json"), Limits::default(), false, options)["HostConfig"]
            .clone()
    };
    let few = podman(&options);
    assert!(
        few.get("CapAdd").is_none() && few["CapDrop"].as_array().unwrap().contains(&json!("CAP_NET_RAW"))
    );
    let security = few["SecurityOpt"].as_array().unwrap();
    assert_eq!(security[..2], [json!("no-new-privileges"), json!("seccomp=/state/seccomp.json")]);
    assert!(security[2].as_str().unwrap().starts_with("mask=/proc/acpi:/proc/"));
    options.rights = Rights::None;
    assert_eq!(podman(&options)["CapDrop"], json!(["ALL"]));
    options.rights = Rights::Engine;
    assert_eq!(podman(&options)["SecurityOpt"], json!(["no-new-privileges"]));
}

#[test]
fn certificates_are_there_when_they_are_wanted() {
    let mut options = options();
    assert!(!made(Limits::default(), false, &options).to_string().contains("certificates.pem"));
    options.certificates = Some("/host/workspace-7-91/certificates.pem".into());
    let with = made(Limits::default(), false, &options);
    let mounts = with["HostConfig"]["Mounts"].as_array().unwrap();
    assert_eq!(
        mounts[1],
        json!({ "Type": "bind", "Source": "/host/workspace-7-91/certificates.pem",
                "Target": "/etc/executor/certificates.pem", "ReadOnly": true })
    );
    let env = with["Env"].as_array().unwrap();
    assert!(
        env.contains(&json!("SSL_CERT_FILE=/etc/executor/certificates.pem")) && env.contains(&json!("A=b"))
    );
}
