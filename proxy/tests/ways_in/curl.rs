//! curl: a client that does exactly what it is told.

use std::path::Path;
use std::process::Command;

use super::net::Machine;
use super::process::run;

const MISSING: &str = "this test wants curl: apt-get install curl";

/// What it got: its exit status, the status of the answer and its text.
#[derive(Debug, PartialEq, Eq)]
pub struct Got {
    /// Whether it went well, as curl sees it.
    pub is_well: bool,
    /// The body, and a line `STATUS VERSION` at the end; or the complaint.
    pub said: String,
}

/// Asks for a URL from a device, trusting these roots (a file of one or several).
pub fn get(device: &Machine, roots: &Path, url: &str, more: &[&str]) -> Got {
    let mut command: Command = device.command("curl");
    command.args(["--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code} %{http_version}"]);
    command.arg("--cacert").arg(roots).args(more).arg(url);
    let (is_well, said) = run(&mut command, MISSING);
    Got { is_well, said }
}
