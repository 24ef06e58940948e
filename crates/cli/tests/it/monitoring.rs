//! Dashboards and alert rules, against what is told, and a real Prometheus that reads all of it.

use crate::support::{SOON, System, wait};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// What our metrics and the documented ones begin with.
const BEGINNINGS: [&str; 4] = ["src_", "executor_", "multiqueue_", "process_"];
/// What samples of one family may end with.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];
/// What is told only when it has happened, or where it is configured: other tests see it.
const NOT_HERE: [&str; 5] = [
    "executor_server_certificate_expires_seconds",
    "executor_server_scaling_pushes_total",
    "src_apiworker_apiclient_queue_errors_total",
    "src_apiworker_command_errors_total",
    "executor_image_failures_total",
];

fn monitoring() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/monitoring")
}

/// What the panels of a dashboard ask for, with its variables filled in.
fn dashboards() -> Vec<String> {
    let mut asked = Vec::new();
    for file in std::fs::read_dir(monitoring().join("dashboards")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let mut look = vec![serde_json::from_str::<Value>(&text).unwrap()];
        while let Some(value) = look.pop() {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(expr)) = members.get("expr") {
                        asked.push(expr.clone());
                    }
                    look.extend(members.into_iter().map(|(_, value)| value));
                }
                Value::Array(items) => look.extend(items),
                _ => {}
            }
        }
    }
    let fill = |expr: String| {
        [("$instance", ".*"), ("$executor", ".*"), ("$__rate_interval", "1m")]
            .into_iter()
            .fold(expr, |expr, (name, value)| expr.replace(name, value))
    };
    asked.into_iter().map(fill).collect()
}

/// The names of metrics in a text of expressions.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let ours = words.filter(|word| BEGINNINGS.iter().any(|beginning| word.starts_with(beginning)));
    ours.map(|name| PARTS.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name).to_owned())
        .collect()
}

/// The body of what is answered to a GET.
fn get(address: &str, path: &str, token: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else { return String::new() };
    let head = format!("GET {path} HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// A Prometheus, gone when this is dropped.
struct Prometheus {
    process: Child,
    address: String,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    fn start(server: &str, token: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        std::fs::write(at("token"), token).unwrap();
        let config = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: [\"{}\"]\nscrape_configs:\n  \
             - job_name: executor-server\n    authorization: {{ credentials_file: \"{}\" }}\n    static_configs:\n      \
             - targets: [\"{server}\"]\n",
            monitoring().join("alerts.yaml").display(),
            at("token"),
        );
        std::fs::write(at("prometheus.yml"), config).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let process = Command::new("prometheus")
            .args(["--config.file", &at("prometheus.yml"), "--storage.tsdb.path", &at("data")])
            .args(["--web.listen-address", &address])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, address, _dir: dir }
    }

    fn get(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&get(&self.address, path, "")).ok()
    }

    fn query(&self, expr: &str) -> Option<Value> {
        let escaped: String = expr.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
        self.get(&format!("/api/v1/query?query={escaped}"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn rules_and_dashboards_name_what_is_told_and_prometheus_reads_it() {
    let test = "rules_and_dashboards_name_what_is_told_and_prometheus_reads_it";
    let rules = monitoring().join("alerts.yaml");
    let Ok(checked) = Command::new("promtool").args(["check", "rules"]).arg(&rules).output() else {
        return testkit::missing_part(test, "promtool");
    };
    assert!(checked.status.success(), "{checked:?}");
    let tests = monitoring().join("alerts.test.yaml");
    let tested = Command::new("promtool").args(["test", "rules"]).arg(tests).output().unwrap();
    assert!(tested.status.success(), "{tested:?}");
    let Some(mut system) = System::serving(test, &[], &[]) else { return };
    let _agent = system.agent();
    let job = system.job("echo hello");
    assert!(job.status.success(), "{job:?}");
    let server = system.url().strip_prefix("http://").unwrap().to_owned();
    let created = system.ok(&["token", "create", "prometheus", "--role", "reader", "--json"]);
    let created: Value = serde_json::from_str(&created).unwrap();
    let token = created["token"].as_str().unwrap();
    let told = wait(SOON, "metrics of the executor", || {
        let told = get(&server, "/metrics", token);
        told.contains("src_executor_processor_total{").then_some(told)
    });

    let there: BTreeSet<&str> =
        told.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let asked = dashboards();
    assert!(asked.len() > 40, "{}", asked.len());
    let named = names(&(std::fs::read_to_string(&rules).unwrap() + &asked.join("\n")));
    let missing: Vec<&String> = named
        .iter()
        .filter(|name| !there.contains(name.as_str()) && !NOT_HERE.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?} in\n{told}");

    let prometheus = Prometheus::start(&server, token);
    wait(SOON, "a scrape", || {
        let value = prometheus.query("executor_server_jobs_ended_total{state=\"completed\"}")?;
        (value["data"]["result"][0]["value"][1] == "1").then_some(())
    });
    let rules = wait(SOON, "an evaluation of all rules", || {
        let told = prometheus.get("/api/v1/rules")?;
        let groups = told["data"]["groups"].as_array()?;
        let rules: Vec<Value> =
            groups.iter().filter_map(|group| group["rules"].as_array()).flatten().cloned().collect();
        let judged = |rule: &Value| rule["health"] != "unknown";
        (!rules.is_empty() && rules.iter().all(judged)).then_some(rules)
    });
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_ne!(rule["state"], "firing", "all is well: {rule}");
    }
    for expr in asked {
        let answer = prometheus.query(&expr).unwrap();
        assert_eq!(answer["status"], "success", "{expr}: {answer}");
    }
}
