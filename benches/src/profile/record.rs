//! Sampling with `perf`: where the processor is, and how it came there, some hundred times a second.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

use super::stacks::{Stack, parse};

/// Samples a second: odd, so that nothing that happens in step with the clock is always or never seen.
const SAMPLES_PER_S: &str = "499";

/// How the callers are found: by the tables that the program has for panics, from this much of its stack. Frame pointers,
/// which would be cheaper, are not in the release build.
const CALLERS: &str = "dwarf,16384";

/// Samples below which nothing can be said.
const SAMPLES_MIN: usize = 200;

/// # Errors
/// When it is not installed.
pub(super) fn look_for_perf() -> anyhow::Result<()> {
    let version = Command::new("perf").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    ensure!(
        version.is_ok_and(|status| status.success()),
        "perf is missing: install it (apt-get install linux-perf) and run this again"
    );
    Ok(())
}

/// Samples the box that this process has started, for so long, while `load` is called again and again.
///
/// # Errors
/// When there is no box, `perf` must not sample it, or the load fails.
pub(super) fn while_under_load(
    folder: &Path,
    seconds: u32,
    mut load: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Stack>> {
    let file = folder.join("perf.data");
    let mut perf = Command::new("perf");
    perf.args(["record", "--quiet", "-e", "cpu-clock", "-F", SAMPLES_PER_S, "--call-graph", CALLERS, "-o"]).arg(&file);
    perf.args(["-p", &box_of_ours()?.to_string(), "--", "sleep", &seconds.to_string()]);
    let mut perf = perf.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().context("perf does not start")?;
    while perf.try_wait()?.is_none() {
        load()?;
    }
    let output = perf.wait_with_output()?;
    if !output.status.success() {
        bail!("perf cannot sample: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let mut script = Command::new("perf");
    script.args(["script", "--no-inline", "-F", "comm,ip,sym", "-i"]).arg(&file).stdin(Stdio::null());
    let script = script.stderr(Stdio::null()).output().context("perf cannot tell what it sampled")?;
    fs::remove_file(&file).context("what perf wrote cannot be removed")?;
    let stacks = parse(&String::from_utf8_lossy(&script.stdout));
    ensure!(stacks.len() >= SAMPLES_MIN, "only {} samples were taken: sample for longer", stacks.len());
    Ok(stacks)
}

/// The box among the processes that this one has started.
fn box_of_ours() -> anyhow::Result<u32> {
    let mut open = children_of(std::process::id())?;
    while let Some(process) = open.pop() {
        if fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|exe| exe.file_name().is_some_and(is_the_box)) {
            return Ok(process);
        }
        open.extend(children_of(process).unwrap_or_default());
    }
    bail!("no box was started")
}

fn is_the_box(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with("bulaq")
}

fn children_of(process: u32) -> anyhow::Result<Vec<u32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_found_and_no_box_among_them() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(children_of(std::process::id()).unwrap().contains(&child.id()));
        assert!(box_of_ours().is_err_and(|error| error.to_string().contains("no box")));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_the_box(OsStr::new("bulaq")) && !is_the_box(OsStr::new("nginx")));
    }
}
