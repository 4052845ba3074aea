//! Processes of a contender: started, watched as the system sees them, and ended for sure.
//!
//! Every child has a process group of its own and is known here until it has ended. It is ended, with all that it
//! started, when its [`Running`] is dropped, and when this program is told to end (a thread waits for the signals).

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

use super::world::Cores;
use crate::boxed::HOST;

/// How long a contender may take until it serves: with a million stored responses, too.
const START_WAIT: Duration = Duration::from_secs(60);

/// How long one that was asked to end may take before it is killed.
const STOP_WAIT: Duration = Duration::from_secs(60);

/// How often it is looked whether something has come about.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How often it is tried to remove a folder.
const REMOVALS_MAX: u32 = 100;

/// What a shell tells of a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// Clock ticks a second in `/proc`; the same on every Linux that the box runs on.
const TICKS_PER_S: f64 = 100.0;

/// What must go when this program goes.
#[derive(Default)]
struct Remains {
    /// Children, and for which contender they were started.
    children: BTreeMap<u32, &'static str>,
    folders: Vec<PathBuf>,
}

static REMAINS: Mutex<Remains> = Mutex::new(Remains { children: BTreeMap::new(), folders: Vec::new() });

fn remains() -> MutexGuard<'static, Remains> {
    REMAINS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on, a signal that ends this program ends all children and removes `folder` first.
pub(super) fn forget_on_signals(folder: &Path) {
    static WATCH: Once = Once::new();
    remains().folders.push(folder.to_owned());
    WATCH.call_once(|| {
        thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            // Without a watch, a signal ends this program as ever.
            let _never = runtime.and_then(|runtime| runtime.block_on(end_on_signal()));
        });
    });
}

async fn end_on_signal() -> std::io::Result<()> {
    let (mut interrupt, mut terminate, mut hang_up) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
        _ = hang_up.recv() => (),
    }
    leave(INTERRUPTED)
}

/// Ends this program at once, with all its children, and removes its folders first.
pub(super) fn leave(code: i32) -> ! {
    // Kept to the end: nobody starts another one meanwhile.
    let remains = remains();
    for &child in remains.children.keys() {
        kill_tree(child);
    }
    for folder in &remains.folders {
        // The main thread may be putting something there; without the folder it can't any more.
        for _ in 0..REMOVALS_MAX {
            if fs::remove_dir_all(folder).is_ok() || !folder.exists() {
                break;
            }
        }
    }
    std::process::exit(code)
}

/// Ends what was started for a contender, and all below it. Whoever owns it finds it ended.
pub(super) fn end_all_of(contender: &str) {
    let remains = remains();
    for (&child, _) in remains.children.iter().filter(|&(_, &whose)| whose == contender) {
        kill_tree(child);
    }
}

/// Starts a program for a contender, on its core; it is known until its owner has seen its end.
fn start(mut command: Command, contender: &'static str, cores: &Cores) -> anyhow::Result<Child> {
    command.process_group(0);
    let name = command.get_program().to_owned();
    let mut remains = remains();
    let child = cores.on_the_contenders(|| command.spawn())?;
    let child = child.with_context(|| format!("{} can't be started", name.display()))?;
    remains.children.insert(child.id(), contender);
    Ok(child)
}

/// Ends a child for sure, with all below it, and waits until they have gone: what is started next wants their ports.
fn end(child: &mut Child) {
    let processes = tree(child.id());
    kill_tree(child.id());
    let _ended = child.wait();
    let begun = Instant::now();
    while processes.iter().any(|&process| is_alive(process)) && begun.elapsed() < STOP_WAIT {
        thread::sleep(LOOK_EVERY);
    }
    remains().children.remove(&child.id());
}

/// Whether there is such a process. One that has ended and was not asked about is a zombie, and none any more.
pub(super) fn is_alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// A program that runs to its own end, unless it is dropped before.
pub(crate) struct Errand(Child);

impl Errand {
    /// Starts it for a contender, on its core.
    ///
    /// # Errors
    /// When the program is missing.
    pub(crate) fn start(command: Command, contender: &'static str, cores: &Cores) -> anyhow::Result<Self> {
        start(command, contender, cores).map(Self)
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.0.wait()?)
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.0.try_wait()?.is_some())
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

/// A contender that runs, until it is dropped.
pub(crate) struct Running {
    children: Vec<Child>,
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    /// When it was started.
    begun: Instant,
    /// The processor time that was told last.
    told_cpu_s: Cell<f64>,
}

impl Running {
    /// Starts all programs of a contender on its core.
    ///
    /// # Errors
    /// When a program is missing.
    pub(super) fn spawn(
        commands: Vec<Command>,
        contender: &'static str,
        http: SocketAddr,
        https: SocketAddr,
        cores: &Cores,
    ) -> anyhow::Result<Self> {
        let mut running = Self { children: Vec::new(), http, https, begun: Instant::now(), told_cpu_s: Cell::new(0.0) };
        for command in commands {
            running.children.push(start(command, contender, cores)?);
        }
        Ok(running)
    }

