//! A real browser in front of `bulaq demo`, with the portals gone: whole pages, a film that plays, refusals.
//!
//! Wants Debian's `chromium` and `chromium-driver`, and says so when they are missing. Starts its own demo, driver and
//! browser on ports that the system chooses, and ends those alone. Every wait has an end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

/// Longest wait for the demo or the driver to say where it listens, on a busy machine.
const START_WAIT: Duration = Duration::from_secs(120);

/// Longest run of the whole test.
const TEST_WAIT: Duration = Duration::from_secs(300);

/// Longest wait for one page or one script in the browser.
const PAGE_WAIT_MS: u64 = 30_000;

/// Pages that the browser opens at least, over all languages.
const PAGES_MIN: usize = 20;

/// A child process that ends with its owner, its own children too, and the lines that it writes.
struct Started {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Started {
    fn new(command: &mut Command) -> std::io::Result<Self> {
        let mut child =
            command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let out = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let (told, lines) = mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        Ok(Self { child, lines })
    }

    /// The first thing that `find` makes of a line.
    fn wait_for<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(START_WAIT) {
                Ok(line) => match find(&line) {
                    Some(found) => return found,
                    None => seen.push(line),
                },
                Err(_) => panic!("no {what} within {START_WAIT:?}; it said:\n{}", seen.join("\n")),
            }
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // The group, so that a driver's browser goes with it when the test fails half-way.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// The demo, with its own folder in `place`: it is killed in the end, and could not remove it then.
fn demo(place: &Path) -> (Started, u16) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulaq"));
    let demo = Started::new(command.args(["demo", "--port", "0", "--pupils", "3"]).env("TMPDIR", place))
        .expect("bulaq was built for this test");
    let port = demo.wait_for("start page from `bulaq demo`", |line| {
        line.split_once("http://127.0.0.1:")?.1.split_once('/')?.0.parse().ok()
    });
    demo.wait_for("`bulaq demo` serving", |line| line.contains("Ctrl-C").then_some(()));
    (demo, port)
}

fn driver() -> (Started, u16) {
    let missing = "the browser test wants chromium and chromedriver: apt-get install chromium chromium-driver";
    assert!(Command::new("chromium").arg("--version").output().is_ok_and(|out| out.status.success()), "{missing}");
    let driver =
        Started::new(Command::new("chromedriver").args(["--port=0", "--allowed-ips=127.0.0.1"])).expect(missing);
    let port = driver.wait_for("port from chromedriver", |line| {
        line.strip_prefix("ChromeDriver was started successfully on port ")?.trim_end_matches('.').parse().ok()
    });
    (driver, port)
}

/// A headless browser with a profile of its own that speaks to nobody but the pages it is sent to.
async fn browser(driver_port: u16, profile: &Path) -> Client {
    let arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-dev-shm-usage",
        "--mute-audio",
        "--autoplay-policy=no-user-gesture-required",
        "--window-size=1200,900",
        &format!("--user-data-dir={}", profile.display()),
    ]
    .map(str::to_owned);
    let capabilities = json!({
        "goog:chromeOptions": { "args": arguments },
        "goog:loggingPrefs": { "performance": "ALL", "browser": "ALL" },
        "timeouts": { "pageLoad": PAGE_WAIT_MS, "script": PAGE_WAIT_MS, "implicit": 0 },
    });
    let Value::Object(capabilities) = capabilities else { unreachable!("written as an object") };
    ClientBuilder::new(HttpConnector::new())
        .capabilities(Capabilities::from_iter(capabilities))
        .connect(&format!("http://127.0.0.1:{driver_port}"))
        .await
        .expect("chromedriver starts chromium")
}

/// A command of chromedriver's own: its path under the session, and what is sent.
#[derive(Debug)]
struct Own(&'static str, Value);

impl WebDriverCompatibleCommand for Own {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.0))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.1.to_string()))
    }
}

