//! A control plane as its documentation describes it, with faults on request. It lives on threads
//! of its own, so it works while a test blocks its runtime, and stopping it closes every
//! connection, as a crash does.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::runtime::Runtime;

/// A request that came in.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Call {
    /// The last segment of the path.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A log entry as the control plane has it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) command: Value,
    pub(crate) out: String,
    pub(crate) exit_code: Option<i64>,
}

/// What to do with a request instead of serving it.
type Fault = Box<dyn FnMut(&Call) -> Option<Response> + Send>;
/// Serves what is not one of the queue calls.
type Extra = Box<dyn Fn(&Call, Bytes) -> Option<Response> + Send>;

/// What proxies, gateways, firewalls and sign-in pages answer in a control plane's place.
pub(crate) const STRANGE: [fn() -> Response; 6] = [
    || (StatusCode::NOT_FOUND, PAGE).into_response(),
    || StatusCode::UNAUTHORIZED.into_response(),
    || (StatusCode::FORBIDDEN, PAGE).into_response(),
    || StatusCode::GONE.into_response(),
    || (StatusCode::FOUND, [("location", "http://127.0.0.1:1/login")]).into_response(),
    || (StatusCode::OK, PAGE).into_response(),
];
const PAGE: &str = "<html>not here</html>";

/// What the control plane has, does and has seen.
#[derive(Default)]
pub(crate) struct Plan {
    /// Payloads to hand out.
    pub(crate) jobs: VecDeque<String>,
    /// Offer appending and hold dequeues, as ours does.
    pub(crate) ours: bool,
    /// Looked at before a call is served.
    pub(crate) before: Option<Fault>,
    /// Looked at after a call was served; what it gives replaces the answer.
    pub(crate) after: Option<Fault>,
    pub(crate) extra: Option<Extra>,
    /// Answers a heartbeat for the ids in it.
    pub(crate) heartbeat: Option<Box<dyn FnMut(Vec<String>) -> Response + Send>>,
    pub(crate) calls: Vec<Call>,
    pub(crate) entries: Vec<Entry>,
}

impl Plan {
    /// The calls that say how a job ended.
    pub(crate) fn marks(&self) -> Vec<Call> {
        self.calls.iter().filter(|call| call.name().starts_with("mark")).cloned().collect()
    }

    pub(crate) fn named(&self, name: &str) -> Vec<Call> {
        self.calls.iter().filter(|call| call.name() == name).cloned().collect()
    }

    pub(crate) fn entry(&self, key: &str) -> Option<Entry> {
        self.entries.iter().find(|entry| entry.key == key).cloned()
    }
}

pub(crate) struct ControlPlane {
    plan: Arc<Mutex<Plan>>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl ControlPlane {
    pub(crate) fn start(plan: Plan) -> Self {
        let mut plane = Self {
            plan: Arc::new(Mutex::new(plan)),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            runtime: None,
        };
        plane.come_back();
        plane
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/base", self.address)
    }

    pub(crate) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap()
    }

    /// Closes the port and every connection.
    pub(crate) fn go_away(&mut self) {
        self.runtime.take().expect("it is there").shutdown_background();
    }

