//! Files that a job brings along, from the client's disk to the step.

use crate::support::{System, system, text};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Bytes that no text has and no compression shortens.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

fn write(system: &System, name: &str, content: &[u8]) -> PathBuf {
    let path = system.dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// What `sha256sum` prints of these files.
fn sums(files: &[(&str, &[u8])]) -> String {
    let lines: Vec<String> =
        files.iter().map(|(path, content)| format!("{}  {path}\n", sha256(content))).collect();
    lines.concat()
}

fn uploads(system: &System) -> usize {
    std::fs::read_dir(system.server_dir().join("files")).unwrap().count()
}

#[test]
fn small_and_large_files_reach_the_step_as_they_are() {
    let Some(mut system) = system("small_and_large_files_reach_the_step_as_they_are") else { return };
    let _agent = system.agent();
    let (large, binary) = (noise(3 << 20), noise(100));
    write(&system, "large.bin", &large);
    write(&system, "small.bin", &binary);
    let dated = write(&system, "script.sh", "echo größer\n".as_bytes());
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(981_173_106);
    std::fs::File::options().write(true).open(dated).unwrap().set_modified(changed).unwrap();
    let yaml = "image: busybox\nfiles:\n  - {path: in/line.txt, content: \"one\\ntwo\\n\"}\n  - {path: script.sh, from: \
                script.sh}\n  - {path: in/deep/large.bin, from: ./large.bin}\n  - {path: small.bin, from: \
                small.bin}\nsteps:\n  - run: sha256sum in/line.txt script.sh in/deep/large.bin small.bin\n  - run: \
                ./script.sh; stat -c %Y script.sh\n";
    let job = write(&system, "job.yaml", yaml.as_bytes());
    let output = system.run(&["job", "run", "--file", &job.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let expected = sums(&[
        ("in/line.txt", b"one\ntwo\n"),
        ("script.sh", "echo größer\n".as_bytes()),
        ("in/deep/large.bin", &large),
        ("small.bin", &binary),
    ]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected + "größer\n981173106\n");
    assert_eq!(uploads(&system), 2, "texts need no upload");
}

#[test]
fn files_can_be_copied_by_options_over_those_of_a_repository() {
    let Some(mut system) = system("files_can_be_copied_by_options_over_those_of_a_repository") else {
        return;
    };
    let _agent = system.agent();
    let (path, _) = system.git_repository();
    system.ok(&["repo", "add", "app", &path]);
    let large = noise(1 << 20);
    let from = write(&system, "large.bin", &large).to_string_lossy().into_owned();
    let other = write(&system, "other.txt", b"other\n").to_string_lossy().into_owned();
    let copies =
        ["--copy", &from, "--copy", &format!("{from}:again/l"), "--copy", &format!("{other}:sub/file.txt")];
    let run = ["job", "run", "--repo", "app", "--image", "busybox"];
    let command = ["--", "sha256sum", "large.bin", "again/l", "sub/file.txt"];
    let output = system.run(&[&run[..], &copies, &command].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let expected = sums(&[("large.bin", &large), ("again/l", &large), ("sub/file.txt", b"other\n")]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn files_that_were_uploaded_by_themselves_are_brought_by_jobs_that_name_them() {
    let test = "files_that_were_uploaded_by_themselves_are_brought_by_jobs_that_name_them";
    let Some(mut system) = system(test) else { return };
    let _agent = system.agent();
    let shown = |path: PathBuf| path.to_string_lossy().into_owned();
    let dated = write(&system, "dated.bin", b"of long ago\n");
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(981_173_106);
    std::fs::File::options().write(true).open(&dated).unwrap().set_modified(changed).unwrap();
    let (dated, other) = (shown(dated), shown(write(&system, "other.txt", b"other\n")));
    let told = system.refused(&["job", "upload", &dated, "/no/such/file"]);
    assert!(told.contains("/no/such/file") && uploads(&system) == 0, "all are looked at first: {told}");
    assert!(system.refused(&["job", "upload"]).contains("<FILE>"));

    let ids = system.ok(&["job", "upload", &dated, &other]);
    let ids: Vec<&str> = ids.lines().collect();
    assert_eq!((ids.len(), uploads(&system)), (2, 2), "{ids:?}");
    let job = serde_json::json!({
        "files": [{"path": "in/dated", "upload": ids[0]}, {"path": "in/other", "upload": ids[1]}],
        "steps": [{"image": "busybox", "run": "cat in/dated in/other; stat -c %Y in/dated"}],
    });
    let jobs = shown(write(&system, "jobs.ndjson", job.to_string().as_bytes()));
    let id = system.ok(&["job", "submit", &jobs]).trim().to_owned();
    system.wait_for_state(&id, "completed");
    let log = system.ok(&["job", "logs", &id]);
    assert!(log.contains("of long ago\nother\n") && log.contains("\n981173106\n"), "{log}");
}

#[test]
fn a_file_that_can_not_be_brought_along_is_refused_before_anything_is_sent() {
    let Some(system) = system("a_file_that_can_not_be_brought_along_is_refused_before_anything_is_sent")
    else {
        return;
    };
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    let small = shown(&write(&system, "small", b"x"));
    let binary = shown(&write(&system, "binary", &noise(100)));
    let large = write(&system, "large", b"");
    std::fs::File::options().write(true).open(&large).unwrap().set_len((256 << 20) + 1).unwrap();
    let dir = shown(system.dir.path());
    for (copies, parts) in [
        (vec!["/no/such/file".to_owned()], vec!["/no/such/file", "can't be read"]),
        (vec![format!("{small}:../x")], vec!["../x", "workspace"]),
        (vec![format!("{binary}:/etc/x")], vec!["/etc/x", "workspace"]),
        (vec![format!("{binary}:a/../../x")], vec!["a/../../x", "workspace"]),
        (vec![format!("{small}:a"), format!("{binary}:a")], vec!["\"a\"", "keep one"]),
        (vec![format!("{binary}:a"), format!("{small}:a/b")], vec!["\"a/b\"", "\"a\""]),
        (vec![shown(&large)], vec!["268435457 bytes", "268435456"]),
        (vec![dir], vec!["not a regular file"]),
    ] {
        let copies: Vec<&str> = copies.iter().flat_map(|copy| ["--copy", copy]).collect();
        let said =
            system.refused(&[&["job", "run", "--image", "busybox"], &copies[..], &["--", "true"]].concat());
        for part in parts {
            assert!(said.contains(part), "{part:?} in {said}");
        }
    }
    let job =
        write(&system, "job.yaml", b"image: a\nfiles: [{path: x, from: none.bin}]\nsteps: [{run: x}]\n");
    let said = system.refused(&["job", "run", "--file", &job.to_string_lossy()]);
    assert!(said.contains("none.bin can't be read"), "{said}");
    assert_eq!(uploads(&system), 0, "something was sent all the same");
}

#[test]
fn a_job_that_waits_keeps_its_files_over_a_restart_of_the_server() {
    let Some(mut system) = system("a_job_that_waits_keeps_its_files_over_a_restart_of_the_server") else {
        return;
    };
    let binary = noise(200_000);
    let from = write(&system, "data.bin", &binary);
    let copy = from.to_string_lossy();
    let id = system.ok(&[
        "job",
        "run",
        "--detach",
        "--image",
        "busybox",
        "--copy",
        &copy,
        "--",
        "sha256sum",
        "data.bin",
    ]);
    std::fs::remove_file(&from).unwrap();
    system.restart_server();
    let _agent = system.agent();
    let id = id.trim();
    system.wait_for_state(id, "completed");
    assert!(system.ok(&["job", "logs", id]).contains(&sums(&[("data.bin", &binary)])));
}
