//! Every verb that has `--json`, and what it prints then.

use super::{PASSWORD, upload};
use crate::support::{Process, System, system, text, told};
use serde_json::Value;
use std::process::Command;

/// A verb that has `--json`, as its help tells.
struct Verb {
    name: String,
    /// Whether it prints a page of a list, and goes on with `--before`.
    is_paged: bool,
}

/// Those below `path`.
fn verbs_with_json(path: &str) -> Vec<Verb> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_executor"));
    let output = command.args(path.split_whitespace()).arg("-h").env_clear().output().unwrap();
    assert!(output.status.success(), "{path}: {}", text(&output));
    let help = String::from_utf8(output.stdout).unwrap();
    let (commands, options) = help.split_once("\nOptions:").unwrap_or((&help, ""));
    let verb = || Verb { name: path.to_owned(), is_paged: options.contains("--before") };
    let mut found: Vec<Verb> = options.contains("--json").then(verb).into_iter().collect();
    let listed = commands.split_once("\nCommands:\n").map_or("", |(_, listed)| listed);
    for line in listed.lines().filter_map(|line| line.strip_prefix("  ")) {
        let name = line.split(' ').next().unwrap_or_default();
        if !name.is_empty() && name != "help" {
            found.extend(verbs_with_json(format!("{path} {name}").trim_start()));
        }
    }
    found
}

/// What was asked for JSON so far.
struct Asked<'a> {
    system: &'a System,
    calls: Vec<(String, Vec<Value>)>,
}

impl Asked<'_> {
    /// All documents that a command prints, with text on its standard input.
    fn all(&mut self, args: &[&str], input: &str) -> Vec<Value> {
        let call = args.join(" ") + " ";
        // What follows `--` is the step's.
        let options = args.iter().position(|arg| *arg == "--").unwrap_or(args.len());
        let args = [&args[..options], &["--json"], &args[options..]].concat();
        let output = told(self.system.executor(&args), input);
        let documents = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
        let documents: Result<Vec<Value>, _> = documents.collect();
        let documents = documents.unwrap_or_else(|fault| panic!("{args:?}: {fault}: {}", text(&output)));
        assert!(!documents.is_empty(), "{args:?}: {}", text(&output));
        self.calls.push((call, documents.clone()));
        documents
    }

    /// The one document that a command prints.
    fn one(&mut self, args: &[&str]) -> Value {
        let mut documents = self.all(args, "");
        assert_eq!(documents.len(), 1, "{args:?}");
        documents.remove(0)
    }
}

/// Of the repository that is there. No executor gets it: what is read is that it left nothing.
fn of_executions(asked: &mut Asked<'_>) {
    let file = asked.system.dir.path().join("execution.yaml");
    let execution = serde_json::json!({"execution": {
        "repository": {"id": "UmVwb3NpdG9yeTox", "name": "app"}, "branch": {"name": "main"},
        "steps": [{"run": "echo one > one.txt", "container": "alpine:3"}],
    }});
    std::fs::write(&file, execution.to_string()).unwrap();
    asked.one(&["queue", "pause", "batches"]);
    let id = asked.one(&["job", "run", "--detach", "--file", &file.to_string_lossy()])["id"].to_string();
    asked.one(&["job", "cancel", &id]);
    let results = asked.one(&["job", "results", &id]);
    assert_eq!((&results["state"], &results["results"]), (&"canceled".into(), &serde_json::json!([])));
    asked.one(&["queue", "resume", "batches"]);
}

