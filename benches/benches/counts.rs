//! The instructions of single steps, counted by valgrind and compared with benches/counts.toml: run it by `.ci/counts`.

mod kernels;

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use bulaq_benches::counts::{
    CALLS, CountError, Counter, Counts, PROCESSES, Step, accept, compare, middle, report, taken_with,
};
use clap::Parser;

/// Calls of each step before the counted ones, so that what happens once has happened.
const WARM_UP_CALLS: usize = 20;

#[derive(Parser)]
#[command(about = "Counts the instructions of single steps and compares them with the committed figures")]
struct Arguments {
    /// Writes the figures that moved to benches/counts.toml, with this reason.
    #[arg(long, value_name = "REASON")]
    accept: Option<String>,
    /// Counts the steps of this question alone.
    #[arg(long, value_name = "QUESTION", conflicts_with = "accept")]
    only: Option<String>,
    /// Makes the calls of a question's steps, and nothing else. What is counted calls this program so.
    #[arg(long, value_name = "QUESTION", hide = true)]
    steps_of: Option<String>,
    /// Cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(question) = &arguments.steps_of {
        make_calls(question);
        return ExitCode::SUCCESS;
    }
    match judge(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("counts: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether no step takes more than it may.
fn judge(arguments: &Arguments) -> anyhow::Result<bool> {
    let now = taken_with()?;
    let is_wanted = |name: &str| arguments.only.as_deref().is_none_or(|only| only == name);
    let questions: Vec<&str> =
        kernels::QUESTIONS.iter().map(|question| question.name).filter(|name| is_wanted(name)).collect();
    anyhow::ensure!(!questions.is_empty(), "there is no such question");
    let steps = count(&questions)?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("counts.toml");
    let committed = if file.exists() { Counts::read(&file)? } else { Counts::default() };
    let lines = compare(&committed, &steps, arguments.only.is_none());
    match &arguments.accept {
        Some(reason) => {
            anyhow::ensure!(!reason.trim().is_empty(), "a reason has words: --accept \"why\"");
            print!("{}", report(&lines, &committed.taken_with, &now));
            accept(&committed, &steps, reason.trim(), now).write(&file)?;
            println!("Accepted; {} has what moved.", file.display());
            Ok(true)
        }
        None => {
            print!("{}", report(&lines, &committed.taken_with, &now));
            Ok(!lines.iter().any(|line| line.verdict.is_failure()))
        }
    }
}

/// Counts the steps of all questions, in as many processes at a time as there are processors.
fn count(questions: &[&str]) -> anyhow::Result<Vec<Step>> {
    let folder = tempfile::tempdir().context("no folder for temporary files")?;
    let counter = Counter { program: std::env::current_exe()?, folder: folder.path().to_owned() };
    let next = AtomicUsize::new(0);
    type Counted = (usize, Result<Vec<Step>, CountError>);
    let counted: Mutex<Vec<Counted>> = Mutex::default();
    let at_a_time = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    let (question, process) = (turn / PROCESSES, turn % PROCESSES);
                    let Some(name) = questions.get(question) else { break };
                    let steps = counter.count(name, process);
                    counted.lock().unwrap_or_else(PoisonError::into_inner).push((question, steps));
                }
            });
        }
    });
    let mut processes = vec![Vec::new(); questions.len()];
    for (question, steps) in counted.into_inner().unwrap_or_else(PoisonError::into_inner) {
        processes[question].push(steps?);
    }
    Ok(processes.iter().flat_map(|processes| middle(processes)).collect())
}

fn make_calls(question: &str) {
    for question in kernels::QUESTIONS.iter().filter(|it| it.name == question) {
        for mut kernel in (question.kernels)().into_iter().filter(|kernel| kernel.is_counted) {
            println!("{}", kernel.name);
            for call in 0..WARM_UP_CALLS + CALLS {
                if let Some(prepare) = &mut kernel.prepare {
                    prepare();
                }
                if call < WARM_UP_CALLS {
                    (kernel.run)();
                } else {
                    bulaq_counted_call(&mut kernel.run);
                }
            }
        }
    }
}

/// The call whose instructions are counted; valgrind knows it by this name.
#[inline(never)]
fn bulaq_counted_call(run: &mut dyn FnMut()) {
    run();
    // Else this would be no call but a jump.
    black_box(());
}
