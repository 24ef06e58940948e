//! Hosts and configurations with a fault each.

use super::{Examined, LIMIT, Patient, seen};
use crate::support::text;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use testkit::SmallDisk;

fn on_path(program: &str) -> Option<std::path::PathBuf> {
    let places = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    places.iter().map(|place| Path::new(place).join(program)).find(|path| path.exists())
}

/// A patient whose PATH leads to nothing but these programs. `None` when one of them is missing here.
fn with_programs(test: &str, programs: &[&str]) -> Option<Patient> {
    let patient = Patient::new();
    let bin = patient.path("bin");
    std::fs::create_dir(&bin).unwrap();
    for program in programs {
        let Some(path) = on_path(program) else {
            testkit::missing_part(test, program);
            return None;
        };
        symlink(path, bin.join(program)).unwrap();
    }
    let bin = bin.display().to_string();
    Some(patient.with("PATH", bin))
}

#[test]
fn no_mkfs_means_no_disk_limits() {
    let Some(patient) = with_programs("no_mkfs_means_no_disk_limits", &["git", "crun"]) else { return };
    let examined = patient.examined();
    let finding = examined.one("disk.limit", "warning");
    assert!(seen(finding).contains("mkfs.ext4"), "{finding}");
    examined.one("git.version", "ok");
}

#[test]
fn without_programs_nothing_runs() {
    let patient = with_programs("without_programs_nothing_runs", &[]).unwrap();
    let examined = patient.examined();
    assert_eq!(examined.code(), Some(1));
    examined.one("git.version", "fatal");
    let finding = examined.one("oci.runtime", "fatal");
    assert!(finding["remedy"].as_str().unwrap().contains("crun"), "{finding}");
}

#[test]
fn a_runtime_that_hangs_is_waited_for_within_the_limit() {
    let patient = with_programs("a_runtime_that_hangs", &["git", "sleep"]).unwrap();
    let crun = patient.path("bin/crun");
    std::fs::write(&crun, "#!/bin/sh\nexec sleep 60\n").unwrap();
    std::fs::set_permissions(&crun, std::fs::Permissions::from_mode(0o755)).unwrap();
    let examined = patient.examined();
    let finding = examined.one("oci.runtime", "fatal");
    assert!(seen(finding).contains("did not end within"), "{finding}");
    examined.one("oci.overlay", "ok");
    assert!(examined.took < LIMIT, "{:?}", examined.took);
}

/// How bad it is, what was seen and what helps where the data directory can't show files with other owners.
fn without_users(wanted: &str) -> [String; 3] {
    let patient = Patient::new().with("EXECUTOR_USER_NAMESPACE", wanted);
    std::fs::create_dir(patient.path("data")).unwrap();
    let program = patient.command(&["--json"]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount -t ramfs none \"$EXECUTOR_DATA_DIR\" && exec \"$@\"", "sh"]);
    command
        .arg(program.get_program())
        .args(program.get_args())
        .env_clear()
        .envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let examined = Examined::of(&mut command);
    let found = examined.found("oci.users");
    assert_eq!(found.len(), 1, "{found:?}");
    ["severity", "seen", "remedy"].map(|field| found[0][field].as_str().unwrap_or_default().to_owned())
}

#[test]
fn where_jobs_can_not_have_users_of_their_own_it_is_told_why() {
    if !testkit::have_root() {
        return testkit::missing_part("where_jobs_can_not_have_users_of_their_own_it_is_told_why", "root");
    }
    for (wanted, severity) in [("", "warning"), ("true", "fatal")] {
        let [told, seen, remedy] = without_users(wanted);
        assert_eq!(told, severity, "{wanted:?}");
        assert!(seen.contains("root on the host") && seen.contains("file system of the"), "{seen}");
        assert!(remedy.contains("ext4") && remedy.contains("EXECUTOR_USER_NAMESPACE=false"), "{remedy}");
    }
    let [told, seen, _] = without_users("false");
    assert_eq!((told.as_str(), seen.contains("as is wanted")), ("info", true), "{seen}");
}