#[test]
fn every_verb_that_has_json_prints_nothing_else() {
    let test = "every_verb_that_has_json_prints_nothing_else";
    let Some(mut system) = system(test) else { return };
    let mut agent = system.agent_command();
    let mut asked = Asked { system: &system, calls: Vec::new() };
    let invite = asked.one(&["agent", "invite", "create", "rack"]);
    let token = invite["token"].as_str().unwrap();
    agent.env_remove("EXECUTOR_FRONTEND_PASSWORD").env("EXECUTOR_REGISTRATION_TOKEN", token);
    let agent = Process::start(agent, "agent ");
    let name = agent.executor_name();
    of_jobs(&mut asked);
    of_what_jobs_need(&mut asked);
    of_people(&mut asked);
    assert_eq!(asked.one(&["agent", "list"])[0]["name"], *name);
    assert!(asked.one(&["agent", "drain", &name])["maintenanceAt"].is_string());
    assert!(asked.one(&["agent", "resume", &name])["maintenanceAt"].is_null());
    assert_eq!(asked.one(&["agent", "identities"])[0]["name"], *name);
    assert_eq!(asked.one(&["agent", "revoke", &name])["name"], *name);
    assert_eq!(asked.one(&["agent", "invite", "list"])[0]["name"], "rack");
    assert_eq!(asked.one(&["agent", "invite", "revoke", &invite["id"].to_string()])["id"], invite["id"]);
    of_this_host(&mut asked);
    of_a_server(&mut asked);
    let calls = asked.calls;
    agent.stop();
    let verbs = verbs_with_json("");
    assert!(verbs.len() > 45, "help is not understood: {} verbs", verbs.len());
    assert!(verbs.iter().filter(|verb| verb.is_paged).count() > 3, "help is not understood");
    for Verb { name, is_paged } in verbs {
        let printed = calls.iter().find(|(call, _)| call.starts_with(&format!("{name} ")));
        let (_, printed) = printed.unwrap_or_else(|| panic!("`{name} --json` is not tried"));
        if is_paged {
            let page = printed[0].as_object().unwrap_or_else(|| panic!("`{name} --json`: {printed:?}"));
            assert!(page["items"].is_array() && page.contains_key("nextCursor"), "`{name} --json`: {page:?}");
        }
    }
}

fn of_jobs(asked: &mut Asked<'_>) {
    asked.all(&["secret", "set", "KEPT"], "a value of some length\n");
    assert_eq!(asked.one(&["secret", "list"])[0]["key"], "KEPT");
    assert_eq!(asked.one(&["secret", "show", "KEPT"])["key"], "KEPT");
    let run = ["job", "run", "--image", "busybox", "--stored-secret", "KEPT", "--artifact", "left"];
    let events = asked.all(&[&run[..], &["--", "touch", "left"]].concat(), "");
    assert!(events.last().unwrap().to_string().contains("completed"), "{events:?}");
    let id = asked.one(&["job", "list"])["items"][0]["id"].to_string();
    assert_eq!(asked.one(&["job", "show", &id])["state"], "completed");
    assert_eq!(asked.one(&["job", "explain", &id])["job"]["id"].to_string(), id);
    asked.all(&["job", "logs", &id], "");
    assert_eq!(asked.one(&["job", "artifacts", &id])[0]["name"], "left");
    assert_eq!(asked.one(&["secret", "log", "KEPT"])["items"][0]["job"].to_string(), id);
    assert!(asked.one(&["secret", "delete", "KEPT"])["id"].is_string());
    let long = asked.system.submit("sleep 600");
    assert_eq!(asked.one(&["job", "cancel", &long])["id"].to_string(), long);
    asked.system.wait_for_state(&long, "canceled");
    let file = asked.system.dir.path().join("brought.txt");
    std::fs::write(&file, "text").unwrap();
    let kept = asked.one(&["job", "upload", &file.to_string_lossy()]);
    assert_eq!((&kept[0]["name"], &kept[0]["size"]), (&"brought.txt".into(), &4.into()));
    asked.one(&["queue", "pause", "codeintel"]);
    let line = r#"{"queue": "codeintel", "steps": [{"image": "busybox", "run": "true"}]}"#;
    let submitted = asked.all(&["job", "submit", "-"], &format!("{line}\n{line}\n"));
    assert_eq!((submitted[0].as_array().unwrap().len(), &submitted[0][1]["line"]), (2, &2.into()));
    assert!(asked.one(&["queue", "list"])[0]["name"].is_string());
    assert_eq!(asked.one(&["queue", "show", "codeintel"])["name"], "codeintel");
    assert!(asked.one(&["queue", "pause", "codeintel"])["pausedAt"].is_string());
    assert!(asked.one(&["queue", "resume", "codeintel"])["pausedAt"].is_null());
    assert_eq!(asked.one(&["queue", "limit", "codeintel", "5"])["maxRunning"], 5);
}

