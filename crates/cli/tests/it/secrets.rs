//! A secret's value reaches no log and no disk of ours, in whatever form it is printed.

use crate::support::{GATE, SOON, files_below, system, text, told, wait};
use std::path::{Path, PathBuf};
use std::process::Stdio;

const VALUE: &str = "s3cr3t/Value+With&Odd chars'42";

#[test]
fn a_secret_is_redacted_in_every_form() {
    let Some(mut system) = system("a_secret_is_redacted_in_every_form") else { return };
    let agent = system.agent();
    let url_encoded = "s3cr3t%2FValue%2BWith%26Odd%20chars%2742";
    let script = format!(
        "set +x\n\
         [ ${{#TOKEN}} = {} ] && echo the step has it\n\
         echo \"plain <$TOKEN>\"\n\
         echo \"error <$TOKEN>\" >&2\n\
         {GATE}\n\
         printf 'split <%s' \"$(echo \"$TOKEN\" | cut -c1-9)\"; sleep 1; printf '%s>\\n' \"$(echo \"$TOKEN\" | cut -c10-)\"\n\
         printf '%s' \"$TOKEN\" | base64 | sed 's/^/base64 </; s/$/>/'\n\
         printf 'user:%s' \"$TOKEN\" | base64 | sed 's/^/aligned <//'\n\
         echo 'url <{}>' | sed \"s/XX/%/g\"\n\
         {GATE}\n\
         set -x; : \"$TOKEN\"\n",
        VALUE.len(),
        url_encoded.replace('%', "XX"),
    )
    .replace("<//'", "</'");
    let client = system
        .executor(&["job", "run", "--image", "busybox", "--secret", "TOKEN", "--step", &script])
        .env("TOKEN", VALUE)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // An unfinished line is shown after a moment, and then torn by what the other stream says: the two may
    // not speak at once.
    for last in ["error <", "url <"] {
        wait(SOON, last, || text(&system.run(&["job", "logs", "1"])).contains(last).then_some(()));
        system.open_gates(&agent);
    }
    let output = client.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains("the step has it"), "{}", text(&output));
    for form in ["plain", "split", "base64", "url"] {
        let expect = format!("{form} <${{{{ secrets.TOKEN }}}}>");
        assert!(printed.contains(&expect), "{expect} in {}", text(&output));
    }
    let everything = text(&output);
    for leak in [VALUE, "s3cr3t", url_encoded, "czNjcjN0", "MzY3IzdC9"] {
        assert!(!everything.contains(leak), "{leak} in {everything}");
    }
    agent.stop();
    assert_eq!(files_holding(system.agent_dir().as_ref(), VALUE.as_bytes()), Vec::<PathBuf>::new());
    assert_eq!(files_holding(&system.server_dir(), VALUE.as_bytes()), Vec::<PathBuf>::new());
}

