//! One page of a browser, and what it did.

use super::pipe::Pipe;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a page may take to be as it should.
const SOON: Duration = Duration::from_mins(1);

/// The visitor's taste.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Dark text on a light ground.
    Light,
    /// The other way round.
    Dark,
}

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Shot {
    /// Pixels across.
    pub width: u32,
    /// The visitor's taste.
    pub scheme: Scheme,
}

/// A page.
pub struct Page {
    pipe: Arc<Pipe>,
    session: String,
}

impl Page {
    pub(super) fn new(pipe: Arc<Pipe>, session: String) -> Self {
        let page = Self { pipe, session };
        for domain in ["Page", "Runtime", "Network", "Log", "Audits"] {
            page.call(&format!("{domain}.enable"), &json!({}));
        }
        page
    }

    fn call(&self, method: &str, parameters: &Value) -> Value {
        self.pipe.call(Some(&self.session), method, parameters)
    }

    /// Whether scripts run, from the next page on.
    pub fn allow_scripts(&self, allowed: bool) {
        self.call("Emulation.setScriptExecutionDisabled", &json!({"value": !allowed}));
    }

    /// Looks at pages in this way from now on.
    pub fn look(&self, shot: Shot) {
        let size =
            json!({"width": shot.width, "height": 800, "deviceScaleFactor": 1, "mobile": shot.width < 600});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if shot.scheme == Scheme::Dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", &media);
    }

    /// Goes there, and waits until all of it is there.
    pub fn open(&self, url: &str) {
        let seen = self.events().len();
        let went = self.call("Page.navigate", &json!({"url": url}));
        assert!(went["errorText"].is_null(), "{url}: {}", went["errorText"]);
        self.loaded(seen);
    }

    /// Does something that leads to another page, and waits until that is there.
    pub fn go(&self, does: impl FnOnce(&Self)) {
        let seen = self.events().len();
        does(self);
        self.loaded(seen);
    }

    fn loaded(&self, seen: usize) {
        self.pipe.event(&self.session, seen, "a page", |event| event["method"] == "Page.loadEventFired");
    }

    /// What a script of ours finds; that works where the page's own don't run as well.
    pub fn eval(&self, script: &str) -> Value {
        let asked =
            json!({"expression": script, "returnByValue": true, "awaitPromise": true, "userGesture": true});
        let answer = self.call("Runtime.evaluate", &asked);
        assert!(answer["exceptionDetails"].is_null(), "{script}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// Its text, as it is seen.
    pub fn text(&self) -> String {
        self.eval("document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// Its HTML as it is now.
    pub fn html(&self) -> String {
        self.eval("document.documentElement.outerHTML").as_str().unwrap_or_default().to_owned()
    }

    /// Where it is: the path and the query.
    pub fn path(&self) -> String {
        self.eval("location.pathname + location.search").as_str().unwrap_or_default().to_owned()
    }

    /// Waits until `script` finds something that is true.
    pub fn until(&self, script: &str) {
        let deadline = Instant::now() + SOON;
        // While another page comes there is nothing to be asked.
        let asked = json!({"expression": format!("!!({script})"), "returnByValue": true});
        let is_so = || {
            let answer = self.pipe.ask(Some(&self.session), "Runtime.evaluate", &asked);
            answer.is_ok_and(|answer| answer["result"]["value"] == true)
        };
        while !is_so() {
            assert!(Instant::now() < deadline, "waited {SOON:?} for {script} in:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// Waits until this text is seen.
    pub fn until_text(&self, text: &str) {
        self.until(&format!("document.body && document.body.innerText.includes({})", json!(text)));
    }

    /// Fills in a field, by its selector.
    pub fn fill(&self, selector: &str, text: &str) {
        let focus = format!(
            "(() => {{ const it = document.querySelector({0}); it.focus(); it.value = ''; return true }})()",
            json!(selector)
        );
        self.eval(&focus);
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// Types into whatever has the focus.
    pub fn type_text(&self, text: &str) {
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// Clicks something in its middle, as a hand does.
    pub fn click(&self, selector: &str) {
        let place = format!(
            "(() => {{ const it = document.querySelector({0}); it.scrollIntoView({{block: 'center'}}); \
             const r = it.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] }})()",
            json!(selector)
        );
        let place = self.eval(&place);
        for kind in ["mousePressed", "mouseReleased"] {
            let click =
                json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &click);
        }
    }

    /// Presses a key, such as `Tab` or `Enter`.
    pub fn press(&self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            " " => (32, " "),
            _ => panic!("{key} is no key that tests press"),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let key =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.call("Input.dispatchKeyEvent", &key);
        }
    }

    /// Pictures all of it into a file.
    pub fn picture(&self, file: &Path) {
        let shot =
            self.call("Page.captureScreenshot", &json!({"format": "png", "captureBeyondViewport": true}));
        let data = BASE64_STANDARD.decode(shot["data"].as_str().unwrap_or_default()).expect("base64");
        std::fs::write(file, data).expect("a picture");
    }

    /// Everything that happened so far.
    pub fn events(&self) -> Vec<Value> {
        self.pipe.events(&self.session)
    }

    /// What of all that happened must not: dialogs, complaints on the console, requests to elsewhere, downloads.
    pub fn misdeeds(&self, ours: &str) -> Vec<String> {
        let told = |event: &Value| -> Option<String> {
            let (method, parameters) = (event["method"].as_str()?, &event["params"]);
            let is_bad = match method {
                "Page.javascriptDialogOpening" | "Runtime.exceptionThrown" | "Page.windowOpen" => true,
                "Runtime.consoleAPICalled" => parameters["type"] != "debug",
                "Log.entryAdded" => {
                    // A page that is refused is told there as well: tests look at its status. And so is that somebody, or a
                    // test, was quicker than the page to choose a field.
                    let text = parameters["entry"]["text"].as_str().unwrap_or_default();
                    !text.starts_with("Failed to load resource: the server responded with a status of 4")
                        && !text
                            .starts_with("Autofocus processing was blocked because a document already has")
                }
                "Audits.issueAdded" => parameters["issue"]["code"]
                    .as_str()
                    .is_some_and(|code| code.contains("ContentSecurityPolicy")),
                "Network.requestWillBeSent" => {
                    let url = parameters["request"]["url"].as_str().unwrap_or_default();
                    !url.starts_with(ours) && url != "about:blank"
                }
                _ => false,
            };
            is_bad.then(|| format!("{method}: {parameters}"))
        };
        self.events().iter().filter_map(told).collect()
    }
}