fn of_what_jobs_need(asked: &mut Asked<'_>) {
    let system = asked.system;
    let (path, _) = system.git_repository();
    assert_eq!(asked.one(&["repo", "add", "app", &path])["name"], "app");
    assert_eq!(asked.one(&["repo", "list"])[0]["source"], *path);
    of_executions(asked);
    let (upload, _) = upload(system, "app");
    assert_eq!(asked.one(&["upload", "list"])["items"][0]["repository"], "app");
    assert_eq!(asked.one(&["upload", "list", "--job", "7"])["items"][0]["associatedIndexId"], 7);
    assert_eq!(asked.one(&["upload", "show", &upload])["id"].to_string(), upload);
    let file = system.dir.path().join("index.gz").to_string_lossy().into_owned();
    assert_eq!(asked.one(&["upload", "download", &upload, "-o", &file])["file"], *file);
    assert_eq!(asked.one(&["repo", "remove", "app"])["name"], "app");
    let archive = system.dir.path().join("busybox.tar").to_string_lossy().into_owned();
    let dir = system.agent_dir();
    assert_eq!(asked.one(&["image", "import", "other:1", &archive, "--data-dir", &dir])["name"], "other:1");
    assert_eq!(asked.one(&["image", "list", "--data-dir", &dir]).as_array().unwrap().len(), 2);
    assert_eq!(asked.one(&["image", "remove", "other:1", "--data-dir", &dir])["name"], "other:1");
    assert_eq!(asked.one(&["image", "gc", "--data-dir", &dir])["layers"], 0);
}

fn of_people(asked: &mut Asked<'_>) {
    let made = asked.one(&["token", "create", "ci", "--role", "reader"]);
    assert!(made["token"].is_string());
    assert_eq!(asked.one(&["token", "list"])[0]["name"], "ci");
    assert_eq!(asked.one(&["token", "whoami"])["name"], "root");
    assert_eq!(asked.one(&["token", "revoke", &made["id"].to_string()])["id"], made["id"]);
    let made = asked.all(&["user", "create", "ann", "--role", "reader"], PASSWORD);
    assert_eq!(made[0]["name"], "ann");
    assert_eq!(asked.one(&["user", "list"])[0]["name"], "ann");
    assert_eq!(asked.all(&["user", "password", "ann"], "another horse battery")[0]["name"], "ann");
    assert_eq!(asked.one(&["user", "remove", "ann"])["name"], "ann");
    assert_eq!(asked.one(&["audit"])["items"][0]["action"], "user.delete");
}

fn of_this_host(asked: &mut Asked<'_>) {
    assert!(asked.one(&["run", "--help-env"]).is_object());
    assert!(asked.one(&["sim", "--jobs", "1"]).is_object());
    assert!(asked.one(&["doctor"]).is_object());
}

/// What is done for a server: what its own would not bear while it runs, to another database.
fn of_a_server(asked: &mut Asked<'_>) {
    let dir = asked.system.dir.path();
    let at = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let (data, moved, export) = (at("server-data"), at("moved-data"), at("all.jsonl"));
    assert_eq!(asked.one(&["server", "status"])["version"], env!("CARGO_PKG_VERSION"));
    assert!(asked.one(&["server", "doctor", "--data-dir", &data]).is_object());
    assert_eq!(asked.one(&["server", "export", &export, "--data-dir", &data])["file"], *export);
    std::fs::create_dir(&moved).unwrap();
    assert_eq!(asked.one(&["server", "import", &export, "--data-dir", &moved])["file"], *export);
    assert!(!asked.one(&["server", "migrate", "--data-dir", &moved])["schema"].is_null());
    assert!(asked.one(&["server", "rotate-key", "--data-dir", &data, "--standby"])["id"].is_string());
}
