//! Exchanges between origin, box and client, as data: `scenarios/*.toml`.
//!
//! Each `[[scenario]]` has a box with an empty store, an origin of its own for `portal.test`, and steps that follow
//! each other. A step may let time pass (`advance_s`), set the clock back (`back_s`) or to seconds since 1970 (`clock_s`),
//! take the origin away (`origin_gone`), read everything from the disk again (`forgets`), start the box anew in the same
//! folder (`restarts`) or give the site other keys (`reload`). Then it sends one request: `request` (method and target)
//! with `fields` and `content`, or `raw` bytes, by a `door`, over `http2` if it says so. `answers` are what
//! the origin says to the requests that this causes, in turn; it must be asked exactly so often (with `at_most`, so
//! often or less). `{date}` in an answer is the time of the step, `{date-60}` a minute before; `gzip` is content that the
//! origin compresses. `expect` is about what the client gets (`gzip`: compressed), `origin` about the requests that the
//! origin got. `interim` are the interim responses before an answer: what the origin sends, and what the client must have
//! got, which is none unless it says so.
//!
//! The files in `scenarios/suite/` are what decides in the public HTTP cache tests, by its groups and under its ids; most
//! are cases, short for two steps (`scenarios/cases.rs`).
//!
//! `required` must hold; so must `optimal`, which says that the RFC asks for less. `observed` is told when it changes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[path = "scenarios/cases.rs"]
mod cases;
#[path = "scenarios/collapse.rs"]
mod collapse;
mod common;
#[path = "scenarios/crowd.rs"]
mod crowd;
#[path = "scenarios/early_end.rs"]
mod early_end;
#[path = "scenarios/files.rs"]
mod files;
#[path = "scenarios/limits.rs"]
mod limits;
#[path = "scenarios/one_tag.rs"]
mod one_tag;
#[path = "scenarios/parts.rs"]
mod parts;
#[path = "scenarios/proxy_pac.rs"]
mod proxy_pac;
#[path = "scenarios/together.rs"]
mod together;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bulaq::clock::Clock;
use bulaq::ingress::IngressOptions;
use bulaq::serve::RoomOptions;
use bulaq_cache_policy::Profile;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http_body_util::Empty;
use serde::Deserialize;
use tempfile::TempDir;

use common::allowlist;
use common::bulaq::{Bulaq, morning};
use common::client::{self, Answer, Client, Ending};
use common::origin::{Origin, Seen, Step, send};

const HOST: &str = "portal.test";

/// What the origin says when it is asked more often than the scenario has answers.
const UNSCRIPTED: &str = "HTTP/1.1 599 Unscripted\r\nContent-Length: 0\r\n\r\n";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    scenario: Vec<Scenario>,
    #[serde(default)]
    case: Vec<cases::Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    id: String,
    section: String,
    level: Level,
    /// More keys of the site in the allowlist.
    #[serde(default)]
    site: String,
    /// Whether clients on this machine may send `PURGE`.
    #[serde(default)]
    may_purge: bool,
    #[serde(default)]
    profile: OneProfile,
    step: Vec<OneStep>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Level {
    Required,
    Optimal,
    Observed,
}

