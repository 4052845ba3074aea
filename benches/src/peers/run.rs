//! One run: who is there, every case, every round, in turns.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use clap::Args;

use super::cases::{self, Case, Scene, Sizes, Turns};
use super::contenders::{self, Contender};
use super::figures::{CaseFigures, Comparison, Figure, Installed, Machine};
use super::limit::within;
use super::noise::Listener;
use super::world::World;

#[derive(Args)]
pub(crate) struct Options {
    /// The cases, with commas between them; without it, all but `million`, which takes long and much of the disk.
    #[arg(long, value_delimiter = ',', value_name = "CASES")]
    cases: Vec<String>,
    /// Who is compared, with commas between them; without it, all.
    #[arg(long, value_delimiter = ',', value_enum)]
    contenders: Vec<Contender>,
    /// Rounds; in each, every contender has a turn, forwards and backwards in turns.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long a turn with steady load takes.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How many objects of 4 KiB a full store has, for the cases memory and restart.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=4_000_000))]
    objects: u32,
    /// How long the school morning takes, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=600))]
    morning: u64,
}

/// Measures, and tells each case as it is done; after each, `keep` gets all that was found so far.
///
/// # Errors
/// When a case is unknown, nobody is installed, or `keep` fails. What a contender can't do is no error: it is in the
/// figures.
pub(crate) fn measure(
    bulaq: &Path,
    options: &Options,
    keep: impl Fn(&Comparison) -> anyhow::Result<()>,
) -> anyhow::Result<Comparison> {
    let cases =
        chosen(&options.cases, &Sizes { objects: options.objects, morning: Duration::from_secs(options.morning) })?;
    let bulaq = &bulaq.canonicalize().unwrap_or_else(|_| bulaq.to_owned());
    let wished = if options.contenders.is_empty() { contenders::ALL.to_vec() } else { options.contenders.clone() };
    let (mut present, mut installed, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for contender in wished {
        match contender.version(bulaq) {
            Ok(version) => {
                present.push(contender);
                let (name, note) = (contender.name().to_owned(), contender.note().to_owned());
                installed.push(Installed { name, version, note });
            }
            Err(error) => {
                eprintln!("{}: {error:#}", contender.name());
                missing.push(contender.name().to_owned());
            }
        }
    }
    if present.is_empty() {
        bail!("nobody that is to be compared is installed");
    }
    let world = World::new(bulaq.to_owned())?;
    if !world.cores().are_divided() {
        eprintln!("there is one core: contender, load and origin share it, and requests a second say little");
    }
    let scene = Scene { world: &world, seconds: options.seconds };
    let mut listener = Listener::default();
    let mut comparison = Comparison {
        commit: commit(),
        date: httpdate::fmt_http_date(SystemTime::now()),
        machine: machine()?,
        noise: listener.judge(options.rounds, &[]),
        rounds: options.rounds,
        seconds: options.seconds,
        contenders: installed,
        missing,
        cases: Vec::new(),
    };
    let begun = Instant::now();
    for case in &cases {
        let figures = play(case.as_ref(), &scene, &present, options.rounds, &mut listener)?;
        print!("{}", super::table::of_case(&figures, &present));
        eprintln!("{}: over, {} s after the beginning", case.name(), begun.elapsed().as_secs());
        comparison.cases.push(figures);
        comparison.noise = listener.judge(options.rounds, &comparison.cases);
        keep(&comparison)?;
    }
    Ok(comparison)
}

fn chosen(names: &[String], sizes: &Sizes) -> anyhow::Result<Vec<Box<dyn Case>>> {
    let all = cases::all(sizes);
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|case| case.name() != name.as_str())) {
        let known: Vec<&str> = all.iter().map(|case| case.name()).collect();
        bail!("there is no case {unknown}; there are {}", known.join(", "));
    }
    let is_named = |case: &dyn Case| names.iter().any(|name| name == case.name());
    let is_chosen = |case: &dyn Case| if names.is_empty() { case.is_usual() } else { is_named(case) };
    Ok(all.into_iter().filter(|case| is_chosen(case.as_ref())).collect())
}

/// One case with everybody.
fn play(
    case: &dyn Case,
    scene: &Scene<'_>,
    contenders: &[Contender],
    rounds: u32,
    listener: &mut Listener,
) -> anyhow::Result<CaseFigures> {
    let mut rows = case.rows();
    let mut failures = BTreeMap::new();
    let limit = case.limit(scene.seconds);
    let mut ready: Vec<(Contender, Box<dyn Turns + '_>)> = Vec::new();
    for &contender in contenders {
        eprintln!("{}: {} gets ready", case.name(), contender.name());
        match within(limit, contender.name(), || case.begin(scene, contender)) {
            Ok(turns) => ready.push((contender, turns)),
            Err(error) => fail(case, contender, &error, &mut failures),
        }
    }
    for round in 0..case.rounds(rounds) {
        for place in 0..ready.len() {
            let place = if round % 2 == 0 { place } else { ready.len() - 1 - place };
            let (contender, turns) = &mut ready[place];
            if failures.contains_key(contender.name()) {
                continue;
            }
            match listener.during(|| within(limit, contender.name(), || turns.turn()))? {
                Ok(values) => note(&mut rows, *contender, &values),
                Err(error) => fail(case, *contender, &error, &mut failures),
            }
        }
    }
    for row in &mut rows {
        row.values.retain(|name, _| !failures.contains_key(name));
    }
    Ok(CaseFigures { name: case.name().to_owned(), what: case.what(), figures: rows, failures })
}

fn note(rows: &mut [Figure], contender: Contender, values: &[(&'static str, f64)]) {
    for (name, value) in values {
        if let Some(row) = rows.iter_mut().find(|row| row.name == *name) {
            row.values.entry(contender.name().to_owned()).or_default().push(*value);
        }
    }
}

fn fail(case: &dyn Case, contender: Contender, error: &anyhow::Error, failures: &mut BTreeMap<String, String>) {
    eprintln!("{}: {}: {error:#}", case.name(), contender.name());
    failures.insert(contender.name().to_owned(), format!("{error:#}"));
}

/// What was built, as far as the folder tells.
pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success());
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let is_changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|changes| !changes.is_empty());
    if is_changed { format!("{commit} and changes") } else { commit }
}

fn machine() -> anyhow::Result<Machine> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| format!("{path} can't be read"));
    let field = |text: &str, name: &str, separator: char| {
        let mut lines = text.lines().filter_map(|line| line.split_once(separator));
        lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().trim_matches('"').to_owned())
    };
    let unknown = || "unknown".to_owned();
    let memory = field(&read("/proc/meminfo")?, "MemTotal", ':').context("no MemTotal in /proc/meminfo")?;
    let kib: f64 = memory.trim_end_matches("kB").trim().parse()?;
    Ok(Machine {
        cpu: field(&read("/proc/cpuinfo")?, "model name", ':').unwrap_or_else(unknown),
        cores: read("/proc/cpuinfo")?.lines().filter(|line| line.starts_with("processor")).count(),
        memory_gib: (kib / (1 << 20) as f64 * 10.0).round() / 10.0,
        kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        system: read("/etc/os-release").ok().and_then(|text| field(&text, "PRETTY_NAME", '=')).unwrap_or_else(unknown),
    })
}
