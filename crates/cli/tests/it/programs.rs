//! What the programs that an agent starts on its host get of its environment: nothing that they do not need.

use crate::conformance::bench::{Bench, SECRET};
use crate::conformance::repository::{NAME, Repository};
use crate::support::files_below;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use testkit::registry::{PASSWORD, Registry, Setup, USER};
use testkit::stock_server::StockJob;

/// In the agent's environment, and nobody else's business.
const OURS: &str = "hunter2hunter2";
/// The same, for credential helpers.
const CLOUDS: &str = "key-of-the-cloud";

/// Programs by which others are found, each of which writes down its environment first.
struct Observed {
    programs: PathBuf,
    told: PathBuf,
}

impl Observed {
    fn new(dir: &Path) -> Self {
        let observed = Self { programs: dir.join("programs"), told: dir.join("told") };
        for dir in [&observed.programs, &observed.told] {
            fs::create_dir(dir).unwrap();
        }
        // Some run as users that are nobody here.
        fs::set_permissions(&observed.told, Permissions::from_mode(0o777)).unwrap();
        fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
        observed
    }

    /// Observes `name`, which then does what `goes_on` says.
    fn program(&self, name: &str, goes_on: &str) {
        let path = self.programs.join(name);
        let told = self.told.display();
        let script = format!("#!/bin/sh\n/bin/cat /proc/$$/environ > {told}/{name}.$$\n{goes_on}\n");
        fs::write(&path, script).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }

    /// Observes the program of that name that is here.
    fn own(&self, name: &str) {
        let places = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        let real = places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
        let real = real.unwrap_or_else(|| panic!("there is no {name}"));
        self.program(name, &format!("exec {} \"$@\"", real.display()));
    }

    /// The variables of each run of each program.
    fn seen(&self) -> BTreeMap<String, Vec<BTreeMap<String, String>>> {
        let mut seen = BTreeMap::<String, Vec<_>>::new();
        for file in files_below(&self.told, &|_| true) {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = String::from_utf8(fs::read(file).unwrap()).unwrap();
            let pairs = text.split_terminator('\0').filter_map(|pair| pair.split_once('='));
            seen.entry(name).or_default().push(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
        }
        seen
    }
}

/// What each program may have besides what it is told of git's, and what it must.
fn allowed(program: &str) -> &'static [&'static str] {
    match program {
        "git" => &["PATH", "HOME", "LC_ALL"],
        "docker-credential-vault" => &["PATH", "HOME", "AWS_SECRET_ACCESS_KEY"],
        _ => &[],
    }
}

#[test]
fn programs_get_only_what_they_need() {
    let test = "programs_get_only_what_they_need";
    let Some(registry) = Registry::start(test, &Setup { password: true, ..Setup::default() }) else { return };
    let Some(mut bench) = Bench::new(test) else { return };
    let Some(image) = testkit::image::busybox_image() else { return };
    registry.push("team/tool:1", &image);
    let observed = Observed::new(bench.dir.path());
    for name in ["git", "crun", "slirp4netns", "mkfs.ext4"] {
        observed.own(name);
    }
    let login = json!({"Username": USER, "Secret": PASSWORD});
    observed.program("docker-credential-vault", &format!("/bin/cat > /dev/null; echo '{login}'"));
    let docker = bench.dir.path().join(".docker");
    fs::create_dir(&docker).unwrap();
    let helpers = json!({"credHelpers": {&registry.address: "vault"}});
    fs::write(docker.join("config.json"), helpers.to_string()).unwrap();

    let repository = Repository::served_by(&bench);
    let job = StockJob::new("batches", 1).set("repositoryName", json!(NAME));
    let job = job.set("commit", json!(repository.commits[1]));
    let from_registry = json!({"image": registry.name("team/tool:1")});
    bench.server.give(job.step_with("a", &["cat src/main.txt"], &from_registry));
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", observed.programs.display());
    let env = [
        ("EXECUTOR_QUEUE_NAME", "batches"),
        ("EXECUTOR_OCI_NETWORK", "slirp4netns"),
        ("NPM_TOKEN", OURS),
        ("AWS_SECRET_ACCESS_KEY", CLOUDS),
        ("PATH", &path),
    ];
    bench.start_with(&env);
    let record = bench.completed(1);
    assert!(record.entry("step.docker.a").unwrap().out.contains("stdout: two\n"), "{record:#?}");
    assert!(!format!("{record:?}{}", bench.log()).contains(PASSWORD), "the helper's login is nowhere");
    bench.agent_stops();
    bench.check();

    let seen = observed.seen();
    let names: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(names, ["crun", "docker-credential-vault", "git", "mkfs.ext4", "slirp4netns"]);
    for (program, runs) in &seen {
        for variables in runs {
            for (name, value) in variables {
                assert!(![SECRET, OURS].iter().any(|secret| value.contains(secret)), "{program} has {name}");
                let is_git_s = program == "git" && name.starts_with("GIT_");
                let known = allowed(program).contains(&name.as_str()) || is_git_s;
                assert!(known, "{program} has {name}={value}");
            }
        }
    }
    let helper = &seen["docker-credential-vault"][0];
    assert_eq!(helper.get("AWS_SECRET_ACCESS_KEY").map(String::as_str), Some(CLOUDS));
}

/// Where a program is started with more than what is said there, and why.
const WITH_MORE: [(&str, &str); 5] = [
    ("agent/src/host/births.rs", "it is this program, which reads its configuration from there"),
    ("cli/src/systemd/scope.rs", "it is this program, as above"),
    ("cli/src/first_process.rs", "it is this program in a container, as above"),
    (
        "runtimes/src/host_program/mod.rs",
        "it becomes a program for which it was started with what that may have",
    ),
    ("runtimes/src/oci/users/namespace.rs", "it is a trial of mounts, and never becomes a program"),
];

/// What is started then is a copy of this process, which becomes no program.
const A_COPY: &str = "\"a copy\"";

/// The sources of what an agent consists of, without their tests.
fn sources() -> Vec<(String, String)> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let parts = ["agent", "cli", "images", "runtimes"].map(|name| crates.join(name).join("src"));
    let is_source =
        |path: &Path| path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs");
    let files = parts.iter().flat_map(|part| files_below(part, &is_source));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap().to_owned();
        (path.strip_prefix(crates).unwrap().to_str().unwrap().to_owned(), code)
    };
    files.map(read).collect()
}

#[test]
fn every_program_is_started_with_an_environment_of_its_own() {
    let mut inherit = BTreeSet::new();
    let mut starts = 0;
    for (path, code) in sources() {
        for (at, start) in code.match_indices("Command::new(") {
            starts += 1;
            if code[at + start.len()..].starts_with(A_COPY) {
                continue;
            }
            // Until the end of the function.
            let end =
                ["\n}\n", "\n    }\n\n", "\n    }\n}"].iter().filter_map(|end| code[at..].find(end)).min();
            let function = &code[at..end.map_or(code.len(), |end| at + end)];
            if !function.contains(".env_clear()") {
                inherit.insert(path.clone());
            }
        }
    }
    assert!(starts > 15, "{starts} starts of programs were found");
    let known: BTreeSet<String> = WITH_MORE.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(inherit, known, "each is to clear it (`env_clear`), or to have a reason here");
}
