//! Interim responses (1xx): from the origin to the one client whose request it is, never into the store.
//!
//! hyper's server cannot send them, so over HTTP/1.1 the box writes their heads itself, below hyper, at a moment when
//! that is safe. The origin's connection puts them into the queue of the client's connection as long as that request's
//! answer has not begun; the guard of the socket takes them out when hyper has handed it everything before. The answer
//! waits until the queue is empty, so that none can come after it. RFC 9110 §15.2.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bulaq_cache_policy::{anonymise_response, remove_hop_by_hop};
use http::header::{ALT_SVC, CONTENT_LENGTH, HeaderMap, VIA};
use http::{HeaderValue, StatusCode};

/// Interim responses to one request. More than a few are a way to keep it busy.
pub const INTERIM_MAX: usize = 16;

/// Bytes of one head that is passed on. Hints for a page are a few hundred; a longer one is left out.
const INTERIM_BYTES_MAX: usize = 16 * 1024;

/// The interim responses that wait to be written on one HTTP/1.1 connection.
#[derive(Debug, Default)]
pub struct InterimQueue {
    state: Mutex<State>,
    /// Whether something waits, so that a flush with nothing to add costs no lock.
    has_some: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// The request whose answer has not begun; counted on this connection.
    request: u64,
    is_open: bool,
    taken_in: usize,
    heads: Vec<u8>,
    /// The connection's task.
    waker: Option<Waker>,
    /// Whether the task was already told of what waits.
    is_told: bool,
}

/// Passes on interim responses to one request, as long as its answer has not begun.
#[derive(Clone, Debug)]
pub struct InterimSender {
    queue: Arc<InterimQueue>,
    request: u64,
    is_anonymous: bool,
}

impl InterimQueue {
    /// Begins a request: what is sent from now on goes out before its answer.
    pub fn open(self: &Arc<Self>) -> InterimSender {
        let mut state = self.lock();
        let waker = state.waker.take();
        *state = State { request: state.request.wrapping_add(1), is_open: true, waker, ..State::default() };
        InterimSender { queue: Arc::clone(self), request: state.request, is_anonymous: false }
    }

    /// The answer that `answering` gives, held until all interim responses before it are out; then no more are taken.
    pub async fn ahead_of<T>(&self, answering: impl Future<Output = T>) -> T {
        let mut answering = pin!(answering);
        let mut answer = None;
        poll_fn(|cx| {
            if answer.is_none() {
                match answering.as_mut().poll(cx) {
                    Poll::Ready(ready) => answer = Some(ready),
                    Poll::Pending => {
                        self.lock().watch(cx);
                        return Poll::Pending;
                    }
                }
            }
            ready!(self.poll_close(cx));
            Poll::Ready(answer.take().expect("set above, and not polled again once it was given"))
        })
        .await
    }

    fn poll_close(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.heads.is_empty() {
            state.watch(cx);
            return Poll::Pending;
        }
        state.is_open = false;
        Poll::Ready(())
    }

    /// What waits, to be written now. Only for one who knows that every byte of earlier answers was written.
    pub fn take(&self) -> Option<Vec<u8>> {
        if !self.has_some.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.lock();
        self.has_some.store(false, Ordering::Release);
        state.is_told = false;
        let heads = std::mem::take(&mut state.heads);
        if let Some(waker) = &state.waker {
            waker.wake_by_ref(); // an answer may be waiting for this
        }
        (!heads.is_empty()).then_some(heads)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Remembers whom to wake, and wakes him once for what waits already: the flush of this round may be over.
    fn watch(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
        if !self.heads.is_empty() && !self.is_told {
            self.is_told = true;
            cx.waker().wake_by_ref();
        }
    }
}

impl InterimSender {
    /// The same for a request under a rule that drops cookies both ways.
    #[must_use]
    pub fn anonymous(self, is_anonymous: bool) -> Self {
        Self { is_anonymous, ..self }
    }

