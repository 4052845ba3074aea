//! Chromium, spoken to in its own protocol over a pipe: it needs no driver, and may stand in any network.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc;

use serde_json::{Value, json};

use super::net::Machine;
use super::process::{PATIENCE, Started};

const MISSING: &str = "this test wants chromium: apt-get install chromium";

/// Its two pipes have the numbers 3 and 4, which a shell can give them.
const START: &str = "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null";

/// A browser with a home of its own.
pub struct Chromium {
    process: Started,
    to: ChildStdin,
    messages: mpsc::Receiver<Value>,
    session: String,
    last: u64,
    home: PathBuf,
}

/// One answer that a page was given.
#[derive(Debug)]
pub struct Loaded {
    pub url: String,
    pub status: u64,
    /// Whose address the browser says that it spoke to.
    pub address: String,
    /// Who signed for it, as the browser's certificate viewer says; empty without TLS.
    pub issuer: String,
}

/// What became of a visit.
#[derive(Debug)]
pub struct Visit {
    /// `net::ERR_…` when the page could not be had.
    pub error: Option<String>,
    /// What the page shows: its first heading, or all of its text.
    pub heading: String,
    /// What `window.lesson` says, where a page has it.
    pub lesson: Value,
    pub loaded: Vec<Loaded>,
    /// What failed on the page, with its reason; and complaints of the console.
    pub failed: Vec<String>,
}

impl Visit {
    /// Who signed for the page and everything on it.
    pub fn issuers(&self) -> Vec<&str> {
        let mut issuers: Vec<_> = self.loaded.iter().map(|loaded| loaded.issuer.as_str()).collect();
        issuers.sort_unstable();
        issuers.dedup();
        issuers
    }
}

impl Chromium {
    /// Starts it on a device. `home` has its trust (`.pki/nssdb`), and gets its profile and its own network log.
    pub fn start(device: &Machine, home: &Path, more: &[&str]) -> Self {
        let mut command = device.command("sh");
        command.args(["-c", START, "sh", "chromium", "--headless=new", "--no-sandbox", "--disable-gpu"]);
        command.args(["--no-first-run", "--disable-sync", "--disable-background-networking"]);
        command.args(["--disable-component-update", "--disable-dev-shm-usage", "--remote-debugging-pipe"]);
        command.arg(format!("--user-data-dir={}", home.join("profile").display()));
        command.arg(format!("--log-net-log={}", home.join("net-log.json").display()));
        command.args(more).env("HOME", home).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Started::new(&mut command, MISSING);
        let to = process.child.stdin.take().expect("a pipe");
        let mut from = BufReader::new(process.child.stdout.take().expect("a pipe"));
        let (tell, messages) = mpsc::channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while from.read_until(0, &mut message).is_ok_and(|length| length > 1) {
                message.pop();
                let Ok(()) = tell.send(serde_json::from_slice(&message).expect("JSON")) else { return };
                message.clear();
            }
        });
        let mut browser = Self { process, to, messages, session: String::new(), last: 0, home: home.to_owned() };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attach = json!({ "targetId": target, "flatten": true });
        let session = browser.ask("Target.attachToTarget", attach)["sessionId"].clone();
        browser.session = session.as_str().expect("a session").to_owned();
        for domain in ["Network.enable", "Page.enable", "Runtime.enable", "Log.enable"] {
            browser.ask(domain, json!({}));
        }
        browser
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.ask_while(method, params, &mut Vec::new())
    }

    /// Sends a command, and waits for its answer; events on the way are added to `events`.
    fn ask_while(&mut self, method: &str, params: Value, events: &mut Vec<Value>) -> Value {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": params });
        if !self.session.is_empty() && !method.starts_with("Browser.") {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap_or_else(|error| panic!("{MISSING}: {error}"));
        loop {
            let message = self.next(method);
            if message["id"] == json!(self.last) {
                assert_eq!(message["error"], Value::Null, "{method}");
                return message["result"].clone();
            }
            events.push(message);
        }
    }

    fn next(&self, what: &str) -> Value {
        self.messages.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("chromium, {what}: {error} ({MISSING})"))
    }

    /// Opens a page and waits until all of it is there, or could not be had.
    pub fn visit(&mut self, url: &str) -> Visit {
        let mut events = Vec::new();
        // What the box or the site says is to be seen, not what the browser kept; and asked for as any reader asks.
        self.ask("Network.clearBrowserCache", json!({}));
        let told = self.ask_while("Page.navigate", json!({ "url": url }), &mut events);
        let error = told["errorText"].as_str().map(str::to_owned);
        if error.is_none() {
            let is_loaded = |event: &Value| event["method"] == json!("Page.loadEventFired");
            while !events.iter().any(is_loaded) {
                let event = self.next(url);
                events.push(event);
            }
        }
        let script = "(async () => JSON.stringify([document.querySelector('h1')?.textContent ?? document.body.innerText,\
                      JSON.parse(await window.lesson ?? 'null')]))()";
        let evaluate = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let shown = self.ask_while("Runtime.evaluate", evaluate, &mut events);
        let shown = shown["result"]["value"].as_str().unwrap_or("[\"\", null]").to_owned();
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        let heading = shown[0].as_str().unwrap_or_default().to_owned();
        let (loaded, failed) = read(&events);
        Visit { error, heading, lesson: shown[1].clone(), loaded, failed }
    }

    /// Makes the window so wide, as on a phone or a desk.
    pub fn resize(&mut self, width: u32) {
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// What a script says, as text.
    pub fn run(&mut self, script: &str) -> String {
        let evaluate = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let said = self.ask("Runtime.evaluate", evaluate);
        said["result"]["value"].as_str().map_or_else(|| said.to_string(), str::to_owned)
    }

    /// Closes it, and gives what its own network log has: who signed each certificate that it was ever shown.
    pub fn close(mut self) -> Vec<String> {
        self.ask("Browser.close", json!({}));
        self.process.wait();
        let log = std::fs::read_to_string(self.home.join("net-log.json")).expect("the browser wrote its log");
        super::trust::issuers_in(&log)
    }
}

/// Answers and troubles out of what the browser told.
fn read(events: &[Value]) -> (Vec<Loaded>, Vec<String>) {
    let (mut loaded, mut failed, mut asked) = (Vec::new(), Vec::new(), BTreeMap::new());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for event in events {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                asked.insert(text(&params["requestId"]), text(&params["request"]["url"]));
            }
            Some("Network.loadingFailed") => {
                let url = asked.get(params["requestId"].as_str().unwrap_or_default());
                failed.push(format!("{}: {}", url.map_or("", String::as_str), text(&params["errorText"])));
            }
            Some("Network.responseReceived") => {
                let response = &params["response"];
                loaded.push(Loaded {
                    url: text(&response["url"]),
                    status: response["status"].as_u64().unwrap_or_default(),
                    address: text(&response["remoteIPAddress"]),
                    issuer: text(&response["securityDetails"]["issuer"]),
                });
            }
            Some("Log.entryAdded") => failed.push(text(&params["entry"]["text"])),
            _ => {}
        }
    }
    // Every browser asks for an icon, and most sites of this test have none.
    loaded.retain(|loaded| !loaded.url.ends_with("/favicon.ico"));
    failed.retain(|failed| !failed.contains("favicon.ico"));
    (loaded, failed)
}
