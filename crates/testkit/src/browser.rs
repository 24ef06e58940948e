//! A real browser: Chromium without a window, spoken to by its own protocol over two pipes.
//!
//! Each browser has a new, empty profile. It reaches this machine alone, so that nothing a page does goes unseen: whatever it asks for is
//! noted, and what it asks for elsewhere fails.

mod page;
mod pipe;

pub use page::{Page, Scheme, Shot};

use pipe::Pipe;
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

/// What the program is called.
const PROGRAMS: [&str; 2] = ["/usr/bin/chromium", "/usr/bin/chromium-browser"];

/// Makes descriptors 3 and 4, where the browser is spoken to, of the first two, and is the browser from then on.
const HAND_OVER: &str = "exec \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null";

/// A browser that runs until it is dropped.
pub struct Browser {
    pipe: Arc<Pipe>,
    child: Child,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; none where there is no Chromium.
    pub fn start() -> Option<Self> {
        let program = PROGRAMS.into_iter().find(|program| std::path::Path::new(program).exists())?;
        let profile = tempfile::Builder::new().prefix("executor-browser-").tempdir().expect("a directory");
        let mut command = Command::new("sh");
        command.args(["-c", HAND_OVER, "sh", program]);
        command.args([
            "--headless=new",
            "--remote-debugging-pipe",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-extensions",
            "--disable-features=Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider",
            "--metrics-recording-only",
            "--password-store=basic",
            "--use-mock-keychain",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--no-proxy-server",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        command.env("HOME", profile.path()).env("XDG_CONFIG_HOME", profile.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("sh starts");
        let (to, from) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let pipe = Arc::new(Pipe::new(to, from));
        pipe.call(None, "Browser.getVersion", &json!({}));
        Some(Self { pipe, child, _profile: profile })
    }

    /// A page of its own, which shares no cookie with others.
    pub fn page(&self) -> Page {
        let context = self.pipe.call(None, "Target.createBrowserContext", &json!({}));
        self.page_in(&context["browserContextId"])
    }

    fn page_in(&self, context: &Value) -> Page {
        let target = json!({"url": "about:blank", "browserContextId": context, "width": 1280, "height": 800});
        let target = self.pipe.call(None, "Target.createTarget", &target);
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.pipe.call(None, "Target.attachToTarget", &attach);
        let session = attached["sessionId"].as_str().expect("a session").to_owned();
        Page::new(Arc::clone(&self.pipe), session)
    }
}

impl Drop for Browser {
    /// It ends with all its processes when it is asked to; should it not, it is killed.
    fn drop(&mut self) {
        self.pipe.send(None, "Browser.close", &json!({}));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while std::time::Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