#[test]
fn every_fault_of_the_configuration_is_told_and_the_rest_is_looked_at() {
    let patient = Patient::new()
        .with("EXECUTOR_FRONTEND_URL", "sourcegraph-frontend:30080")
        .with("EXECUTOR_FRONTEND_PASSWORD", "")
        .with("EXECUTOR_QUEUE_NAME", "bulk")
        .with("EXECUTOR_MAXIMUM_NUM_JOBS", "many")
        .with("EXECUTOR_MAX_NUM_JOBS", "8")
        .with("EXECUTOR_JOB_MEMROY", "8G")
        .with("SRC_LOG_LEVEL", "loud");
    let examined = patient.examined();
    assert_eq!(examined.code(), Some(1));
    assert_eq!(examined.found("config.variables").len(), 5, "{}", examined.text());
    let all = examined.text();
    for part in
        ["perhaps http://sourcegraph-frontend:30080 is meant", "SRC_LOG_LEVEL", "'batches, codeintel'"]
    {
        assert!(all.contains(part), "{part}: {all}");
    }
    let never = examined.one("config.never", "warning");
    assert!(never["remedy"].as_str().unwrap().contains("EXECUTOR_MAXIMUM_NUM_JOBS"), "{never}");
    let unknown = examined.one("config.unknown", "warning");
    assert!(unknown["remedy"].as_str().unwrap().contains("EXECUTOR_JOB_MEMORY"), "{unknown}");
    examined.one("git.version", "ok");
    assert_eq!(examined.found("frontend.answer").len(), 0, "there is nobody to call");
}

#[test]
fn nothing_is_set_at_all_and_the_host_is_looked_at() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_executor"));
    command
        .args(["doctor", "--json"])
        .env_clear()
        .env("EXECUTOR_DOCKER_REGISTRY_MIRROR_URL", "http://127.0.0.1:1");
    let examined = super::Examined::of(&mut command);
    assert_eq!(examined.found("config.variables").len(), 4, "{}", examined.text());
    examined.one("kernel.seccomp", "ok");
}

#[test]
fn a_small_disk_is_below_its_floor() {
    let test = "a_small_disk_is_below_its_floor";
    let Some(disk) = SmallDisk::mount(test, 64 << 20) else { return };
    let data = disk.path().join("data");
    let patient = Patient::new().with("EXECUTOR_DATA_DIR", data.display().to_string());
    let examined = patient.examined();
    examined.one("disk.room", "ok");
    examined.one("disk.jobs", "warning");
    let examined = patient.with("EXECUTOR_DISK_FLOOR", "1G").examined();
    let finding = examined.one("disk.room", "fatal");
    assert!(seen(finding).contains("1 GiB") && seen(finding).contains("data"), "{finding}");
    assert!(examined.fatal().contains("disk.room") && examined.code() == Some(1));
    assert!(!data.exists(), "it was looked at, not made");
}

#[test]
fn a_malformed_docker_configuration_keeps_an_agent_from_starting() {
    let patient = Patient::new();
    let dir = patient.path("home/.docker");
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("config.json");
    std::fs::write(&file, "{\"auths\": {\"a.test\": hunter2").unwrap();
    let examined = patient.examined();
    let finding = examined.one("registry.config", "fatal");
    assert!(seen(finding).contains("config.json"), "{finding}");
    assert!(!examined.text().contains("hunter2"));

    std::fs::write(&file, "{\"credsStore\": \"nosuch\"}").unwrap();
    let examined = patient.examined();
    examined.one("registry.config", "ok");
    let finding = examined.one("registry.helper", "warning");
    assert!(seen(finding).contains("docker-credential-nosuch"), "{finding}");
}

#[test]
fn credentials_in_urls_are_not_shown() {
    let patient = Patient::new()
        .with("EXECUTOR_FRONTEND_URL", "http://jane:hunter2@127.0.0.1:1/base?key=hunter2#hunter2")
        .with("HTTPS_PROXY", "http://jane:hunter2@127.0.0.1:1")
        .with("NODE_EXPORTER_URL", "http://jane:hunter2@127.0.0.1:1/metrics");
    let examined = patient.examined();
    assert!(!examined.text().contains("hunter2"), "{}", examined.text());
    examined.one("config.exporter", "warning");
    let output = patient.command(&[]).output().unwrap();
    assert!(!text(&output).contains("hunter2"), "{}", text(&output));
}

#[test]
fn strictly_a_warning_is_a_fault() {
    let Some(patient) = with_programs("strictly_a_warning_is_a_fault", &["git", "crun"]) else { return };
    let strict = patient.command(&["--strict", "--json"]).output().unwrap();
    assert_eq!(strict.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&strict.stdout).unwrap();
    assert_eq!((&json["strict"], &json["healthy"]), (&true.into(), &false.into()));
}
