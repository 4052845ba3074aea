//! The comparison as a command: what it says of who is not there, and that it leaves nobody behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// The command with nothing on its path but what is in `programs`, and its folders in `folder`.
fn peers(programs: &Path, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulaq-benches"));
    command.arg("peers").args(arguments).env("PATH", programs).env("TMPDIR", folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn who_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = peers(folder.path(), folder.path(), &["--contenders", "squid,haproxy"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(said.contains("squid: squid is missing; it comes with squid-openssl"), "{said}");
    assert!(said.contains("haproxy: haproxy is missing"), "{said}");
}

#[test]
fn an_unknown_case_is_refused_with_those_that_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let output = peers(folder.path(), folder.path(), &["--cases", "tiny-hit,fast-hit"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("there is no case fast-hit; there are tiny-hit,"), "{said}");
}

/// A contender that never serves, with a process below it; then this program is interrupted.
#[test]
fn an_interrupted_comparison_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (programs, work) = (folder.path().join("programs"), folder.path().join("work"));
    fs::create_dir_all(&programs).unwrap();
    fs::create_dir_all(&work).unwrap();
    let pids = folder.path().join("pids");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = -v ] && echo nginx/1.0.0 && exit\n/bin/sleep 1000 &\necho $$ $! >{0}.new\n/bin/mv {0}.new {0}\nwait\n",
        pids.display()
    );
    let nginx = programs.join("nginx");
    fs::write(&nginx, script).unwrap();
    fs::set_permissions(&nginx, fs::Permissions::from_mode(0o755)).unwrap();

    let mut command = peers(&programs, &work, &["--contenders", "nginx", "--cases", "tiny-hit"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !pids.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the comparison ended before its contender ran");
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));

    for pid in fs::read_to_string(&pids).unwrap().split_whitespace() {
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        // What was killed may be asked about by the system's first process a moment later.
        while test_kill_process(pid).is_ok() && !is_zombie(pid) {
            std::thread::yield_now();
        }
    }
    assert_eq!(fs::read_dir(&work).unwrap().count(), 0, "its folder is gone");
}

fn is_zombie(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}