    /// Passes on what the origin sent: 102, 103 and those that come after them. 100 and 101 belong to the connection
    /// that they came by.
    pub fn send(&self, status: StatusCode, headers: &HeaderMap) {
        if !(102..200).contains(&status.as_u16()) {
            return;
        }
        let head = head(status, headers, self.is_anonymous);
        let mut state = self.queue.lock();
        let is_mine = state.is_open && state.request == self.request;
        if !is_mine || state.taken_in >= INTERIM_MAX || head.len() > INTERIM_BYTES_MAX {
            return;
        }
        state.taken_in += 1;
        state.heads.extend_from_slice(&head);
        self.queue.has_some.store(true, Ordering::Release);
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
    }
}

/// The head of an interim response as HTTP/1.1 writes it.
fn head(status: StatusCode, headers: &HeaderMap, is_anonymous: bool) -> Vec<u8> {
    let mut headers = headers.clone();
    remove_hop_by_hop(&mut headers);
    headers.remove(CONTENT_LENGTH); // it has no content (RFC 9110 §8.6)
    headers.remove(ALT_SVC);
    if is_anonymous {
        anonymise_response(&mut headers);
    }
    headers.append(VIA, HeaderValue::from_static("1.1 bulaq"));
    let reason = match status.as_u16() {
        103 => "Early Hints",
        _ => status.canonical_reason().unwrap_or_default(),
    };
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in &headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|&(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn written(status: u16, lines: &[(&'static str, &'static str)], is_anonymous: bool) -> Option<String> {
        let queue = Arc::<InterimQueue>::default();
        let sender = queue.open().anonymous(is_anonymous);
        sender.send(StatusCode::from_u16(status).unwrap(), &fields(lines));
        queue.take().map(|heads| String::from_utf8(heads).unwrap())
    }

    #[test]
    fn a_head_is_written_without_the_fields_of_the_origins_connection() {
        let link = ("link", "</a.css>; rel=preload");
        for (status, lines, expected) in [
            (102, &[][..], Some("102 Processing\r\n")),
            (103, &[link], Some("103 Early Hints\r\nlink: </a.css>; rel=preload\r\n")),
            (199, &[], Some("199 \r\n")),
            (103, &[("connection", "x-hop"), ("x-hop", "1"), ("keep-alive", "1")], Some("103 Early Hints\r\n")),
            (103, &[("content-length", "5"), ("transfer-encoding", "chunked")], Some("103 Early Hints\r\n")),
            (100, &[link], None),
            (101, &[("upgrade", "x")], None),
            (200, &[link], None),
        ] {
            let expected = expected.map(|head| format!("HTTP/1.1 {head}via: 1.1 bulaq\r\n\r\n"));
            assert_eq!(written(status, lines, false), expected, "{status} {lines:?}");
        }
        let cookie = [("set-cookie", "a=b")];
        assert!(written(103, &cookie, false).unwrap().contains("set-cookie: a=b\r\n"));
        assert!(!written(103, &cookie, true).unwrap().contains("set-cookie"));
    }

    #[test]
    fn they_are_few_and_short() {
        let queue = Arc::<InterimQueue>::default();
        let sender = queue.open();
        let long = HeaderMap::from_iter([
            (ALT_SVC, HeaderValue::from_static("")),
            (VIA, "x".repeat(INTERIM_BYTES_MAX).parse().unwrap()),
        ]);
        sender.send(StatusCode::PROCESSING, &long);
        assert_eq!(queue.take(), None);
        for _ in 0..2 * INTERIM_MAX {
            sender.send(StatusCode::PROCESSING, &HeaderMap::new());
        }
        let heads = String::from_utf8(queue.take().unwrap()).unwrap();
        assert_eq!(heads.matches("HTTP/1.1 102").count(), INTERIM_MAX);
        sender.send(StatusCode::PROCESSING, &HeaderMap::new());
        assert_eq!(queue.take(), None);
    }

    #[test]
    fn none_comes_after_the_answer_or_before_that_of_another_request() {
        let queue = Arc::<InterimQueue>::default();
        let mut cx = Context::from_waker(Waker::noop());
        let first = queue.open();
        assert!(queue.poll_close(&mut cx).is_ready());
        first.send(StatusCode::PROCESSING, &HeaderMap::new());
        assert_eq!(queue.take(), None, "the answer has begun");
        let _second = queue.open();
        first.send(StatusCode::PROCESSING, &HeaderMap::new());
        assert_eq!(queue.take(), None, "it is another's turn");
    }

    #[test]
    fn the_answer_waits_for_what_is_ahead_of_it_without_turning_in_circles() {
        let queue = Arc::<InterimQueue>::default();
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let sender = queue.open();
        let mut answer = pin!(queue.ahead_of(async {
            sender.send(StatusCode::PROCESSING, &HeaderMap::new());
            7
        }));
        for _ in 0..3 {
            assert!(answer.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "told once");
        assert!(queue.take().is_some());
        assert_eq!(woken.0.load(Ordering::SeqCst), 2, "told that it is out");
        assert_eq!(answer.as_mut().poll(&mut cx), Poll::Ready(7));
    }
}
