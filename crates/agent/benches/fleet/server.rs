//! The server that is measured.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Ticks of the kernel's clock in a second, as `/proc` counts them.
const TICKS: u64 = 100;

pub(crate) struct Server {
    process: Child,
    address: SocketAddr,
    data_dir: PathBuf,
    config: PathBuf,
}

impl Server {
    pub(crate) fn start(dir: &Path, listen: &str) -> Self {
        let (data_dir, config) = (dir.join("server"), dir.join("config"));
        let binary = binary().expect("EXECUTOR_FLEET_BINARY names the binary to measure");
        let mut command = Command::new(binary);
        command
            .env("XDG_CONFIG_HOME", &config)
            .args(["server", "--listen", listen, "--data-dir"])
            .arg(&data_dir);
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.find_map(|line| line.ok().filter(|line| line.contains("listening on "))).unwrap();
        let address = line.rsplit("http://").next().unwrap().trim().parse().unwrap();
        Self { process, address, data_dir, config }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn shared_secret(&self) -> String {
        let text = std::fs::read_to_string(self.data_dir.join("site-config.jsonc")).unwrap();
        let (_, after) = text.split_once("\"executors.accessToken\"").unwrap();
        after.split('"').nth(1).unwrap().to_owned()
    }

    /// How many executors it has heard of lately.
    pub(crate) async fn active_executors(&self) -> usize {
        let settings = std::fs::read_to_string(self.config.join("executor/client.json")).unwrap();
        let settings: serde_json::Value = serde_json::from_str(&settings).unwrap();
        let token = settings["apiToken"].as_str().unwrap();
        let mut url: url::Url =
            format!("http://{}/api/v1/executors?limit=500", self.address).parse().unwrap();
        let (client, mut active) = (reqwest::Client::new(), 0);
        loop {
            let page = client.get(url.clone()).bearer_auth(token).send().await.unwrap();
            let page: serde_json::Value = page.json().await.unwrap();
            let items = page["items"].as_array().unwrap();
            active += items.iter().filter(|executor| executor["active"] == true).count();
            let Some(next) = page["nextCursor"].as_str() else { return active };
            url.query_pairs_mut().clear().append_pair("limit", "500").append_pair("cursor", next);
        }
    }

    /// What it has used of processors since it began.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 1_000 / TICKS)
    }

    /// Its proportional share of memory.
    pub(crate) fn memory_mb(&self) -> f64 {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.process.id())).unwrap();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "whoever starts this says what is measured")]
fn binary() -> Option<std::ffi::OsString> {
    std::env::var_os("EXECUTOR_FLEET_BINARY")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
