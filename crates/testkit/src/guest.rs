//! A machine in a process: a kernel of Debian's, emulated, with whatever a test gives it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const QEMU: &str = "qemu-system-x86_64";
/// How often it is looked whether a guest has ended.
const LOOK: Duration = Duration::from_millis(50);

/// What a guest is made of. Its first process is `/init` in the initial files.
#[derive(Debug, Default)]
pub struct Guest {
    /// The archive that its kernel unpacks.
    pub initial: PathBuf,
    /// Disks, `/dev/vda` and so on; what is written to them is forgotten.
    pub disks: Vec<PathBuf>,
    /// In MiB.
    pub memory: u32,
    /// More words for its kernel and its first process.
    pub words: String,
}

/// What is needed for guests, if something of it is missing here: `modules` of the kernel's besides.
pub fn missing(modules: &[&str]) -> Option<String> {
    let found = |program: &&str| {
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
    };
    let program = [QEMU, "cpio", "ldd", "busybox"].into_iter().find(|program| !found(program));
    let file = || ["vmlinuz"].iter().chain(modules).map(|part| kernel(part)).find(|file| !file.exists());
    let other = || (!cfg!(target_arch = "x86_64")).then(|| "a guest for this architecture".to_owned());
    program.map(str::to_owned).or_else(|| file().map(|file| file.display().to_string())).or_else(other)
}

/// Where `cargo xtask test` keeps what Debian does not install.
#[expect(clippy::disallowed_methods, reason = "the same place as there, also for a single test by hand")]
pub fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("executor-xtask")
}

/// A part of guests' kernel, which `cargo xtask test` unpacks.
pub fn kernel(part: &str) -> PathBuf {
    cache().join("guest-kernel").join(part)
}

impl Guest {
    /// Runs it until it turns itself off, or `limit` is over, and returns what its console says.
    pub fn run(&self, limit: Duration) -> io::Result<String> {
        let dir = tempfile::tempdir()?;
        let console = dir.path().join("console");
        let mut qemu = Command::new(QEMU);
        qemu.args(["-M", "microvm", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"])
            .args(["-m", &format!("{}M", self.memory)])
            .args(["-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio"])
            .arg("-kernel")
            .arg(kernel("vmlinuz"))
            .arg("-initrd")
            .arg(&self.initial);
        for (number, disk) in self.disks.iter().enumerate() {
            let drive = format!("file={},format=raw,if=none,id=disk{number},snapshot=on", disk.display());
            qemu.args(["-drive", &drive, "-device", &format!("virtio-blk-device,drive=disk{number}")]);
        }
        let mut qemu = qemu
            .args(["-append", &self.boot()?])
            .stdin(Stdio::null())
            .stdout(File::create(&console)?)
            .spawn()?;
        let begun = Instant::now();
        while qemu.try_wait()?.is_none() {
            if begun.elapsed() > limit {
                qemu.kill()?;
                qemu.wait()?;
                break;
            }
            std::thread::sleep(LOOK);
        }
        Ok(String::from_utf8_lossy(&fs::read(&console)?).into_owned())
    }

    fn boot(&self) -> io::Result<String> {
        // Without the clock's frequency the kernel measures it, which can fail on an emulated machine.
        let cpu = fs::read_to_string("/proc/cpuinfo")?;
        let frequency = cpu.lines().find_map(|line| line.strip_prefix("cpu MHz")?.split(':').nth(1));
        let mhz: f64 = frequency.and_then(|mhz| mhz.trim().parse().ok()).unwrap_or_default();
        Ok(format!(
            "console=ttyS0 quiet loglevel=1 reboot=t panic=-1 rdinit=/init nokaslr mitigations=off tsc_early_khz={} {}",
            (mhz * 1e3) as u64,
            self.words
        ))
    }
}

/// Packs `root` into an archive for [`Guest::initial`].
pub fn pack(root: &Path, archive: &Path) -> io::Result<()> {
    let mut cpio = Command::new("cpio")
        .args(["--create", "--format=newc", "--quiet", "--null"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(File::create(archive)?)
        .spawn()?;
    let mut names = Vec::new();
    list(root, Path::new(""), &mut names)?;
    let mut stdin = cpio.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    stdin.write_all(&names)?;
    drop(stdin);
    done("cpio", cpio.wait()?.success())
}

/// Makes a disk of `size` bytes with what is in `root`.
pub fn disk(root: &Path, disk: &Path, size: u64) -> io::Result<()> {
    File::create(disk)?.set_len(size)?;
    let options = ["-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d"];
    let made = Command::new("mke2fs").args(options).args([root, disk]).status()?;
    done("mke2fs", made.success())
}

/// Copies a program without what is only there for debuggers, which is most of our own.
pub fn add_program(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    // Where there is no such tool it is only larger.
    let _ = Command::new("strip").arg(to).stderr(Stdio::null()).status();
    Ok(())
}

fn done(program: impl AsRef<OsStr>, well: bool) -> io::Result<()> {
    let failed = || io::Error::other(format!("{} failed", program.as_ref().display()));
    if well { Ok(()) } else { Err(failed()) }
}

/// The names of all that is below, each ended by a NUL byte.
fn list(root: &Path, at: &Path, names: &mut Vec<u8>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(at))? {
        let entry = entry?;
        let path = at.join(entry.file_name());
        names.extend(path.as_os_str().as_encoded_bytes());
        names.push(0);
        if entry.file_type()?.is_dir() {
            list(root, &path, names)?;
        }
    }
    Ok(())
}