#[derive(Deserialize, Debug, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum OneProfile {
    #[default]
    School,
    Rfc9111,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct OneStep {
    #[serde(default)]
    advance_s: u64,
    #[serde(default)]
    back_s: u64,
    clock_s: Option<u64>,
    #[serde(default)]
    forgets: bool,
    #[serde(default)]
    restarts: bool,
    reload: Option<String>,
    #[serde(default)]
    http2: bool,
    /// From this step on, until another says otherwise.
    origin_gone: Option<bool>,
    #[serde(default)]
    door: Door,
    #[serde(default)]
    request: String,
    host: Option<String>,
    #[serde(default)]
    fields: Vec<String>,
    content: Option<String>,
    raw: Option<String>,
    #[serde(default)]
    answers: Vec<OneAnswer>,
    #[serde(default)]
    at_most: bool,
    #[serde(default)]
    origin: ExpectedAtOrigin,
    expect: Expected,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Door {
    #[default]
    Reverse,
    Forward,
}

#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields)]
struct OneAnswer {
    /// Status, and perhaps field lines, of each interim response that comes first.
    #[serde(default)]
    interim: Vec<String>,
    status: Option<String>,
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default)]
    content: String,
    /// In place of `content`, compressed and said to be so.
    gzip: Option<String>,
    /// With `status`, the content as it is, without a length; without, the whole answer.
    raw: Option<String>,
    end: Option<End>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum End {
    Close,
    Reset,
    Hang,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ExpectedAtOrigin {
    sees: Option<Vec<String>>,
    #[serde(default)]
    has: Vec<String>,
    #[serde(default)]
    lacks: Vec<String>,
    content: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Expected {
    status: OneOf,
    content: Option<String>,
    /// What the content is, once it is no longer compressed.
    gzip: Option<String>,
    #[serde(default)]
    contains: Vec<String>,
    #[serde(default)]
    has: Vec<String>,
    #[serde(default)]
    lacks: Vec<String>,
    /// The client must see that it has only a part.
    #[serde(default)]
    is_cut: bool,
    /// That, or an error in place of it.
    #[serde(default)]
    is_cut_or_error: bool,
    /// The connection must end after the answer.
    #[serde(default)]
    closes: bool,
    #[serde(default)]
    interim: Vec<ExpectedInterim>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedInterim {
    status: u16,
    #[serde(default)]
    has: Vec<String>,
    #[serde(default)]
    lacks: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOf {
    One(u16),
    Some(Vec<u16>),
}

impl Default for OneOf {
    fn default() -> Self {
        Self::One(200)
    }
}

impl OneOf {
    fn holds(&self, status: u16) -> bool {
        match self {
            Self::One(one) => *one == status,
            Self::Some(some) => some.contains(&status),
        }
    }
}

#[tokio::test]
async fn scenarios() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let inside = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = inside(&folder).chain(inside(&folder.join("suite"))).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "toml"));
    files.sort();
    assert!(!files.is_empty());
    let only = std::env::var("SCENARIO").ok();
    let mut broken = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let parsed: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        broken.extend(cases::play(&parsed.case, only.as_deref()).await);
        for scenario in parsed.scenario {
            if only.as_ref().is_some_and(|only| !scenario.id.contains(only)) {
                continue;
            }
            let mut stage = Stage::set(&scenario.site, scenario.profile, scenario.may_purge).await;
            let Err(what) = stage.play(&scenario.step).await else { continue };
            let told = format!("{} ({}): {what}", scenario.id, scenario.section);
            match scenario.level {
                Level::Required | Level::Optimal => broken.push(told),
                Level::Observed => println!("observed: {told}"),
            }
        }
    }
    assert!(broken.is_empty(), "{} scenarios:\n{}", broken.len(), broken.join("\n"));
}

/// How many scenarios a file has: those of its data, or its test functions.
fn scenarios_in(file: &Path) -> usize {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    match file.extension().is_some_and(|end| end == "toml") {
        true => toml::from_str::<File>(&text).unwrap().scenario.len(),
        false => text.matches("#[tokio::test").count(),
    }
}

#[test]
fn the_guide_counts_the_scenarios_as_they_are() {
    let proxy = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(proxy.join("../docs/beyond-the-suite.md")).unwrap();
    let rows = guide.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ").map(str::trim);
        let (_group, file, count) = (cells.next()?, cells.next()?, cells.next()?);
        Some((file.strip_prefix("`proxy/tests/")?.strip_suffix('`')?.to_owned(), count.parse::<usize>().ok()?))
    });
    let rows: Vec<_> = rows.collect();
    assert!(rows.len() >= 7, "{rows:?}");
    for (file, count) in rows {
        assert_eq!(scenarios_in(&proxy.join("tests").join(&file)), count, "{file}");
    }
}

/// One scenario's box and origin.
struct Stage {
    /// None only while another takes its place.
    box_at_work: Option<Bulaq>,
    /// The site's keys.
    site: String,
    may_purge: bool,
    profile: OneProfile,
    origin: Option<Origin>,
    address: SocketAddr,
    script: Arc<Mutex<VecDeque<Vec<Step>>>>,
}

