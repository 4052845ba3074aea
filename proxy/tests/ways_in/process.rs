//! Programs that these tests start: each ends with its owner, its own children too, and every wait has an end.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// Longer than anything takes on a busy machine; only a test that fails waits for it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A program that runs until this is dropped.
pub struct Started {
    pub child: Child,
}

impl Started {
    /// Starts it in a group of its own.
    pub fn new(command: &mut Command, missing: &str) -> Self {
        let child = command.process_group(0).spawn().unwrap_or_else(|error| panic!("{missing}: {error}"));
        Self { child }
    }

    /// Waits for its own end.
    pub fn wait(&mut self) {
        let _ = self.child.wait();
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let _ = self.child.wait();
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// The lines that a program writes, as they come, and all so far.
pub struct Lines {
    told: mpsc::Receiver<String>,
    pub seen: Vec<String>,
}

impl Lines {
    pub fn of(out: impl Read + Send + 'static) -> Self {
        let (tell, told) = mpsc::channel();
        let out = BufReader::new(out);
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { told, seen: Vec::new() }
    }

    /// The first thing that `find` makes of a line from now on.
    pub fn wait_for<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        loop {
            let Ok(line) = self.told.recv_timeout(PATIENCE) else {
                panic!("no {what} within {PATIENCE:?}");
            };
            let found = find(&line);
            self.seen.push(line);
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// All lines of a program that has ended.
    pub fn rest(mut self) -> Vec<String> {
        // Its pipe ends with it, and the channel with the pipe.
        while let Ok(line) = self.told.recv_timeout(PATIENCE) {
            self.seen.push(line);
        }
        std::mem::take(&mut self.seen)
    }
}

impl Drop for Lines {
    /// A test that fails shows what the program said until then.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.seen.extend(self.told.try_iter());
            eprintln!("it said:\n{}", self.seen.join("\n"));
        }
    }
}

/// Runs a program to its end; what it wrote, both ways. Fails when it cannot be started.
pub fn run(command: &mut Command, missing: &str) -> (bool, String) {
    let out = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{missing}: {error}"));
    let text = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Writes a file that its owner alone can read.
pub fn write_secret(path: &Path, text: &str) {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
