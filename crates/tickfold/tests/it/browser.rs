//! Chromium without a window, driven as its own developer tools drive it: commands in JSON over a pair of
//! pipes, so that no port, no driver program and no package stands between.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::eventually;

/// A start on a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reaches this machine and nothing else, and leaves nothing behind.
const FLAGS: &str = "--headless --remote-debugging-pipe --no-first-run --no-proxy-server --disable-gpu \
    --disable-background-networking --disable-component-update --disable-sync --disable-extensions \
    --disable-dev-shm-usage --no-sandbox --hide-scrollbars --host-resolver-rules='MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'";

/// A browser with one page. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    last: u64,
    session: Option<String>,
    /// What the page threw and nobody caught.
    pub(crate) thrown: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts it; a page notes from its beginning what its policy forbade.
    pub(crate) fn start() -> Self {
        let profile = TempDir::new().unwrap();
        // Chromium reads commands from descriptor 3 and answers on 4. The wrapper of Debian is a script that
        // becomes the browser, so the process is the browser.
        let line = format!(
            "exec chromium {FLAGS} --user-data-dir='{}' about:blank 3<&0 4>&1 0</dev/null 1>/dev/null",
            profile.path().display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &line]).env("HOME", profile.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (to, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, from) = channel();
        thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let message: Value = serde_json::from_slice(&message).unwrap();
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser =
            Self { child, to, from, last: 0, session: None, thrown: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable"] {
            browser.call(domain, json!({}));
        }
        let source = "window.forbidden = []; document.addEventListener('securitypolicyviolation', \
                      (event) => forbidden.push(event.violatedDirective));";
        browser.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": source }));
        browser
    }

    /// One command, and its result.
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("chromium is there: scripts/setup.sh installs it");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = match self.from.recv_timeout(deadline - Instant::now()) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => panic!("no answer to {method}"),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("chromium ended, or is not there: scripts/setup.sh installs it")
                }
            };
            if message["method"] == "Runtime.exceptionThrown" {
                self.thrown.push(message["params"]["exceptionDetails"].to_string());
            }
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
        }
    }

    /// Opens an address and waits until it is loaded.
    pub(crate) fn open(&mut self, url: &str) {
        self.eval("window.before = true");
        self.call("Page.navigate", json!({ "url": url }));
        self.until("window.before === undefined && document.readyState === 'complete'");
    }

    /// The value of an expression in the page.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// The text that stands in the page where a selector finds it.
    pub(crate) fn text(&mut self, selector: &str) -> String {
        let found = self.eval(&format!("document.querySelector({selector:?})?.textContent ?? ''"));
        found.as_str().unwrap().to_owned()
    }

    /// The texts of everything that a selector finds.
    pub(crate) fn texts(&mut self, selector: &str) -> Vec<String> {
        let found = self.eval(&format!(
            "[...document.querySelectorAll({selector:?})].map((one) => one.textContent)"
        ));
        serde_json::from_value(found).unwrap()
    }

    /// Waits until an expression holds.
    pub(crate) fn until(&mut self, expression: &str) {
        eventually(expression, || (self.eval(&format!("!!({expression})")) == true).then_some(()));
    }

    /// Waits until a place has a text.
    pub(crate) fn until_text(&mut self, selector: &str, part: &str) {
        self.until(&format!(
            "(document.querySelector({selector:?})?.textContent ?? '').includes({part:?})"
        ));
    }

    /// Clicks with the mouse in the middle of what a selector finds.
    pub(crate) fn click(&mut self, selector: &str) {
        self.until(&format!("document.querySelector({selector:?})"));
        let place = self.eval(&format!(
            "(() => {{ const it = document.querySelector({selector:?}); it.scrollIntoView({{ block: 'center', behavior: 'instant' }}); \
             const box = it.getBoundingClientRect(); return {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }}; }})()"
        ));
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let mut event = json!({ "type": kind, "button": "left", "clickCount": 1 });
            event["x"] = place["x"].clone();
            event["y"] = place["y"].clone();
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Types into what has the focus.
    pub(crate) fn insert(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Presses a key: its name, and what it writes if anything.
    pub(crate) fn key(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            " " => (32, " "),
            "/" => (191, "/"),
            _ => panic!("{key}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Presses Tab until what a selector names has the focus.
    pub(crate) fn tab_to(&mut self, selector: &str) {
        for _ in 0..60 {
            if self.eval(&format!("!!document.activeElement?.matches({selector:?})")) == true {
                return;
            }
            self.key("Tab");
        }
        panic!("Tab does not come to {selector}");
    }

    /// The size of the window, and the colours that its user prefers.
    pub(crate) fn window(&mut self, width: u32, height: u32, colours: &str) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let features = json!([{ "name": "prefers-color-scheme", "value": colours }]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }));
    }

    /// Keeps a picture of the window, if somebody wants to see it.
    pub(crate) fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("TICKFOLD_SCREENSHOTS") else { return };
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let bytes = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::write(std::path::Path::new(&folder).join(name), bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