impl Stage {
    async fn set(site: &str, profile: OneProfile, may_purge: bool) -> Self {
        let script = Arc::<Mutex<VecDeque<Vec<Step>>>>::default();
        let origin = Origin::start(following(&script)).await;
        let address = origin.address;
        let mut stage = Self {
            box_at_work: None,
            site: site.to_owned(),
            may_purge,
            profile,
            origin: Some(origin),
            address,
            script,
        };
        stage.open(Arc::new(tempfile::tempdir().unwrap()), Clock::held(morning()));
        stage
    }

    fn bulaq(&self) -> &Bulaq {
        self.box_at_work.as_ref().expect("another takes its place only in `restart`")
    }

    /// Stops the box in order, and starts another in its folder.
    async fn restart(&mut self) {
        let Some(bulaq) = self.box_at_work.take() else { return };
        let clock = bulaq.clock.clone();
        self.open(bulaq.stop().await, clock);
    }

    fn open(&mut self, folder: Arc<TempDir>, clock: Clock) {
        let list = allowlist(&[HOST], &self.site);
        let alter_doors = |doors: &mut IngressOptions| {
            if self.may_purge {
                doors.purgers = doors.operators.clone();
            }
        };
        let alter = |options: &mut RoomOptions| {
            impatient(options);
            options.request.policy.profile = match self.profile {
                OneProfile::School => Profile::School,
                OneProfile::Rfc9111 => Profile::Rfc9111,
            };
        };
        self.box_at_work = Some(Bulaq::start_at(folder, clock, list, &[HOST], self.address, alter, alter_doors));
    }

    async fn play(&mut self, steps: &[OneStep]) -> Result<(), String> {
        for (index, step) in steps.iter().enumerate() {
            self.prepare(step).await;
            let before = self.seen().len();
            let (answer, has_ended) = self.ask(step).await;
            let seen = self.seen().split_off(before);
            let answer = answer.as_ref().ok_or_else(|| format!("step {}: no answer", index + 1))?;
            let mut wrong = Vec::new();
            check_answer(&step.expect, answer, has_ended, &mut wrong);
            check_origin(step, &seen, &mut wrong);
            if !wrong.is_empty() {
                return Err(format!("step {}: {}; the client got {answer:?}", index + 1, wrong.join("; ")));
            }
            // The store may still be taking what the client has already; the next step must find it there.
            self.bulaq().has_settled().await;
        }
        Ok(())
    }

    async fn prepare(&mut self, step: &OneStep) {
        let clock = &self.bulaq().clock;
        clock.advance(Duration::from_secs(step.advance_s));
        clock.set(clock.now() - Duration::from_secs(step.back_s));
        if let Some(since_1970) = step.clock_s {
            clock.set(UNIX_EPOCH + Duration::from_secs(since_1970));
        }
        if let Some(site) = &step.reload {
            self.bulaq().rooms.reload(allowlist(&[HOST], site));
            self.site.clone_from(site);
        }
        if step.restarts {
            self.restart().await;
        }
        if step.forgets {
            self.bulaq().rooms.context.store.forget_memory();
        }
        match step.origin_gone {
            Some(true) => {
                if let Some(origin) = self.origin.take() {
                    origin.stop().await;
                }
            }
            Some(false) if self.origin.is_none() => {
                self.origin = Some(Origin::start_at(self.address, following(&self.script)).await);
            }
            _ => {}
        }
        let answers = step.answers.iter().map(|answer| self.steps(answer));
        *self.script.lock().unwrap() = answers.collect();
    }

