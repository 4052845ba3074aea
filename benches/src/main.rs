//! What the cache does under a class, measured from outside: the built box, an origin of our own, clients over sockets.
//!
//! `cargo run --release -p bulaq-benches -- crowd|seek|cut|handshakes|hellos|churn|peers [--bulaq PROGRAM] [--json FILE]` prints a table with targets and
//! exits with 1 when one is missed. All content is made from a seed, so every byte that a client gets is compared.
//! `--release` builds the measuring program; the box is `target/release/bulaq` unless `--bulaq` names another, and has
//! to be built before.

mod boxed;
mod churn;
mod client;
mod content;
mod crowd;
mod cut;
mod document;
mod handshakes;
mod hellos;
mod origin;
mod peers;
mod profile;
mod report;
mod seek;
mod tls;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures the box as a class meets it", version)]
struct Arguments {
    #[command(subcommand)]
    question: Question,
    /// The box to measure; without it, the release build beside this program.
    #[arg(long, global = true, value_name = "PROGRAM")]
    bulaq: Option<PathBuf>,
    /// Writes the figures as JSON, too.
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Question {
    /// 500 clients open one cold page whose site is slow.
    Crowd(crowd::Options),
    /// Players seek in a cold video.
    Seek(seek::Options),
    /// The box, the site or the link goes away in the middle of a large body.
    Cut(cut::Options),
    /// Whole and resumed TLS handshakes for a second of processor time, beside nginx with the same key.
    Handshakes(handshakes::Options),
    /// Garbage and slow first messages at the https door while others come in.
    Hellos(hellos::Options),
    /// A day's churn in ten minutes: does the box grow?
    Churn(churn::Options),
    /// The box beside nginx, Squid, Varnish, Traffic Server and HAProxy.
    Peers(peers::Options),
    /// Where the time of a hit goes, by `perf`.
    Profile(profile::Options),
    /// Makes docs/performance.md from what `peers` and `profile` wrote.
    Document(document::Options),
}

/// Ended because a target was missed.
const MISSED: u8 = 1;

/// Ended without a verdict: the machine is too noisy for one.
const TOO_NOISY: u8 = 3;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bulaq-benches: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let program = || arguments.bulaq.clone().map_or_else(boxed::beside_us, Ok);
    let runtime = || tokio::runtime::Runtime::new().context("no runtime");
    let report = match &arguments.question {
        // It divides the cores before there is a thread.
        Question::Peers(options) => return compare(arguments, options),
        Question::Profile(options) => return sample(arguments, options),
        Question::Document(options) => return document::make(options).map(|()| ExitCode::SUCCESS),
        Question::Churn(options) => churn::measure(&program()?, options),
        Question::Crowd(options) => runtime()?.block_on(crowd::measure(&program()?, options)),
        Question::Seek(options) => runtime()?.block_on(seek::measure(&program()?, options)),
        Question::Cut(options) => runtime()?.block_on(cut::measure(&program()?, options)),
        Question::Handshakes(options) => runtime()?.block_on(handshakes::measure(&program()?, options)),
        Question::Hellos(options) => runtime()?.block_on(hellos::measure(&program()?, options)),
    }?;
    print!("{report}");
    write(arguments, &report.to_json(&peers::commit(), &httpdate::fmt_http_date(SystemTime::now())))?;
    Ok(if report.is_met() { ExitCode::SUCCESS } else { ExitCode::from(MISSED) })
}

fn compare(arguments: &Arguments, options: &peers::Options) -> anyhow::Result<ExitCode> {
    // A box that was not built is named among the missing.
    let program = arguments.bulaq.clone().map_or_else(boxed::release_build, Ok)?;
    // After each case: a run that is broken off loses nothing but the case that it was at.
    let keep = |so_far: &peers::Comparison| write(arguments, &format!("{:#}\n", serde_json::to_value(so_far)?));
    let comparison = peers::measure(&program, options, keep)?;
    print!("{}", peers::verdict(&comparison));
    Ok(match (comparison.noise.is_quiet, comparison.is_any_missed()) {
        (false, _) => ExitCode::from(TOO_NOISY),
        (true, true) => ExitCode::from(MISSED),
        (true, false) => ExitCode::SUCCESS,
    })
}

fn sample(arguments: &Arguments, options: &profile::Options) -> anyhow::Result<ExitCode> {
    let profile = profile::measure(&arguments.bulaq.clone().map_or_else(boxed::release_build, Ok)?, options)?;
    print!("{profile}");
    write(arguments, &format!("{:#}\n", serde_json::to_value(&profile)?))?;
    Ok(ExitCode::SUCCESS)
}

fn write(arguments: &Arguments, json: &str) -> anyhow::Result<()> {
    let Some(file) = &arguments.json else { return Ok(()) };
    std::fs::write(file, json).with_context(|| format!("{} cannot be written", file.display()))
}
