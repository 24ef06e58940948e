//! The environment as a whole: what is read, and which faults come when.

use super::*;
use crate::env::Variables;
use std::ffi::OsString;

const GOOD: [(&str, &str); 4] = [
    ("EXECUTOR_FRONTEND_URL", "https://sg.example.com/base"),
    ("EXECUTOR_FRONTEND_PASSWORD", "a-password-of-many-letters"),
    ("EXECUTOR_QUEUE_NAME", "batches"),
    ("EXECUTOR_RUNTIME", "oci"),
];
/// The runtime is the reference's choice.
pub(super) const NOT_NAMED: (&str, &str) = ("EXECUTOR_RUNTIME", "");

/// Reads an environment that is good but for `changes`.
pub(super) fn read(changes: &[(&str, &str)]) -> Result<(Connection, AgentSettings), Vec<String>> {
    let mut pairs: std::collections::BTreeMap<&str, &str> = GOOD.into_iter().collect();
    pairs.extend(changes.iter().copied());
    let pairs: Vec<_> = pairs.into_iter().collect();
    let variables = Variables::of(&pairs);
    read_for_run(EnvReader::new(&variables, "executor")).map_err(EnvErrors::into_texts)
}

/// What is wrong with it.
pub(super) fn faults(changes: &[(&str, &str)]) -> Vec<String> {
    read(changes).err().unwrap_or_default()
}

#[test]
fn an_empty_environment_has_four_faults() {
    let variables = Variables::default();
    let faults = read_for_run(EnvReader::new(&variables, "executor")).map(drop).unwrap_err();
    assert_eq!(
        faults.to_string(),
        "4 errors occurred:\
         \n\t* invalid value \"\" for EXECUTOR_FRONTEND_URL: no value supplied\
         \n\t* invalid value \"\" for EXECUTOR_FRONTEND_PASSWORD: no value supplied\
         \n\t* neither EXECUTOR_QUEUE_NAME or EXECUTOR_QUEUE_NAMES is set\
         \n\t* EXECUTOR_FRONTEND_URL must be in the format scheme://host (and optionally :port)"
    );
}

#[test]
fn up_needs_no_connection() {
    let variables = Variables::default();
    let settings = read_for_up(EnvReader::new(&variables, "executor")).unwrap();
    assert_eq!(settings.runtime.name, RuntimeName::Oci);
}

#[test]
fn faults_come_in_the_documented_order() {
    let faults = faults(&[
        // Ours, after all that is documented.
        ("EXECUTOR_RUNTIME", "chroot"),
        ("EXECUTOR_MAXIMUM_NUM_JOBS", "0"),
        // Documented, backwards.
        ("EXECUTOR_KUBERNETES_NODE_SELECTOR", "x"),
        ("EXECUTOR_FIRECRACKER_DISK_SPACE", "20X"),
        ("EXECUTOR_JOB_NUM_CPUS", "3"),
        ("EXECUTOR_USE_FIRECRACKER", "true"),
        ("EXECUTOR_KUBERNETES_NODE_TOLERATIONS", "x"),
        ("EXECUTOR_KUBERNETES_POD_ANTI_AFFINITY", "[{}]"),
        ("EXECUTOR_KUBERNETES_POD_AFFINITY", "[{}]"),
        ("KUBERNETES_JOB_VOLUME_TYPE", "x"),
        ("KUBERNETES_JOB_POD_ANNOTATIONS", "x"),
        ("KUBERNETES_JOB_ANNOTATIONS", "x"),
        ("KUBERNETES_ADDITIONAL_JOB_VOLUMES", "x"),
        ("KUBERNETES_ADDITIONAL_JOB_VOLUME_MOUNTS", "x"),
        ("EXECUTOR_KUBERNETES_NODE_REQUIRED_AFFINITY_MATCH_FIELDS", "x"),
        ("EXECUTOR_KUBERNETES_NODE_REQUIRED_AFFINITY_MATCH_EXPRESSIONS", "x"),
        ("EXECUTOR_DOCKER_ADDITIONAL_MOUNTS", "x"),
        ("EXECUTOR_DOCKER_AUTH_CONFIG", "x"),
        ("EXECUTOR_FRONTEND_URL", "x"),
        ("EXECUTOR_QUEUE_NAME", "x"),
        // While loading, in the table's order.
        ("KUBERNETES_KEEP_JOBS", "x"),
        ("EXECUTOR_MAX_ACTIVE_TIME", "x"),
        ("EXECUTOR_FRONTEND_PASSWORD", ""),
    ]);
    let starts = [
        "invalid value \"\" for EXECUTOR_FRONTEND_PASSWORD: ",
        "invalid duration \"x\" for EXECUTOR_MAX_ACTIVE_TIME: ",
        "invalid bool \"x\" for KUBERNETES_KEEP_JOBS: ",
        "EXECUTOR_QUEUE_NAME must be ",
        "EXECUTOR_FRONTEND_URL must be ",
        "invalid EXECUTOR_DOCKER_AUTH_CONFIG, ",
        "invalid EXECUTOR_DOCKER_ADDITIONAL_MOUNTS, ",
        "invalid EXECUTOR_KUBERNETES_NODE_REQUIRED_AFFINITY_MATCH_EXPRESSIONS, ",
        "invalid EXECUTOR_KUBERNETES_NODE_REQUIRED_AFFINITY_MATCH_FIELDS, ",
        "invalid KUBERNETES_JOB_MOUNTS, ",
        "invalid KUBERNETES_JOB_VOLUMES, ",
        "invalid KUBERNETES_JOB_ANNOTATIONS, ",
        "invalid KUBERNETES_JOB_POD_ANNOTATIONS, ",
        "invalid KUBERNETES_JOB_VOLUME_TYPE, ",
        "EXECUTOR_KUBERNETES_POD_AFFINITY must contain ",
        "EXECUTOR_KUBERNETES_POD_ANTI_AFFINITY must contain ",
        "invalid EXECUTOR_KUBERNETES_NODE_TOLERATIONS, ",
        "EXECUTOR_JOB_NUM_CPUS must be ",
        "invalid disk size provided for EXECUTOR_FIRECRACKER_DISK_SPACE: ",
        "EXECUTOR_KUBERNETES_NODE_SELECTOR must be ",
        "invalid int \"0\" for EXECUTOR_MAXIMUM_NUM_JOBS: ",
        "invalid value \"chroot\" for EXECUTOR_RUNTIME: ",
    ];
    for (fault, start) in faults.iter().zip(starts) {
        assert!(fault.starts_with(start), "{fault:?} begins with {start:?}");
    }
    assert_eq!(faults.len(), starts.len(), "{faults:#?}");
}