    fn steps(&self, answer: &OneAnswer) -> Vec<Step> {
        let content = answer.gzip.as_ref().map_or_else(|| answer.content.clone().into_bytes(), |text| gzip(text));
        let text = match (&answer.status, &answer.raw) {
            (None, raw) => raw.clone().unwrap_or_default(),
            (Some(status), raw) => {
                let mut head = format!("HTTP/1.1 {status}\r\n");
                if !answer.fields.iter().any(|line| line.starts_with("Date:")) {
                    head += "Date: {date}\r\n";
                }
                if raw.is_none() && !status.starts_with("304") {
                    head += &format!("Content-Length: {}\r\n", content.len());
                }
                if answer.gzip.is_some() {
                    head += "Content-Encoding: gzip\r\n";
                }
                for line in &answer.fields {
                    head += &format!("{line}\r\n");
                }
                head + "\r\n" + raw.as_deref().unwrap_or_default()
            }
        };
        let interim: String =
            answer.interim.iter().map(|head| format!("HTTP/1.1 {}\r\n\r\n", head.trim_end())).collect();
        let mut bytes = self.dated(&(interim + &text)).into_bytes();
        if answer.status.is_some() && answer.raw.is_none() {
            bytes.extend(content);
        }
        let mut steps = vec![send(bytes)];
        steps.extend(answer.end.map(|end| match end {
            End::Close => Step::Close,
            End::Reset => Step::Reset,
            End::Hang => Step::Hang,
        }));
        steps
    }

    /// `{date}`, `{date-60}` and `{date+60}` in words.
    fn dated(&self, text: &str) -> String {
        let mut dated = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{date") {
            let (shift, after) = after.split_once('}').expect("a closing brace");
            let now = self.bulaq().clock.now();
            let at = match shift.strip_prefix('-') {
                Some(back) => now.checked_sub(Duration::from_secs(back.parse().unwrap())).unwrap_or(UNIX_EPOCH),
                None => now + Duration::from_secs(shift.strip_prefix('+').unwrap_or("0").parse().unwrap()),
            };
            dated += before;
            dated += &httpdate::fmt_http_date(at);
            rest = after;
        }
        dated + rest
    }

    async fn ask(&self, step: &OneStep) -> (Option<Answer>, bool) {
        let door = match step.door {
            Door::Reverse => self.bulaq().http,
            Door::Forward => self.bulaq().forward,
        };
        if step.http2 {
            return (Some(over_http2(door, step).await), false);
        }
        let bytes = step.raw.clone().unwrap_or_else(|| written(step));
        let mut client = Client::connect(door).await;
        client.send(&bytes).await;
        let answer = client.answer(bytes.starts_with("HEAD ")).await;
        let has_ended = step.expect.closes && client.is_ended().await;
        (answer, has_ended)
    }

    fn seen(&self) -> Vec<Seen> {
        self.origin.as_ref().map(Origin::seen).unwrap_or_default()
    }
}

/// Waits that a test can afford.
fn impatient(options: &mut RoomOptions) {
    options.origin.head_timeout = Duration::from_millis(300);
    options.origin.idle_body_timeout = Duration::from_millis(300);
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    match GzDecoder::new(bytes).read_to_string(&mut text) {
        Ok(_) => text,
        Err(error) => format!("no gzip: {error}"),
    }
}

/// A request over HTTP/2, and what its client understood of the answer.
async fn over_http2(door: SocketAddr, step: &OneStep) -> Answer {
    let (method, target) = step.request.split_once(' ').expect("a method and a target");
    let uri = if target.contains("://") { target.to_owned() } else { format!("http://{}{target}", host(step)) };
    let mut request = http::Request::builder().method(method).uri(uri);
    for (name, value) in step.fields.iter().map(|line| line.split_once(": ").expect("a field line")) {
        request = request.header(name, value);
    }
    client::over_http2(door, request.body(Empty::new()).unwrap()).await
}

fn following(script: &Arc<Mutex<VecDeque<Vec<Step>>>>) -> impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static {
    let script = Arc::clone(script);
    move |_| script.lock().unwrap().pop_front().unwrap_or_else(|| vec![send(UNSCRIPTED)])
}

fn written(step: &OneStep) -> String {
    let mut text =
        format!("{} HTTP/1.1\r\nHost: {}\r\n", step.request, step.host.as_deref().unwrap_or_else(|| host(step)));
    for line in &step.fields {
        text += &format!("{line}\r\n");
    }
    if let Some(content) = &step.content {
        text += &format!("Content-Length: {}\r\n", content.len());
    }
    text + "\r\n" + step.content.as_deref().unwrap_or_default()
}