/// What the browser logged since the last call: requests that failed or were answered with an error, and complaints.
async fn troubles(browser: &Client) -> Vec<String> {
    let (mut troubles, mut asked) = (Vec::new(), BTreeMap::new());
    let log = browser.issue_cmd(Own("se/log", json!({ "type": "performance" }))).await.expect("the performance log");
    for entry in log.as_array().expect("a list") {
        let event: Value = serde_json::from_str(entry["message"].as_str().expect("text")).expect("JSON in JSON");
        let (event, params) = (&event["message"]["method"], &event["message"]["params"]);
        match event.as_str() {
            Some("Network.requestWillBeSent") => {
                asked.insert(params["requestId"].to_string(), params["request"]["url"].to_string());
            }
            // A film that is scrubbed or left cancels its own requests.
            Some("Network.loadingFailed") if params["canceled"] != json!(true) => {
                let url = asked.get(&params["requestId"].to_string()).map_or("", String::as_str);
                // Only the pages count: at its start a browser also looks for its maker's servers.
                if url.contains("localhost") || url.contains("127.0.0.1") {
                    troubles.push(format!("{url}: {}", params["errorText"]));
                }
            }
            Some("Network.responseReceived") if params["response"]["status"].as_u64() >= Some(400) => {
                let response = &params["response"];
                troubles.push(format!("{} {}", response["status"], response["url"]));
            }
            _ => {}
        }
    }
    let log = browser.issue_cmd(Own("se/log", json!({ "type": "browser" }))).await.expect("the console");
    let said = log.as_array().expect("a list").iter().map(|entry| entry["message"].to_string());
    // The start page's mark: no name server here leads its name to the demo, and a device without it is nothing bad.
    let is_of_the_mark = |said: &String| said.contains("https://check.bulaq.internal/mark.svg");
    troubles.extend(said.filter(|said| !is_of_the_mark(said)));
    troubles
}

async fn run(browser: &Client, script: &str) -> Value {
    browser.execute(script, Vec::new()).await.expect("a script of this test")
}

/// What every page must be, for readers with and without eyes: one question a line, true when all is well.
const SOUND: &str = r#"
const all = (selector) => [...document.querySelectorAll(selector)];
return {
    "has a title": document.title.trim().length > 0,
    "says its language": ["kk", "ru", "en"].includes(document.documentElement.lang),
    "has one main heading": all("h1").length === 1,
    "has one main part": all("main").length === 1,
    "describes its pictures": all("img").every((img) => img.alt.trim().length > 0),
    "shows its pictures": all("img:not(#mark)").every((img) => img.complete && img.naturalWidth > 0),
    "has its styles": document.styleSheets.length > 0 && [...document.styleSheets].every((sheet) => sheet.cssRules.length > 0),
    "names its links": all("a").every((a) => a.textContent.trim().length > 0),
    "labels its inputs": all("input").every((input) => input.labels.length > 0),
    "fits a narrow screen": document.documentElement.scrollWidth <= window.innerWidth + 1,
    "has unique ids": new Set(all("[id]").map((e) => e.id)).size === all("[id]").length,
};
"#;

async fn assert_sound(browser: &Client, url: &str, language: &str) {
    let sound = run(browser, SOUND).await;
    for (question, answer) in sound.as_object().expect("an object") {
        assert_eq!(answer, &json!(true), "{url}: {question}");
    }
    assert_eq!(run(browser, "return document.documentElement.lang").await, json!(language), "{url}");
}

/// The lessons that the start page lists in one language.
async fn lessons(browser: &Client, start: &str, language: &str) -> Vec<String> {
    browser.goto(&format!("{start}{language}/")).await.expect("the start page opens");
    assert_sound(browser, start, language).await;
    let links = format!("return [...document.querySelectorAll('ul.lessons[lang={language}] a')].map((a) => a.href)");
    let links = run(browser, &links).await;
    links.as_array().expect("a list").iter().map(|link| link.as_str().expect("an address").to_owned()).collect()
}

/// Plays the film on the open page for a moment and turns its subtitles on. Waits for the player's own events.
const PLAY: &str = r#"
const done = arguments[arguments.length - 1];
const video = document.querySelector("video");
const track = [...document.querySelectorAll("track")].find((track) => track.default);
let cues = -1;
const finish = () => {
    if (video.currentTime > 0.4 && cues >= 0) {
        video.pause();
        done({ width: video.videoWidth, time: video.currentTime, state: video.readyState, cues });
    }
};
track.addEventListener("load", () => { cues = track.track.cues.length; finish(); });
track.addEventListener("error", () => done({ error: "subtitles" }));
video.addEventListener("timeupdate", finish);
video.addEventListener("error", () => done({ error: video.error.message }));
track.track.mode = "showing";
video.muted = true;
video.play().catch((error) => done({ error: String(error) }));
if (track.readyState === 2) { cues = track.track.cues.length; finish(); }
"#;

