//! What the cache does under a class, measured from outside: the built box, an origin of our own, clients over sockets.
//!
//! `cargo run --release -p bulaq-benches -- crowd|seek|cut|handshakes|hellos [--bulaq PROGRAM] [--json FILE]` prints a table with targets and
//! exits with 1 when one is missed. All content is made from a seed, so every byte that a client gets is compared.
//! `--release` builds the measuring program; the box is `target/release/bulaq` unless `--bulaq` names another, and has
//! to be built before.

mod boxed;
mod client;
mod content;
mod crowd;
mod cut;
mod handshakes;
mod hellos;
mod nginx;
mod origin;
mod report;
mod seek;
mod tls;

use std::path::PathBuf;
use std::process::ExitCode;

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
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bulaq-benches: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all targets were met.
fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let program = arguments.bulaq.clone().map_or_else(boxed::beside_us, Ok)?;
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    let report = runtime.block_on(async {
        match &arguments.question {
            Question::Crowd(options) => crowd::measure(&program, options).await,
            Question::Seek(options) => seek::measure(&program, options).await,
            Question::Cut(options) => cut::measure(&program, options).await,
            Question::Handshakes(options) => handshakes::measure(&program, options).await,
            Question::Hellos(options) => hellos::measure(&program, options).await,
        }
    })?;
    print!("{report}");
    if let Some(file) = &arguments.json {
        std::fs::write(file, report.to_json()).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(report.is_met())
}
