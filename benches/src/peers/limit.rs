//! A time limit for whatever a contender is asked to do, so that one that hangs costs its own figures and no one else's.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::bail;

use super::running::{end_all_of, leave};

/// How long whoever waited for a contender may take to notice that it has gone: longer than any client waits.
const GRACE: Duration = Duration::from_secs(150);

/// Meanwhile its processes are ended so often, also those that are started anew.
const END_AGAIN: Duration = Duration::from_millis(500);

/// How this program ends when it can't go on.
const STUCK: i32 = 1;

/// Lets a contender do something. When that takes longer, all that was started for it is ended, so that whoever waits for
/// it stops waiting.
///
/// # Errors
/// Those of what it does; and when it took longer, that it did.
pub(super) fn within<T>(
    limit: Duration,
    contender: &'static str,
    does: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (done, is_done) = channel::<()>();
    let watch = move || {
        if is_done.recv_timeout(limit) != Err(RecvTimeoutError::Timeout) {
            return false;
        }
        let mut left = GRACE;
        loop {
            end_all_of(contender);
            match is_done.recv_timeout(END_AGAIN) {
                Err(RecvTimeoutError::Timeout) if left > END_AGAIN => left -= END_AGAIN,
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!(
                        "{contender}: its turn does not end, though it was ended; what was found before is written"
                    );
                    leave(STUCK)
                }
                _ => return true,
            }
        }
    };
    let (done_with, was_late) = thread::scope(|scope| {
        let watch = scope.spawn(watch);
        // Dropped when it is done, and when it panics.
        let _done = done;
        let done_with = does();
        drop(_done);
        (done_with, watch.join().unwrap_or(false))
    });
    if was_late {
        bail!("it took longer than {} s and was ended", limit.as_secs());
    }
    done_with
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::running::is_alive;
    use crate::peers::running::tests::shell_of;

    #[test]
    fn what_does_not_end_is_ended() {
        let mut hung = shell_of("hangs", "sleep 1000 & wait");
        let other = shell_of("waits", "sleep 1000 & wait");
        let hang = || {
            hung.wait_until_it_ends();
            Ok(())
        };
        let error = within(Duration::from_millis(50), "hangs", hang).unwrap_err();
        assert!(error.to_string().contains("it took longer than"), "{error}");
        assert!(other.processes().into_iter().all(is_alive), "another contender's processes are left alone");
    }

    #[test]
    fn what_ends_in_time_is_left_alone() {
        let running = shell_of("is quick", "sleep 1000 & wait");
        assert_eq!(within(Duration::from_secs(3600), "is quick", || Ok(7)).unwrap(), 7);
        let error = within(Duration::from_secs(3600), "is quick", || -> anyhow::Result<()> { bail!("no") });
        assert_eq!(error.unwrap_err().to_string(), "no");
        assert!(running.processes().into_iter().all(is_alive));
    }
}
