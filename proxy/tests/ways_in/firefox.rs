//! Firefox, spoken to in its own protocol (Marionette) over a socket in the device's network.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::net::{Machine, at};
use super::process::{Lines, PATIENCE, Started};

const MISSING: &str = "this test wants Firefox: apt-get install firefox-esr";

/// Longest message that is read from it.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// What no profile of a test does: speak to its maker.
const QUIET: &str = r#"
user_pref("marionette.port", 0);
user_pref("remote.log.level", "Info");
user_pref("app.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("browser.cache.disk.enable", false);
user_pref("browser.cache.memory.enable", false);
user_pref("dom.security.https_only_mode", false);
user_pref("dom.security.https_first", false);
"#;

/// A browser with a profile of its own.
pub struct Firefox {
    _process: Started,
    stream: TcpStream,
    last: u64,
}

/// What became of a visit.
#[derive(Debug)]
pub struct Visit {
    /// What the page could not be had for.
    pub error: Option<String>,
    pub heading: String,
    pub lesson: Value,
    /// Who signed for the page, as the browser's certificate viewer says; empty without TLS.
    pub issuer: String,
}

impl Firefox {
    /// Starts it on a device. `profile` has its trust (`cert9.db`) already; `prefs` are lines of `user.js`.
    pub fn start(device: &Machine, profile: &Path, prefs: &str) -> Self {
        std::fs::write(profile.join("user.js"), format!("{QUIET}{prefs}")).unwrap();
        let mut command = device.command("firefox-esr");
        command
            .args(["--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile"])
            .arg(profile);
        command.env("HOME", profile).env("MOZ_CRASHREPORTER_DISABLE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Started::new(&mut command, MISSING);
        let mut lines = Lines::of(process.child.stdout.take().expect("a pipe"));
        let port = lines.wait_for(&format!("port from Firefox ({MISSING})"), |line| {
            line.split_once("Listening on port ")?.1.trim().parse().ok()
        });
        let stream = device.connect(at(Ipv4Addr::LOCALHOST, port)).expect("Firefox listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut browser = Self { _process: process, stream, last: 0 };
        browser.read();
        let timeouts = json!({ "pageLoad": 30_000, "script": 30_000 });
        browser.ask("WebDriver:NewSession", json!({ "timeouts": timeouts })).expect("a session");
        browser
    }

    /// A message: its length in digits, a colon, and JSON.
    fn read(&mut self) -> Value {
        let mut digits = String::new();
        loop {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).expect("Firefox answers");
            if byte[0] == b':' {
                break;
            }
            digits.push(char::from(byte[0]));
        }
        let length: usize = digits.parse().expect("a length");
        assert!(length <= MESSAGE_BYTES_MAX, "a message of {length} bytes");
        let mut message = vec![0; length];
        self.stream.read_exact(&mut message).expect("Firefox answers");
        serde_json::from_slice(&message).expect("JSON")
    }

    /// Sends a command, and gives its result or its error's message.
    fn ask(&mut self, name: &str, params: Value) -> Result<Value, String> {
        self.last += 1;
        let message = json!([0, self.last, name, params]).to_string();
        write!(self.stream, "{}:{message}", message.len()).expect("Firefox listens");
        let answer = self.read();
        match &answer[2] {
            Value::Null => Ok(answer[3].clone()),
            error => Err(error["message"].as_str().unwrap_or_default().to_owned()),
        }
    }

    /// What a script of the page says, as text.
    pub fn run(&mut self, script: &str) -> String {
        let script = json!({ "script": script, "args": [], "newSandbox": false });
        let said = self.ask("WebDriver:ExecuteScript", script);
        said.map_or_else(|error| error, |said| said["value"].as_str().unwrap_or_default().to_owned())
    }

    /// What the browser itself knows of the page's certificate.
    fn issuer(&mut self) -> String {
        self.ask("Marionette:SetContext", json!({ "value": "chrome" })).expect("the browser's own side");
        let issuer = self.run("return gBrowser.securityUI.secInfo?.serverCert?.issuerCommonName ?? ''");
        self.ask("Marionette:SetContext", json!({ "value": "content" })).expect("the page's side");
        issuer
    }

    /// Opens a page and waits until all of it is there, or could not be had.
    pub fn visit(&mut self, url: &str) -> Visit {
        let error = self.ask("WebDriver:Navigate", json!({ "url": url })).err();
        if error.is_some() {
            return Visit { error, heading: String::new(), lesson: Value::Null, issuer: self.issuer() };
        }
        let heading = self.run("return document.querySelector('h1')?.textContent ?? document.body.innerText");
        let lesson = self.run("return window.wrappedJSObject?.lesson ?? window.lesson ?? 'null'");
        let lesson = serde_json::from_str(&lesson).unwrap_or(Value::String(lesson));
        Visit { error, heading, lesson, issuer: self.issuer() }
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        // In order, so that its profile is whole; if it does not, its process is ended anyway.
        let _ = self.ask("Marionette:Quit", json!({ "flags": ["eForceQuit"] }));
    }
}
