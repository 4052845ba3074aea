//! The timer of a connection's waits.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// A timer that is made when first needed and then used again.
#[derive(Debug, Default)]
pub(in crate::ingress) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    is_armed: bool,
}

impl Timer {
    /// Sets it unless it is set; says whether it did.
    pub(in crate::ingress) fn arm(&mut self, wait: Duration) -> bool {
        if self.is_armed {
            return false;
        }
        self.is_armed = true;
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(Instant::now() + wait),
            None => self.sleep = Some(Box::pin(sleep(wait))),
        }
        true
    }

    pub(in crate::ingress) fn disarm(&mut self) {
        self.is_armed = false;
    }

    pub(in crate::ingress) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) if self.is_armed => sleep.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }
}