    /// Listens again, on the same port.
    pub(crate) fn come_back(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let app = Router::new().fallback(serve).with_state(Arc::clone(&self.plan));
        let socket = socket(self.address);
        self.address = socket.local_addr().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(socket).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
        self.runtime = Some(runtime);
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The port may still be in use for a moment by connections that are being closed.
fn socket(address: SocketAddr) -> std::net::TcpListener {
    let began = std::time::Instant::now();
    loop {
        match std::net::TcpListener::bind(address) {
            Ok(socket) => {
                socket.set_nonblocking(true).unwrap();
                return socket;
            }
            Err(fault) => assert!(began.elapsed() < super::LIMIT, "{fault}"),
        }
        std::thread::yield_now();
    }
}

async fn serve(
    State(plan): State<Arc<Mutex<Plan>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Ok(bytes) = axum::body::to_bytes(body, 1 << 30).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let path = uri.path_and_query().unwrap().as_str().to_owned();
    let path = path.strip_prefix("/base").expect("the base path is kept").to_owned();
    let call = Call { method, path, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) };
    let mut plan = plan.lock().unwrap();
    if call.name() != "appendExecutionLog" && call.name() != "updateExecutionLogEntry" {
        plan.calls.push(call.clone());
    } else {
        // Their text would fill the memory of the tests on memory.
        let mut short = call.clone();
        short.body["out"] = json!(call.body["out"].as_str().map(str::len));
        plan.calls.push(short);
    }
    if let Some(response) = plan.before.as_mut().and_then(|before| before(&call)) {
        return response;
    }
    let served = answer(&mut plan, &call, bytes);
    plan.after.as_mut().and_then(|after| after(&call)).unwrap_or(served)
}

fn answer(plan: &mut Plan, call: &Call, bytes: Bytes) -> Response {
    let name = call.path.strip_prefix("/.executors/queue/").map(|_| call.name());
    let mut response = match name {
        Some("dequeue") => match plan.jobs.pop_front() {
            Some(job) => job.into_response(),
            None => StatusCode::NO_CONTENT.into_response(),
        },
        Some("heartbeat") => heartbeat(plan, &call.body),
        Some("addExecutionLogEntry") => add(plan, &call.body),
        Some("updateExecutionLogEntry") => update(plan, &call.body),
        Some("appendExecutionLog") if plan.ours => append(plan, &call.body),
        Some("markComplete" | "markErrored" | "markFailed") => StatusCode::NO_CONTENT.into_response(),
        _ => {
            let extra = plan.extra.as_ref().and_then(|extra| extra(call, bytes));
            extra.unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
        }
    };
    if plan.ours {
        response.headers_mut().insert("Executors-Capabilities", "other, log-append".parse().unwrap());
    }
    response
}

fn heartbeat(plan: &mut Plan, body: &Value) -> Response {
    let single = body["jobIds"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<String> = single.iter().map(ToString::to_string).collect();
    for group in body["jobIdsByQueue"].as_array().into_iter().flatten() {
        let queue = group["queueName"].as_str().unwrap();
        ids.extend(
            group["jobIds"].as_array().unwrap().iter().map(|id| format!("{}-{queue}", id.as_str().unwrap())),
        );
    }
    match &mut plan.heartbeat {
        Some(heartbeat) => heartbeat(ids),
        None => json!({"knownIds": ids, "cancelIds": []}).to_string().into_response(),
    }
}

fn add(plan: &mut Plan, body: &Value) -> Response {
    plan.entries.push(Entry {
        key: body["key"].as_str().unwrap().to_owned(),
        command: body["command"].clone(),
        out: body["out"].as_str().unwrap_or_default().to_owned(),
        exit_code: body["exitCode"].as_i64(),
    });
    plan.entries.len().to_string().into_response()
}

fn update(plan: &mut Plan, body: &Value) -> Response {
    let entry = entry_of(plan, body);
    body["out"].as_str().unwrap_or_default().clone_into(&mut entry.out);
    entry.exit_code = body["exitCode"].as_i64();
    StatusCode::NO_CONTENT.into_response()
}

fn append(plan: &mut Plan, body: &Value) -> Response {
    let entry = entry_of(plan, body);
    let offset = body["offset"].as_u64().unwrap() as usize;
    let chunk = body["chunk"].as_str().unwrap();
    if offset > entry.out.len() {
        return (StatusCode::CONFLICT, json!({"length": entry.out.len()}).to_string()).into_response();
    }
    if let Some(fresh) = chunk.get(entry.out.len() - offset..) {
        entry.out.push_str(fresh);
    }
    entry.exit_code = body["exitCode"].as_i64().or(entry.exit_code);
    json!({"length": entry.out.len()}).to_string().into_response()
}

fn entry_of<'a>(plan: &'a mut Plan, body: &Value) -> &'a mut Entry {
    let number = body["entryId"].as_u64().unwrap() as usize;
    &mut plan.entries[number - 1]
}