    /// Waits until it answers, at both doors.
    ///
    /// # Errors
    /// When it ends, or not in time.
    pub(crate) fn wait_until_it_serves(&mut self) -> anyhow::Result<()> {
        loop {
            for child in &mut self.children {
                if let Some(status) = child.try_wait()? {
                    bail!("it ended with {status}");
                }
            }
            if answers(self.http) && TcpStream::connect(self.https).is_ok() {
                return Ok(());
            }
            if self.begun.elapsed() > START_WAIT {
                bail!("it does not answer");
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// When it was started.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// All processes of it.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.children.iter().flat_map(|child| tree(child.id())).collect()
    }

    /// Processor time so far of all its processes, in seconds. Never less than it was: what threads took that have ended is
    /// known less exactly than while they lived.
    ///
    /// # Errors
    /// When the system does not tell it.
    pub(crate) fn cpu_s(&self) -> anyhow::Result<f64> {
        let sum: f64 = self.processes().into_iter().map(cpu_s).sum::<anyhow::Result<f64>>()?;
        let now = sum.max(self.told_cpu_s.get());
        self.told_cpu_s.set(now);
        Ok(now)
    }

    /// Resident memory of all its processes now, in bytes; what they share counts once.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.processes().into_iter().map(resident_bytes).sum()
    }

    /// Asks it to end, as a service manager does, and waits until it has; how long that took.
    ///
    /// # Errors
    /// When it can't be asked, or does not end in time: then it is killed.
    pub(crate) fn stop(mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        for child in &self.children {
            kill_process(Pid::from_child(child), Signal::TERM)?;
        }
        while begun.elapsed() < STOP_WAIT {
            let mut are_gone = true;
            for child in &mut self.children {
                are_gone &= child.try_wait()?.is_some();
            }
            if are_gone {
                return Ok(begun.elapsed());
            }
            thread::sleep(LOOK_EVERY);
        }
        bail!("it did not end in {} s and was killed", STOP_WAIT.as_secs())
    }
}

impl Drop for Running {
    /// Kills all that is left of it.
    fn drop(&mut self) {
        self.children.iter_mut().for_each(end);
    }
}

/// Whether there is an answer to a request for something that nobody stores.
fn answers(door: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(door)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let request = format!("GET /uncacheable/1/ready HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut begin = [0; 12];
        stream.read_exact(&mut begin)?;
        Ok(&begin == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

/// A process and all below it.
pub(super) fn tree(process: u32) -> Vec<u32> {
    let mut found = vec![process];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        at += 1;
        let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}

/// Ends a process and all below it at once, also those whose parent has gone.
fn kill_tree(process: u32) {
    let pid = |number: u32| i32::try_from(number).ok().and_then(Pid::from_raw);
    for process in tree(process) {
        let _gone = pid(process).map(|process| kill_process(process, Signal::KILL));
    }
    let _gone = pid(process).map(|group| kill_process_group(group, Signal::KILL));
}

/// Processor time of a process so far, in seconds.
///
/// `stat` counts threads that have ended, in ticks of 10 ms; `schedstat` is exact for those that live. Where no thread ends
/// the second is never less.
pub(crate) fn cpu_s(process: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in brackets, may hold spaces; user and system time are the 12th and 13th field after it.
    let (_, fields) = stat.rsplit_once(')').context("an unknown form of /proc/PID/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    let counted_s = ticks.sum::<Result<f64, _>>()? / TICKS_PER_S;
    let mut exact_ns = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))?.flatten() {
        let schedstat = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        exact_ns += schedstat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(counted_s.max(exact_ns as f64 / 1e9))
}

/// Processor time of all children of this program that have ended, and of those below them, in seconds.
pub(super) fn children_cpu_s() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("an unknown form of /proc/PID/stat")?;
    let ticks = fields.split_whitespace().skip(13).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_S)
}

/// Memory of a process: its own and its share of what it shares.
fn resident_bytes(process: u32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss in smaps_rollup")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A shell in the place of a contender.
    pub(in crate::peers) fn shell_of(contender: &'static str, script: &str) -> Running {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).stdout(std::process::Stdio::null());
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let world = super::super::world::World::new(PathBuf::new()).unwrap();
        Running::spawn(vec![command], contender, nowhere, nowhere, world.cores()).unwrap()
    }

    fn shell(script: &str) -> Running {
        shell_of("shell", script)
    }

    impl Running {
        /// Waits for the end of its first program.
        pub(in crate::peers) fn wait_until_it_ends(&mut self) {
            self.children[0].wait().unwrap();
        }
    }

    /// The processes of a shell that has started two below it.
    fn three(running: &Running) -> Vec<u32> {
        loop {
            let processes = running.processes();
            if processes.len() >= 3 {
                return processes;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn nothing_is_left_when_it_is_dropped() {
        let running = shell("sleep 1000 & sleep 1000 & wait");
        let processes = three(&running);
        assert!(processes.iter().all(|&process| is_alive(process)));
        drop(running);
        assert!(!processes.iter().any(|&process| is_alive(process)));
    }

    #[test]
    fn one_that_ends_is_told_from_one_that_is_slow() {
        let mut running = shell("exit 3");
        let error = running.wait_until_it_serves().unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
    }

    #[test]
    fn the_time_of_all_processes_counts() {
        // This process surely used some.
        assert!(cpu_s(std::process::id()).unwrap() > 0.0);
        assert!(resident_bytes(std::process::id()).unwrap() > 1 << 20);
    }
}