async fn every_lesson_opens(browser: &Client, start: &str) {
    let mut opened = BTreeSet::new();
    for language in ["kk", "ru", "en"] {
        let found = lessons(browser, start, language).await;
        assert!(found.len() >= 8, "{language}: the start page lists {found:?}");
        let (narrow, wide) = ((420, 900), (1200, 900));
        for (number, url) in found.iter().enumerate() {
            let (width, height) = if number % 2 == 0 { narrow } else { wide };
            browser.set_window_size(width, height).await.expect("a window of another size");
            browser.goto(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_sound(browser, url, language).await;
            assert_eq!(troubles(browser).await, [""; 0], "{url}");
            opened.insert(url.clone());
        }
    }
    assert!(opened.len() >= PAGES_MIN, "only {} pages: {opened:?}", opened.len());
}

async fn a_click_leads_on(browser: &Client, start: &str) {
    browser.goto(&format!("{start}ru/")).await.expect("the start page opens");
    let link = browser.find(Locator::LinkText("Круговорот воды в природе")).await.expect("the lesson is listed");
    link.click().await.expect("a link can be clicked");
    assert_eq!(
        run(browser, "return document.querySelector('h1').textContent").await,
        json!("Круговорот воды в природе")
    );
    browser.find(Locator::Css("p.next a")).await.expect("the next lesson").click().await.expect("a click");
    assert_eq!(run(browser, "return document.documentElement.lang").await, json!("ru"));
    assert_eq!(troubles(browser).await, [""; 0]);
}

async fn the_film_plays(browser: &Client, port: u16) {
    browser.goto(&format!("http://bilim.localhost:{port}/kk/science/water-cycle/")).await.expect("the lesson opens");
    let played = browser.execute_async(PLAY, Vec::new()).await.expect("the film plays within the time of a script");
    assert_eq!(played["error"], Value::Null, "{played}");
    assert_eq!(played["width"], json!(640), "{played}");
    assert_eq!(played["cues"], json!(4), "{played}");
    assert!(played["time"].as_f64() > Some(0.4), "{played}");
    assert_eq!(troubles(browser).await, [""; 0]);
}

/// Refusals and outages are pages too: in the reader's language, with their style, and with nothing from elsewhere.
async fn a_refusal_is_a_page(browser: &Client, port: u16) {
    let titles =
        [("kk", "Бұл сайт тізімде жоқ"), ("ru", "Этого сайта нет в списке"), ("en", "This site is not on the list")];
    for (language, title) in titles {
        let headers =
            json!({ "cmd": "Network.setExtraHTTPHeaders", "params": { "headers": { "Accept-Language": language } } });
        browser.issue_cmd(Own("goog/cdp/execute", headers)).await.expect("chromedriver passes it on");
        let url = format!("http://oyin.localhost:{port}/any/page");
        browser.goto(&url).await.expect("a refusal is an answer");
        assert_sound(browser, &url, language).await;
        assert_eq!(run(browser, "return document.querySelector('h1').textContent").await, json!(title));
        let bar = "return getComputedStyle(document.querySelector('.bar')).backgroundColor";
        assert_ne!(run(browser, bar).await, json!("rgba(0, 0, 0, 0)"), "the policy admits the page's own style");
        only_the_page_itself_failed(browser, &["403"]).await;

        browser
            .goto(&format!("http://bilim.localhost:{port}/{language}/account/"))
            .await
            .expect("an outage is an answer");
        assert_sound(browser, "the account page", language).await;
        let host = run(browser, "return document.querySelector('.host').textContent").await;
        assert_eq!(host, json!("bilim.localhost"));
        // Refused, or not even tried: after some failures the box leaves an origin alone for a while.
        only_the_page_itself_failed(browser, &["502", "503"]).await;
    }
}

/// The page is an error's; nothing on it may be one, above all no style or icon that its own policy refuses.
async fn only_the_page_itself_failed(browser: &Client, statuses: &[&str]) {
    let troubles = troubles(browser).await;
    let is_expected = |trouble: &String| statuses.iter().any(|status| trouble.contains(status));
    assert!(!troubles.is_empty() && troubles.iter().all(is_expected), "{troubles:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_opens_its_lessons_with_the_portals_gone() {
    let folder = tempfile::tempdir().expect("a folder for the demo and the browser's profile");
    let (_driver, driver_port) = driver();
    let (_demo, port) = demo(folder.path());
    let start = format!("http://127.0.0.1:{port}/");
    let story = async {
        let browser = browser(driver_port, &folder.path().join("profile")).await;
        every_lesson_opens(&browser, &start).await;
        a_click_leads_on(&browser, &start).await;
        the_film_plays(&browser, port).await;
        a_refusal_is_a_page(&browser, port).await;
        browser.close().await.expect("the browser closes");
    };
    tokio::time::timeout(TEST_WAIT, story).await.expect("the browser test ends in time");
}
