//! The floor and the peers: bare runtimes and a Docker engine, on the same root file system.

use crate::command::{capture, program, run};
use crate::system::Running;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A shell's first instruction tells when it ran.
pub(super) const STAMP: &str = "echo $EPOCHREALTIME";

/// Now, in milliseconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1_000.0)
}

/// Reads what [`STAMP`] printed, in milliseconds since 1970.
pub(super) fn stamp(text: &str) -> Result<f64> {
    let word = text.split_whitespace().last().unwrap_or_default();
    let seconds: f64 = word.parse().with_context(|| format!("{text:?} is no time"))?;
    Ok(seconds * 1_000.0)
}

/// A bundle that prints the stamp.
pub(super) struct Bundle {
    dir: PathBuf,
    count: u32,
}

impl Bundle {
    pub(super) fn unpack(rootfs: &Path, dir: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(dir.join("rootfs"))?;
        let root = dir.join("rootfs");
        // Device nodes come from the runtime; the archive's own may not be makeable here.
        run(program("tar", ["-C"]).arg(&root).arg("-xf").arg(rootfs).arg("--exclude=./dev/*"))?;
        capture(program("runc", ["spec"]).current_dir(&dir))?;
        let path = dir.join("config.json");
        let mut config: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["/bin/bash", "-c", STAMP]);
        std::fs::write(&path, config.to_string())?;
        Ok(Self { dir, count: 0 })
    }

    /// From just before the runtime is started to the container's first instruction.
    ///
    /// On a host with both cgroup versions crun refuses to start, so it gets a mount namespace in which
    /// there is one; that is made before the clock starts.
    pub(super) fn start(&mut self, runtime: &str) -> Result<f64> {
        const SCRIPT: &str = "mount --make-rprivate / && mount -t cgroup2 cgroup2 /sys/fs/cgroup && \
                              echo $EPOCHREALTIME >&2 && exec crun --cgroup-manager=disabled run -b \"$0\" \"$1\"";
        self.count += 1;
        let id = format!("bench-{}-{}", std::process::id(), self.count);
        if runtime == "crun" && hybrid() {
            let mut command = program("unshare", ["--mount", "bash", "-c", SCRIPT]);
            let output = command.arg(&self.dir).arg(&id).output()?;
            let begun = stamp(&String::from_utf8_lossy(&output.stderr))?;
            return Ok(stamp(&String::from_utf8_lossy(&output.stdout))? - begun);
        }
        let begun = now();
        let text = capture(program(runtime, ["run", "-b"]).arg(&self.dir).arg(&id))?;
        Ok(stamp(&text)? - begun)
    }
}

fn hybrid() -> bool {
    Path::new("/sys/fs/cgroup/unified").exists()
}

/// A Docker engine of our own.
pub(super) struct Docker {
    engine: Running,
    host: String,
}

impl Docker {
    pub(super) fn start(rootfs: &Path, dir: &Path) -> Result<Self> {
        let socket = dir.join("docker.sock");
        let host = format!("unix://{}", socket.display());
        let mut dockerd = program("dockerd", ["--host", &host, "--data-root"]);
        dockerd
            .arg(dir.join("data"))
            .arg("--exec-root")
            .arg(dir.join("exec"))
            .arg("--pidfile")
            .arg(dir.join("pid"));
        dockerd.stderr(std::fs::File::create(dir.join("log"))?).stdout(std::process::Stdio::null());
        let docker = Self { engine: Running::spawn("dockerd", dockerd)?, host };
        let deadline = Instant::now() + Duration::from_secs(30);
        while docker.client(["version"]).output().is_ok_and(|output| !output.status.success()) {
            if Instant::now() > deadline {
                bail!("dockerd is not ready; see {}", dir.join("log").display());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        capture(docker.client(["import"]).arg(rootfs).arg("bench:latest"))?;
        Ok(docker)
    }

    pub(super) fn start_container(&self) -> Result<f64> {
        let begun = now();
        let text = capture(&mut self.client(["run", "--rm", "bench:latest", "/bin/bash", "-c", STAMP]))?;
        Ok(stamp(&text)? - begun)
    }

    fn client<const N: usize>(&self, args: [&str; N]) -> std::process::Command {
        let mut command = program("docker", args);
        command.env("DOCKER_HOST", &self.host);
        command
    }

    pub(super) fn stop(self) -> Result<()> {
        self.engine.stop()
    }
}
