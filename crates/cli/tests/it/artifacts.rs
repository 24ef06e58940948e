//! Files that a job leaves, from its step to the client's disk.

use crate::support::{system, text};
use std::fs;

const YAML: &str = "image: busybox
artifacts:
  - {name: app, path: out/app}
  - {name: reports, path: '**/*.xml'}
  - {name: none, path: nowhere, optional: true}
steps:
  - run: |
      mkdir -p out/deep && head -c 3000000 /dev/urandom > out/app && sha256sum out/app
      echo '<a/>' > a.xml; echo '<b/>' > out/deep/b.xml
      ln -s /etc/passwd link.xml; ln -s / out/root; mkfifo fifo.xml
";

#[test]
fn what_a_job_leaves_is_kept_and_saved() {
    let Some(mut system) = system("what_a_job_leaves_is_kept_and_saved") else { return };
    let _agent = system.agent();
    let job = system.dir.path().join("job.yaml");
    fs::write(&job, YAML).unwrap();
    let output = system.run(&["job", "run", "--file", &job.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let sum = String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap().to_owned();
    let id = system.newest()["id"].to_string();

    let listed = system.ok(&["job", "artifacts", &id, "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let files: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|file| format!("{} {}", file["name"].as_str().unwrap(), file["path"].as_str().unwrap()))
        .collect();
    assert_eq!(files, ["app out/app", "reports a.xml", "reports out/deep/b.xml"]);
    assert_eq!(listed[0]["sha256"], sum.as_str());

    let saved = system.dir.path().join("saved");
    let dir = saved.to_string_lossy().into_owned();
    system.ok(&["job", "artifacts", &id, "--all", "-o", &dir]);
    assert_eq!(fs::metadata(saved.join("app")).unwrap().len(), 3_000_000);
    assert_eq!(fs::read_to_string(saved.join("reports/out/deep/b.xml")).unwrap(), "<b/>\n");
    let refused = system.refused(&["job", "artifacts", &id, "--download", "app", "-o", &dir]);
    assert!(refused.contains("is there already"), "{refused}");
    fs::write(saved.join("app"), "mine").unwrap();
    system.ok(&["job", "artifacts", &id, "--download", "app", "-o", &dir, "--force"]);
    assert_eq!(fs::metadata(saved.join("app")).unwrap().len(), 3_000_000);
    let refused = system.refused(&["job", "artifacts", &id, "--download", "none", "-o", &dir]);
    assert!(refused.contains("has left no artifact \"none\""), "{refused}");
}

#[test]
fn what_is_missing_is_the_jobs_fault_and_a_failed_step_leaves_what_it_has() {
    let test = "what_is_missing_is_the_jobs_fault_and_a_failed_step_leaves_what_it_has";
    let Some(mut system) = system(test) else { return };
    let _agent = system.agent();
    let run = |artifact: &str, script: &str| {
        let output = system.run(&[
            "job",
            "run",
            "--image",
            "busybox",
            "--artifact",
            artifact,
            "--",
            "sh",
            "-c",
            script,
        ]);
        (output.status.code(), system.newest(), text(&output))
    };
    let (code, job, told) = run("report=out/report", "ln -s /etc/passwd report");
    assert_eq!((code, job["reason"].as_str()), (Some(1), Some("artifact_missing")), "{told}");
    assert_eq!(job["end"]["artifact"], "report");
    assert_eq!(job["blame"], "job");
    let (code, job, told) = run("odd=out/*", r#"mkdir -p out/sub; touch "out/$(printf 'a\377')""#);
    assert_eq!((code, job["reason"].as_str()), (Some(1), Some("artifact_missing")), "{told}");
    let message = job["message"].as_str().unwrap();
    assert!(
        message.contains("no file \"out/*\" that can be kept") && message.ends_with(", and 1 more"),
        "{message}"
    );
    assert!(told.contains(r#""out/a\xFF" is left out: its name is not UTF-8"#), "{told}");
    assert!(told.contains(r#""out/sub" is left out: it is a directory"#), "{told}");
    let (code, job, told) = run("report.txt", "echo why > report.txt; exit 3");
    assert_eq!((code, job["reason"].as_str()), (Some(1), Some("exit_code")), "{told}");
    let id = job["id"].to_string();
    let dir = system.dir.path().join("saved").to_string_lossy().into_owned();
    system.ok(&["job", "artifacts", &id, "--download", "report.txt", "-o", &dir]);
    assert_eq!(fs::read_to_string(format!("{dir}/report.txt")).unwrap(), "why\n");
}
