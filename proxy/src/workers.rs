//! The threads that serve connections: one for each processor, each with a runtime of its own.
//!
//! A connection stays on the thread that took it, so its tasks wake nobody else's, and what one thread has in its caches
//! is what it needs. The night, the ledger and the rest of the house stand on the main thread; the system shares the
//! processors out between them and the doors. All threads accept from the same sockets: whoever is less busy takes the next
//! connection, which a share by the hash of addresses (`SO_REUSEPORT`) would not give.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// How long the end of a thread waits for work that waits for a disk.
const END_WAIT: Duration = Duration::from_secs(1);

/// Running threads; they end when this is dropped.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<Handle>,
    threads: Vec<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Workers {
    /// Starts `count` threads; 0 stands for as many as there are processors for this process.
    ///
    /// # Errors
    /// When the system gives no thread, or no runtime starts.
    pub fn start(count: usize) -> io::Result<Self> {
        let count = match count {
            0 => thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let mut workers = Self { handles: Vec::new(), threads: Vec::new(), stop: CancellationToken::new() };
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (handle, stop) = (runtime.handle().clone(), workers.stop.clone());
            let thread = thread::Builder::new().name(format!("door-{number}")).spawn(move || {
                runtime.block_on(stop.cancelled());
                runtime.shutdown_timeout(END_WAIT);
            })?;
            workers.handles.push(handle);
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// Where tasks for each thread are given.
    pub fn handles(&self) -> &[Handle] {
        &self.handles
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // it panicked; what it had to say is in the log
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_runs_what_it_is_given_and_all_end() {
        let workers = Workers::start(3).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        for handle in workers.handles() {
            let sender = sender.clone();
            handle.spawn(async move { sender.send(thread::current().name().map(str::to_owned)) });
        }
        let mut names: Vec<_> = receiver.iter().take(3).flatten().collect();
        names.sort();
        assert_eq!(names, ["door-0", "door-1", "door-2"]);
        let pending = workers.handles()[0].spawn(std::future::pending::<()>());
        drop(workers);
        assert!(pending.is_finished());
    }

    #[test]
    fn without_a_number_there_are_as_many_as_processors() {
        let processors = thread::available_parallelism().unwrap().get();
        assert_eq!(Workers::start(0).unwrap().handles().len(), processors);
    }
}
