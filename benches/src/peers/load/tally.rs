//! What a run of the load found.

use std::time::{Duration, Instant};

/// Answers and their times.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) content_bytes: u64,
    /// Connections that the server closed between two answers.
    pub(crate) reconnects: u64,
    pub(crate) took: Duration,
    /// In milliseconds.
    latencies_ms: Vec<f32>,
}

impl Tally {
    pub(super) fn answered(&mut self, content_bytes: u64, due: Instant) {
        self.requests += 1;
        self.content_bytes += content_bytes;
        self.latencies_ms.push(due.elapsed().as_secs_f32() * 1_000.0);
    }

    pub(super) fn reconnected(&mut self) {
        self.reconnects += 1;
    }

    pub(super) fn end(&mut self, took: Duration) {
        self.took = took;
        self.latencies_ms.sort_by(f32::total_cmp);
    }

    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.took.as_secs_f64()
    }

    /// The time in which this share of the answers had come, in milliseconds.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        let last = self.latencies_ms.len().saturating_sub(1);
        let at = (last as f64 * share).ceil() as usize;
        self.latencies_ms.get(at).map_or(f64::NAN, |&ms| f64::from(ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_sorted_latencies() {
        let latencies_ms = (1..=1_000).rev().map(|ms| ms as f32).collect();
        let mut tally = Tally { requests: 1_000, latencies_ms, ..Tally::default() };
        tally.end(Duration::from_secs(2));
        assert_eq!(tally.rate(), 500.0);
        assert_eq!(tally.quantile_ms(0.0), 1.0);
        assert_eq!(tally.quantile_ms(0.99), 991.0);
        assert_eq!(tally.quantile_ms(0.999), 1_000.0);
        assert_eq!(tally.quantile_ms(1.0), 1_000.0);
        assert!(Tally::default().quantile_ms(0.5).is_nan());
    }
}
