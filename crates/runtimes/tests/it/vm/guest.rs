//! A machine in a process: this very program, run as tests of its own under another kernel.

use crate::harness::{cache, find, helper, path_of};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const QEMU: &str = "qemu-system-x86_64";
const MEMORY: &str = "768M";
const INIT: &str = include_str!("init.sh");

/// What is needed here, if something of it is missing.
pub(super) fn missing() -> Option<String> {
    let programs = [QEMU, "cpio", "ldd", "crun", "runc", "mkfs.ext4", "busybox"];
    let files = ["vmlinuz", "loop.ko", "overlay.ko"].map(kernel);
    let program = programs.into_iter().find(|program| find(program).is_none()).map(str::to_owned);
    let file = || files.into_iter().find(|file| !file.exists()).map(|file| file.display().to_string());
    let other = || (!cfg!(target_arch = "x86_64")).then(|| "a guest for this architecture".to_owned());
    program.or_else(file).or_else(other)
}

/// A part of the guest's kernel, which `cargo xtask test` unpacks.
fn kernel(part: &str) -> PathBuf {
    cache().join("guest-kernel").join(part)
}

/// Runs `tests` in a guest with control groups of that layout, and returns its console.
pub(super) fn run(layout: &str, tests: &[&str], limit: Duration) -> String {
    let dir = tempfile::tempdir().unwrap();
    let initial = initial_files(dir.path(), layout, tests);
    let console = dir.path().join("console");
    // Without the clock's frequency the kernel measures it, which can fail on an emulated machine.
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap();
    let mhz = cpu
        .lines()
        .find_map(|line| line.strip_prefix("cpu MHz")?.split(':').nth(1)?.trim().parse::<f64>().ok());
    let boot = format!(
        "console=ttyS0 quiet loglevel=1 reboot=t panic=-1 rdinit=/init nokaslr mitigations=off tsc_early_khz={}",
        (mhz.unwrap() * 1e3) as u64
    );
    let mut qemu = Command::new(QEMU)
        .args(["-M", "microvm", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", MEMORY])
        .args(["-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio"])
        .arg("-kernel")
        .arg(kernel("vmlinuz"))
        .arg("-initrd")
        .arg(initial)
        .args(["-append", &boot])
        .stdin(Stdio::null())
        .stdout(fs::File::create(&console).unwrap())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while qemu.try_wait().unwrap().is_none() {
        if begun.elapsed() > limit {
            qemu.kill().unwrap();
            qemu.wait().unwrap();
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    String::from_utf8_lossy(&fs::read(&console).unwrap()).into_owned()
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
    for module in ["loop.ko", "overlay.ko"] {
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
    let mut cpio = Command::new("cpio")
        .args(["--create", "--format=newc", "--quiet", "--null"])
        .current_dir(&root)
        .stdin(Stdio::piped())
        .stdout(fs::File::create(&archive).unwrap())
        .spawn()
        .unwrap();
    let mut names = Vec::new();
    list(&root, Path::new(""), &mut names);
    cpio.stdin.take().unwrap().write_all(&names).unwrap();
    assert!(cpio.wait().unwrap().success());
    archive
}

/// Adds a program and the libraries that it needs.
fn add(root: &Path, program: &Path, place: &Path) {
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap());
    let copy = |from: &Path, to: PathBuf| {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    };
    copy(program, below(place));
    // What is only there for debuggers is most of our own.
    let _ = Command::new("strip").arg(below(place)).stderr(Stdio::null()).status();
    let libraries = Command::new("ldd").arg(program).stderr(Stdio::null()).output().unwrap();
    for word in
        String::from_utf8_lossy(&libraries.stdout).split_whitespace().filter(|word| word.starts_with('/'))
    {
        copy(Path::new(word), below(Path::new(word)));
    }
}

/// The names of all that is below, each ended by a NUL byte.
fn list(root: &Path, at: &Path, names: &mut Vec<u8>) {
    for entry in fs::read_dir(root.join(at)).unwrap().map(Result::unwrap) {
        let path = at.join(entry.file_name());
        names.extend(path.as_os_str().as_encoded_bytes());
        names.push(0);
        if entry.file_type().unwrap().is_dir() {
            list(root, &path, names);
        }
    }
}