#[test]
fn a_kept_secret_reaches_the_step_that_asks_and_no_log_or_disk() {
    let Some(mut system) = system("a_kept_secret_reaches_the_step_that_asks_and_no_log_or_disk") else {
        return;
    };
    let agent = system.agent();
    let set = |args: &[&str], input: &str| {
        let args = [&["secret", "set"], args].concat();
        told(system.executor(&args), input)
    };
    let output = set(&["TOKEN"], &format!("{VALUE}\n"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "TOKEN is kept for batches jobs of everybody\n", "{}", text(&output));
    // u:hunter2-of-the-registry
    let auth = r#"{"auths": {"registry.invalid": {"auth": "dTpodW50ZXIyLW9mLXRoZS1yZWdpc3RyeQ=="}}}"#;
    let file = system.dir.path().join("auth.json");
    std::fs::write(&file, auth).unwrap();
    assert!(set(&["DOCKER_AUTH_CONFIG", "--file", &file.to_string_lossy()], "").status.success());
    for (args, input, refusal) in [
        (&["TOKEN=x"][..], "", "may not be on the command line"),
        (&["token"], "x", "capital letters"),
        (&["EMPTY"], "\n", "is empty"),
        (&["DOCKER_AUTH_CONFIG"], r#"{"credsStore": "pass"}"#, "uses credsStore"),
        (&["TOKEN", "--scope", "codeintel", "--namespace", "user:ann"], "x", "codeintel are global"),
    ] {
        let refused = set(args, input);
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
        assert!(text(&refused).contains(refusal), "{}", text(&refused));
    }
    let listed = system.ok(&["secret", "list"]);
    assert!(listed.contains("TOKEN") && listed.contains("root") && !listed.contains("s3cr3t"), "{listed}");

    // Only the second step asks; none is given logins.
    let yaml = format!(
        "image: busybox\nsteps:\n  - run: echo \"first <$TOKEN>\"; env | grep -c DOCKER_AUTH || true\n  - run: |\n      [ ${{#TOKEN}} = {} ] && \
         echo the step has it\n      echo \"plain <$TOKEN>\"; printf '%s' \"$TOKEN\" | base64\n      echo {}\n    storedSecrets: \
         [TOKEN]\n",
        VALUE.len(),
        "dTpodW50ZXIyLW9mLXRoZS1yZWdpc3RyeQ=="
    );
    let job = system.dir.path().join("job.yaml");
    std::fs::write(&job, yaml).unwrap();
    let output = system.run(&["job", "run", "--file", &job.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let printed = String::from_utf8_lossy(&output.stdout);
    for line in ["first <>", "0", "the step has it", "plain <${{ secrets.TOKEN }}>"] {
        assert!(printed.lines().any(|printed| printed == line), "{line} in {}", text(&output));
    }
    let everything = text(&output) + &system.ok(&["job", "logs", "1"]);
    for leak in ["s3cr3t", "czNjcjN0", "hunter2", "dTpodW50"] {
        assert!(!everything.contains(leak), "{leak} in {everything}");
    }
    let accesses = system.ok(&["secret", "log", "TOKEN"]);
    assert!(accesses.contains("agent1-") && accesses.contains("global"), "{accesses}");

    // A new key, which the server takes up as it runs.
    let data = system.server_dir();
    let rotated = system.ok(&["server", "rotate-key", "--data-dir", &data.to_string_lossy()]);
    assert!(rotated.starts_with("key k-") && rotated.contains("comes first in"), "{rotated}");
    let output = system.run(&[
        "job",
        "run",
        "--image",
        "busybox",
        "--stored-secret",
        "TOKEN",
        "--",
        "sh",
        "-c",
        "echo ${#TOKEN}",
    ]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{}\n", VALUE.len()), "{}", text(&output));

    // Who had it is known after it is gone, by its key and by the id that its deletion tells.
    let deleted = system.ok(&["secret", "delete", "TOKEN"]);
    let (kept, id) = deleted.trim_end().rsplit_once("`executor secret log ").unwrap();
    assert!(kept.starts_with("TOKEN is kept no more"), "{deleted}");
    for which in ["TOKEN", id.trim_end_matches('`')] {
        let accesses = system.ok(&["secret", "log", which]);
        assert!(accesses.contains("agent1-"), "{which}: {accesses}");
    }
    assert!(system.ok(&["secret", "log", "TOKEN"]).starts_with("TOKEN was deleted"));
    assert!(system.refused(&["secret", "log", "NEVER_SET"]).contains("there is no secret NEVER_SET"));
    let refused =
        system.refused(&["job", "run", "--image", "busybox", "--stored-secret", "TOKEN", "--", "true"]);
    assert!(refused.contains("no secret TOKEN is kept for batches jobs of global"), "{refused}");
    agent.stop();
    for dir in [system.server_dir(), PathBuf::from(system.agent_dir())] {
        for secret in [VALUE, "hunter2-of-the-registry", "dTpodW50ZXIyLW9mLXRoZS1yZWdpc3RyeQ=="] {
            // The job's script, which this test wrote into it, is in the database.
            let of_script = secret.starts_with("dTp");
            assert!(
                of_script || files_holding(&dir, secret.as_bytes()).is_empty(),
                "{secret} in {}",
                dir.display()
            );
        }
    }
}

#[test]
fn a_secret_is_in_no_answer_and_no_argument() {
    let Some(mut system) = system("a_secret_is_in_no_answer_and_no_argument") else { return };
    let _agent = system.agent();
    let args = [
        "job",
        "run",
        "--detach",
        "--image",
        "busybox",
        "--secret",
        "TOKEN",
        "--step",
        "echo begun; sleep 3",
    ];
    let output = system.executor(&args).env("TOKEN", VALUE).output().unwrap();
    let id = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    system.wait_for_log(&id, "begun");
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!contains(&line, VALUE.as_bytes()), "in the arguments of process {:?}", entry.file_name());
    }
    assert!(!system.ok(&["job", "show", &id, "--json"]).contains("s3cr3t"));
    let refused = system.refused(&["job", "run", "--image", "busybox", "--secret", "TOKEN=x", "--", "true"]);
    assert!(refused.contains("export TOKEN"), "{refused}");
}

#[test]
fn a_secret_is_in_no_spool_while_the_job_runs() {
    let Some(mut system) = system("a_secret_is_in_no_spool_while_the_job_runs") else { return };
    let agent = system.agent();
    // Much follows the secret, so that it is not held back any more.
    let script = format!(
        "set +x; echo \"<$TOKEN>\"; echo \"<$TOKEN>\" >&2\n\
         head -c 200000 /dev/zero | tr '\\0' x | fold; echo begun; {GATE}"
    );
    let args = ["job", "run", "--detach", "--image", "busybox", "--secret", "TOKEN", "--step", &script];
    let output = system.executor(&args).env("TOKEN", VALUE).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let id = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    system.wait_for_log(&id, "begun");
    let processes = system.supervisor_of(&id).into_iter().chain([agent.pid()]);
    for pid in processes.clone().chain([system.server.pid()]) {
        assert_eq!(core_limits(pid), ["0", "0"], "a core dump of {pid} would hold it");
    }
    let open: Vec<_> = processes.flat_map(|pid| open_files(pid, &system.agent_dir())).collect();
    let holding = |needle: &str| -> Vec<&String> {
        let held = open.iter().filter(|(_, bytes)| contains(bytes, needle.as_bytes()));
        held.map(|(path, _)| path).collect()
    };
    let all: Vec<_> = open.iter().map(|(path, _)| path).collect();
    assert!(!holding("<${{ secrets.TOKEN }}>").is_empty(), "no file holds the log: {all:?}");
    assert_eq!(holding("s3cr3t"), Vec::<&String>::new());
    system.open_gates(&agent);
    system.wait_for_state(&id, "completed");
}

/// How large a core dump of a process may be, and how large it may have it, in bytes or `unlimited`.
fn core_limits(pid: u32) -> [String; 2] {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    let mut figures = line.split_whitespace().map(str::to_owned);
    [figures.next().unwrap(), figures.next().unwrap()]
}

/// The regular files below `dir` that a process has open, deleted ones too, with what is in them. One that
/// is gone has none.
fn open_files(pid: u32, dir: &str) -> Vec<(String, Vec<u8>)> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let read = |entry: std::fs::DirEntry| {
        let name = std::fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
        let is_file = std::fs::metadata(entry.path()).is_ok_and(|meta| meta.is_file());
        let bytes = (is_file && name.starts_with(dir)).then(|| std::fs::read(entry.path()))?;
        Some((name, bytes.ok()?))
    };
    open.filter_map(read).collect()
}

fn files_holding(dir: &Path, needle: &[u8]) -> Vec<PathBuf> {
    files_below(dir, &|path| std::fs::read(path).is_ok_and(|bytes| contains(&bytes, needle)))
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}