#[tokio::test]
async fn what_is_announced_is_no_release_and_what_is_told_to_ours_is() {
    let (connection, settings) = read(&[]).unwrap();
    let config = settings.config(connection, "host", PathBuf::from("/work"));
    assert_eq!(config.version, "0.0.0+dev");
    assert_eq!(telemetry(&config.tool_env).await.executor_version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn what_cannot_be_done_is_told_and_strictly_refused() {
    let never = ("EXECUTOR_MAX_NUM_JOBS", "8");
    let told = read(&[never]).unwrap().1.conflicts.warnings;
    assert_eq!(
        told,
        ["EXECUTOR_MAX_NUM_JOBS is set, but there never was such a variable: set EXECUTOR_MAXIMUM_NUM_JOBS"]
    );
    let refused = faults(&[never, ("EXECUTOR_STRICT", "true")]);
    assert_eq!(refused, [format!("refused under EXECUTOR_STRICT: {}", told[0])]);

    let weaker = read(&[NOT_NAMED]).unwrap().1.conflicts.warnings;
    assert!(weaker.len() == 1 && weaker[0].contains("weaker isolation"), "{weaker:?}");
    let strict = [NOT_NAMED, ("EXECUTOR_STRICT", "true")];
    assert_eq!(faults(&strict), [format!("refused under EXECUTOR_STRICT: {}", weaker[0])]);
    let variables = Variables::of(&strict);
    assert!(read_for_up(EnvReader::new(&variables, "executor")).is_ok(), "`up` takes nobody's place");

    let pod = [NOT_NAMED, ("KUBERNETES_SERVICE_HOST", ""), ("KUBERNETES_SERVICE_PORT", "")];
    let told = read(&pod).unwrap().1.conflicts.warnings;
    assert!(told.len() == 1 && told[0].starts_with("this is a Kubernetes pod, but "), "{told:?}");
}

#[test]
fn a_name_that_never_was_explains_what_is_missing() {
    let pairs = [("EXECUTOR_FRONTEND_PASSWORD", ""), ("EXECUTOR_FRONTEND_USERNAME", "x")];
    assert_eq!(
        faults(&pairs),
        [
            "invalid value \"\" for EXECUTOR_FRONTEND_PASSWORD: no value supplied",
            "EXECUTOR_FRONTEND_USERNAME is set, but there never was such a variable: unset it: \
             EXECUTOR_FRONTEND_PASSWORD alone is the secret",
        ]
    );
}

#[test]
fn who_registers_needs_no_shared_secret() {
    use secrecy::ExposeSecret;
    let (connection, _) =
        read(&[("EXECUTOR_FRONTEND_PASSWORD", ""), ("EXECUTOR_REGISTRATION_TOKEN", "x")]).unwrap();
    assert_eq!(connection.registration.as_ref().map(ExposeSecret::expose_secret), Some("x"));
    assert_eq!(connection.password.expose_secret(), "");
    let (connection, _) = read(&[]).unwrap();
    assert!(connection.registration.is_none() && !connection.password.expose_secret().is_empty());
}

#[test]
fn a_runtime_that_is_not_there_is_refused() {
    assert!(faults(&[("EXECUTOR_RUNTIME", "firecracker")])[0].contains("does not have yet"));
    assert!(faults(&[("EXECUTOR_RUNTIME", "chroot")])[0].contains("\"chroot\""));
    assert!(
        faults(&[NOT_NAMED, ("EXECUTOR_USE_FIRECRACKER", "true")])[0].contains("no runtime firecracker yet")
    );
    assert!(read(&[NOT_NAMED]).is_ok());
}

#[test]
fn supervisors_are_told_what_was_chosen() {
    let chosen = |pairs: &[(&str, &str)]| {
        let told = read(pairs).unwrap().1.runtime.chosen();
        let text = |(name, value): (String, Option<OsString>)| {
            format!("{name}={}", value.unwrap_or_default().display())
        };
        let is_ours =
            |text: &String| text.starts_with("EXECUTOR_RUNTIME=") || text.starts_with("DOCKER_HOST=");
        told.into_iter().map(text).filter(is_ours).collect::<Vec<_>>()
    };
    assert_eq!(chosen(&[("EXECUTOR_RUNTIME", "oci")]), ["EXECUTOR_RUNTIME=oci"]);
    let by_engine = [NOT_NAMED, ("EXECUTOR_USE_FIRECRACKER", "false"), ("DOCKER_HOST", "tcp://dind")];
    assert_eq!(chosen(&by_engine), ["EXECUTOR_RUNTIME=docker", "DOCKER_HOST=tcp://dind:2375"]);
}

#[test]
fn supervisors_mount_what_their_agent_has_decided_on() {
    let name = "EXECUTOR_DOCKER_ADDITIONAL_MOUNTS";
    let told = |mounts: &str, runtime: &str| {
        let settings = read(&[("EXECUTOR_RUNTIME", runtime), (name, mounts)]).unwrap().1;
        let all = settings.runtime.chosen().into_iter();
        { all }.find_map(|(variable, value)| (variable == name).then_some(value))
    };
    let (there, gone) = ("type=tmpfs,target=/t,tmpfs-size=1m", "type=bind,source=/nowhere,target=/x");
    assert_eq!(told(&format!("{gone};{there}"), "oci"), Some(Some(there.into())));
    assert_eq!(told(gone, "oci"), Some(None), "not even its agent's own");
    assert_eq!(told(gone, "docker"), None, "an engine makes them all");

    let variables =
        [GOOD.as_slice(), &[("EXECUTOR_RUNTIME", "oci"), (name, gone), ("EXECUTOR_STRICT", "true")]].concat();
    let variables = Variables::of(&variables);
    assert!(read_for_run(EnvReader::new(&variables, "executor")).is_err());
    let (_, settings) = read_for_supervisor(EnvReader::new(&variables, "executor")).unwrap();
    assert_eq!(settings.runtime.additional_mounts.len(), 1, "its steps are to fail");
}

#[test]
fn what_is_shown_of_a_configuration_has_no_secret() {
    let secret = "hunter2hunter2";
    let url = |host: &str| format!("http://jane:{secret}@{host}/?token={secret}");
    let volume = format!("type=volume,src=share,dst=/share,\"volume-opt=o=addr=10.0.0.1,password={secret}\"");
    // base64 of `jane:hunter2hunter2`
    let encoded = "amFuZTpodW50ZXIyaHVudGVyMg==";
    let auth = format!(r#"{{"auths": {{"r.example": {{"auth": "{encoded}"}}}}}}"#);
    let changes = [
        ("EXECUTOR_FRONTEND_URL", &*format!("https://jane:{secret}@sg.example.com/base?token={secret}")),
        ("EXECUTOR_FRONTEND_PASSWORD", &format!("{secret}{secret}")),
        ("EXECUTOR_DOCKER_AUTH_CONFIG", &auth),
        ("EXECUTOR_DOCKER_ADDITIONAL_MOUNTS", &volume),
        ("NODE_EXPORTER_URL", &url("node:9100")),
        ("DOCKER_REGISTRY_NODE_EXPORTER_URL", &url("registry:9999")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &url("collector:4318")),
        ("OTEL_EXPORTER_OTLP_HEADERS", &format!("authorization=Bearer {secret}")),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AZURE_CLIENT_SECRET", secret),
        ("HTTPS_PROXY", &url("proxy:3128")),
        ("HOME", "/home/executor"),
        ("NPM_TOKEN", secret),
    ];
    let (connection, settings) = read(&changes).unwrap();
    assert!(settings.docker_config.as_ref().unwrap().environment.iter().any(|(_, value)| value == secret));
    let environment = Variables::of(&changes);
    let options = {
        let proof = settings.runtime.docker.options(Path::new("/nowhere"), helper());
        format!("{proof:?}")
    };
    let settled = format!("{connection:?} {settings:?} {settings:#?} {environment:?}");
    let config = settings.config(connection, "agent-1", "/nowhere".into());
    let shown = format!("{settled} {options} {config:?} {config:#?}");
    for part in ["sg.example.com", "/home/executor/.docker/config.json"] {
        assert!(shown.contains(part), "{part} is no secret: {shown}");
    }
    for part in [secret, encoded] {
        assert!(!shown.contains(part), "{shown}");
    }
}
