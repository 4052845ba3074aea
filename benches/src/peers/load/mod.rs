//! The load: clients on one thread that keep their connections, ask as fast as they are answered or at a fixed rate, and
//! look at every answer.
//!
//! The status and the length of every answer are checked, and the content of the first ones and of a sample byte for byte.
//! It is a plain event loop, so that it costs less than any server that it measures.

mod connection;
mod http1;
mod http2;
mod tally;

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustls::ClientConfig;

use crate::content::Content;
use connection::Connection;
pub(crate) use tally::Tally;

/// How long any client waits for anything. Longer than any wait that is measured.
const PATIENCE: Duration = Duration::from_secs(60);

/// Timers of the load are this exact, in nanoseconds: the system's default is fifty times as much.
const TIMER_SLACK_NS: u64 = 1_000;

/// One read of a socket.
const READ_BYTES: usize = 256 * 1024;

/// Of the answers of a run, so many at its beginning are compared byte for byte, but not more bytes than this,
const COMPARED_AT_FIRST: u64 = 64;
const COMPARED_AT_FIRST_BYTES: u64 = 32 << 20;

/// and of the others one in so many. A prime, so that no client or address is left out.
const COMPARED_EVERY: u64 = 101;

/// Who asks, and how.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) door: SocketAddr,
    pub(crate) speech: Speech,
    pub(crate) connections: usize,
}

/// What clients speak.
#[derive(Clone)]
pub(crate) enum Speech {
    Http1,
    Http1OverTls(Arc<ClientConfig>),
    /// With so many requests at one time on a connection.
    Http2OverTls(Arc<ClientConfig>, usize),
}

/// How fast they ask.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Each client asks again as soon as it is answered.
    Closed,
    /// So many requests a second in all, however long answers take. Latencies count from when a request was due.
    PerSecond(f64),
}

/// When they end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    After(Duration),
    /// When there is nothing more to ask for.
    WhenAllIsAsked,
}

/// How much of the answers is compared byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    /// The first ones and a sample.
    Some,
    All,
}

/// What one request wants.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// What is at the address.
    pub(crate) content: Content,
    /// The part that is asked for.
    pub(crate) part: Option<Range<u64>>,
}

/// Says what is asked for next.
pub(crate) trait Source {
    /// Writes the path of the next request into `path`, which is empty; none when all is asked.
    fn next(&mut self, path: &mut String) -> Option<Wanted>;
}

/// Clients with open connections.
pub(crate) struct Load {
    clients: Clients,
    connections: Vec<Connection>,
    events: OwnedFd,
    scratch: Vec<u8>,
}

/// One run.
struct Run<'a> {
    source: &'a mut dyn Source,
    pace: Pace,
    compare: Compare,
    begun: Instant,
    until: Option<Instant>,
    /// Requests that were sent, and the content that they asked for.
    sent: u64,
    sent_for_bytes: u64,
    is_all_asked: bool,
    path: String,
}

impl Run<'_> {
    /// When the next request is to be sent; none when no more are.
    fn due(&self) -> Option<Instant> {
        let due = match self.pace {
            Pace::Closed => Instant::now(),
            Pace::PerSecond(rate) => self.begun + Duration::from_secs_f64(self.sent as f64 / rate),
        };
        let is_over = self.is_all_asked || self.until.is_some_and(|until| due >= until);
        (!is_over).then_some(due)
    }

    /// Sends the next request on a connection that has room for one. Whether there was one.
    fn send(&mut self, connection: &mut Connection, due: Instant) -> anyhow::Result<bool> {
        self.path.clear();
        let Some(wanted) = self.source.next(&mut self.path) else {
            self.is_all_asked = true;
            return Ok(false);
        };
        let number = self.sent;
        let is_among_first = number < COMPARED_AT_FIRST && self.sent_for_bytes < COMPARED_AT_FIRST_BYTES;
        let is_compared = self.compare == Compare::All || is_among_first || number.is_multiple_of(COMPARED_EVERY);
        self.sent_for_bytes += wanted.content.bytes;
        self.sent += 1;
        connection.ask(&self.path, wanted, is_compared, due)?;
        Ok(true)
    }
}