/// The host of an absolute target, or the scenario's own.
fn host(step: &OneStep) -> &str {
    step.request.split_once("://").map_or(HOST, |(_, rest)| rest.split('/').next().unwrap())
}

fn check_answer(expect: &Expected, answer: &Answer, has_ended: bool, wrong: &mut Vec<String>) {
    if !expect.status.holds(answer.status) {
        wrong.push(format!("status {}", answer.status));
    }
    if expect.content.as_ref().is_some_and(|content| *content != answer.text()) {
        wrong.push(format!("content {:?}", answer.text()));
    }
    if let Some(text) = &expect.gzip
        && (*text != gunzip(&answer.content) || answer.field("content-encoding").as_deref() != Some("gzip"))
    {
        wrong.push(format!("compressed content {:?}", gunzip(&answer.content)));
    }
    for part in expect.contains.iter().filter(|part| !answer.text().contains(part.as_str())) {
        wrong.push(format!("{part:?} is not in the content"));
    }
    check_fields(&expect.has, &expect.lacks, &|name| answer.field(name), wrong);
    check_interim(&expect.interim, &answer.interim, wrong);
    let is_whole = answer.is_whole() || answer.status == 304 || expect.content.as_deref() == Some("");
    let is_cut = answer.ending == Ending::Cut;
    if expect.is_cut && !is_cut {
        wrong.push("it was told to be whole".to_owned());
    }
    if expect.is_cut_or_error && !is_cut && answer.status < 500 {
        wrong.push("it was told to be whole".to_owned());
    }
    if !expect.is_cut && !expect.is_cut_or_error && !is_whole {
        wrong.push("it was cut".to_owned());
    }
    if expect.closes && !has_ended {
        wrong.push("the connection goes on".to_owned());
    }
}

fn check_interim(expected: &[ExpectedInterim], got: &[Answer], wrong: &mut Vec<String>) {
    let statuses: Vec<_> = got.iter().map(|interim| interim.status).collect();
    if statuses != expected.iter().map(|interim| interim.status).collect::<Vec<_>>() {
        return wrong.push(format!("interim responses {statuses:?}"));
    }
    for (expected, got) in expected.iter().zip(got) {
        check_fields(&expected.has, &expected.lacks, &|name| got.field(name), wrong);
    }
}

fn check_origin(step: &OneStep, seen: &[Seen], wrong: &mut Vec<String>) {
    let (asked, expected) = (seen.len(), step.answers.len());
    if asked > expected || (asked < expected && !step.at_most) {
        let lines: Vec<_> = seen.iter().map(|seen| seen.head.lines().next().unwrap_or_default()).collect();
        wrong.push(format!("the origin was asked {asked} times, not {expected}: {lines:?}"));
    }
    let lines: Vec<_> = seen.iter().map(|seen| format!("{} {}", seen.method(), seen.target())).collect();
    if step.origin.sees.as_ref().is_some_and(|expected| *expected != lines) {
        wrong.push(format!("the origin saw {lines:?}"));
    }
    for seen in seen {
        check_fields(&step.origin.has, &step.origin.lacks, &|name| seen.field(name), wrong);
        if step.origin.content.as_ref().is_some_and(|content| content.as_bytes() != seen.content) {
            wrong.push(format!("the origin got {:?}", String::from_utf8_lossy(&seen.content)));
        }
    }
}

/// `Name: value` must be there so (`has`) or not (`lacks`); `lacks` with a name alone means no line of it.
fn check_fields(has: &[String], lacks: &[String], field: &dyn Fn(&str) -> Option<String>, wrong: &mut Vec<String>) {
    for line in has {
        let (name, value) = line.split_once(": ").expect("a field line");
        if field(name).as_deref() != Some(value) {
            wrong.push(format!("{name} is {:?}, not {value:?}", field(name)));
        }
    }
    for line in lacks {
        let (name, value) = line.split_once(": ").map_or((line.as_str(), None), |(name, value)| (name, Some(value)));
        let found = field(name);
        if found.is_some() && value.is_none_or(|value| found.as_deref() == Some(value)) {
            wrong.push(format!("{name} is {found:?}"));
        }
    }
}
