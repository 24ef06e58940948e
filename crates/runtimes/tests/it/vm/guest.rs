//! A machine in a process: this very program, run as tests of its own under another kernel.

use crate::harness::{find, helper, path_of};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use testkit::guest::{self, Guest, kernel};

/// In MiB.
const MEMORY: u32 = 768;
const MODULES: [&str; 2] = ["loop.ko", "overlay.ko"];
const INIT: &str = include_str!("init.sh");

/// What is needed here, if something of it is missing.
pub(super) fn missing() -> Option<String> {
    let program = ["crun", "runc", "mkfs.ext4"].into_iter().find(|program| find(program).is_none());
    program.map(str::to_owned).or_else(|| guest::missing(&MODULES))
}

/// Runs `tests` in a guest with control groups of that layout, and returns its console.
pub(super) fn run(layout: &str, tests: &[&str], limit: Duration) -> String {
    let dir = tempfile::tempdir().unwrap();
    let initial = initial_files(dir.path(), layout, tests);
    Guest { initial, memory: MEMORY, ..Guest::default() }.run(limit).unwrap()
}

/// Everything that is in the guest, as the archive that its kernel unpacks.
fn initial_files(dir: &Path, layout: &str, tests: &[&str]) -> PathBuf {
    let root = dir.join("root");
    for made in
        ["bin", "dev", "disk", "etc", "modules", "new", "proc", "root", "run", "sys", "tmp", "scratch"]
    {
        fs::create_dir_all(root.join(made)).unwrap();
    }
    fs::write(root.join("layout"), format!("{layout}\n")).unwrap();
    fs::write(root.join("tests"), tests.join("\n")).unwrap();
    fs::write(root.join("init"), INIT).unwrap();
    Command::new("chmod").arg("755").arg(root.join("init")).status().unwrap();
    for module in MODULES {
        fs::copy(kernel(module), root.join("modules").join(module)).unwrap();
    }
    fs::copy("/etc/mke2fs.conf", root.join("etc/mke2fs.conf")).unwrap();
    let own = std::env::current_exe().unwrap();
    add(&root, &own, Path::new("/it"));
    let programs = ["crun", "runc", "mkfs.ext4"].map(|program| PathBuf::from(path_of(program)));
    for program in programs.into_iter().chain([helper().program, "/bin/busybox".into()]) {
        add(&root, &program, &program);
    }
    let archive = dir.join("initial");
    guest::pack(&root, &archive).unwrap();
    archive
}

/// Adds a program and the libraries that it needs.
fn add(root: &Path, program: &Path, place: &Path) {
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap());
    let copy = |from: &Path, to: PathBuf| {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    };
    fs::create_dir_all(below(place).parent().unwrap()).unwrap();
    guest::add_program(program, &below(place)).unwrap();
    let libraries = Command::new("ldd").arg(program).stderr(Stdio::null()).output().unwrap();
    for word in
        String::from_utf8_lossy(&libraries.stdout).split_whitespace().filter(|word| word.starts_with('/'))
    {
        copy(Path::new(word), below(Path::new(word)));
    }
}