impl Load {
    /// Opens all connections.
    ///
    /// # Errors
    /// When one is refused, or speaks something else.
    pub(crate) fn open(clients: Clients) -> anyhow::Result<Self> {
        rustix::thread::set_current_timer_slack(NonZeroU64::new(TIMER_SLACK_NS))
            .context("timers can't be made exact")?;
        let events = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::with_capacity(clients.connections);
        for number in 0..clients.connections {
            let connection = Connection::open(clients.door, &clients.speech)?;
            epoll::add(&events, connection.socket(), epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
            connections.push(connection);
        }
        Ok(Self { clients, connections, events, scratch: vec![0; READ_BYTES] })
    }

    /// Lets them ask, and waits for all answers.
    ///
    /// # Errors
    /// When an answer is wrong, or does not come.
    pub(crate) fn run(
        &mut self,
        source: &mut dyn Source,
        pace: Pace,
        end: End,
        compare: Compare,
    ) -> anyhow::Result<Tally> {
        let begun = Instant::now();
        let until = match end {
            End::After(duration) => Some(begun + duration),
            End::WhenAllIsAsked => None,
        };
        let mut run = Run {
            source,
            pace,
            compare,
            begun,
            until,
            sent: 0,
            sent_for_bytes: 0,
            is_all_asked: false,
            path: String::with_capacity(64),
        };
        let mut tally = Tally::default();
        let mut ready: Vec<usize> = (0..self.connections.len()).collect();
        let mut events = Vec::with_capacity(self.connections.len());
        loop {
            self.send_what_is_due(&mut run, &mut ready)?;
            let due = run.due();
            if due.is_none() && self.connections.iter().all(Connection::is_idle) {
                break;
            }
            // Without a free client, only an answer brings work.
            let wait = due.filter(|_| !ready.is_empty()).map_or(PATIENCE, |due| due - Instant::now().min(due));
            self.wait(&mut events, wait)?;
            for event in events.drain(..) {
                let number = usize::try_from(event.data.u64()).context("an event of nobody")?;
                self.read(number, &mut tally, &mut ready)?;
            }
        }
        tally.end(begun.elapsed());
        Ok(tally)
    }

    fn wait(&self, events: &mut Vec<epoll::Event>, wait: Duration) -> anyhow::Result<()> {
        let timeout = Timespec { tv_sec: i64::try_from(wait.as_secs())?, tv_nsec: i64::from(wait.subsec_nanos()) };
        match epoll::wait(&self.events, rustix::buffer::spare_capacity(events), Some(&timeout)) {
            Ok(count) => ensure!(count > 0 || wait < PATIENCE, "no answer in {} s", PATIENCE.as_secs()),
            Err(Errno::INTR) => (),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn send_what_is_due(&mut self, run: &mut Run<'_>, ready: &mut Vec<usize>) -> anyhow::Result<()> {
        while let Some(&number) = ready.last() {
            let Some(due) = run.due() else { break };
            let now = Instant::now();
            if due > now {
                break;
            }
            // In a closed loop a request is due when it is sent.
            let due = if matches!(run.pace, Pace::Closed) { now } else { due };
            let connection = &mut self.connections[number];
            while connection.has_room() && run.send(connection, due)? {
                if matches!(run.pace, Pace::PerSecond(_)) {
                    break;
                }
            }
            if run.is_all_asked || !connection.has_room() {
                ready.pop();
            }
            self.flush(number)?;
        }
        Ok(())
    }

    fn read(&mut self, number: usize, tally: &mut Tally, ready: &mut Vec<usize>) -> anyhow::Result<()> {
        let connection = &mut self.connections[number];
        let had_room = connection.has_room();
        let is_open = connection.read(&mut self.scratch, tally)?;
        let has_room = connection.has_room();
        if !is_open {
            // It was closed between two answers, as servers may: a new one takes over what was not answered.
            connection.reopen(self.clients.door, &self.clients.speech)?;
            tally.reconnected();
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&self.events, connection.socket(), data, epoll::EventFlags::IN)?;
        }
        if has_room && !had_room {
            ready.push(number);
        }
        self.flush(number)
    }

    /// Writes what waits; is told when there is room for the rest.
    fn flush(&mut self, number: usize) -> anyhow::Result<()> {
        let connection = &mut self.connections[number];
        if let Some(wants_to_write) = connection.flush()? {
            let out = if wants_to_write { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            let data = epoll::EventData::new_u64(number as u64);
            epoll::modify(&self.events, connection.socket(), data, epoll::EventFlags::IN | out)?;
        }
        Ok(())
    }
}
