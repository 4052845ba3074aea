//! Whether something grows: the line through samples, and how far it rises.

/// The box at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Since the beginning.
    pub(super) at_s: f64,
    /// Resident memory.
    pub(super) mib: f64,
    /// Open files and sockets.
    pub(super) handles: f64,
}

/// How far the straight line through these samples (least squares) rises from the first to the last.
pub(super) fn growth(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let count = samples.len() as f64;
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return 0.0 };
    let mean_at = samples.iter().map(|sample| sample.at_s).sum::<f64>() / count;
    let mean = samples.iter().map(&of).sum::<f64>() / count;
    let (mut both, mut square) = (0.0, 0.0);
    for sample in samples {
        let at = sample.at_s - mean_at;
        both += at * (of(sample) - mean);
        square += at * at;
    }
    if square == 0.0 { 0.0 } else { both / square * (last.at_s - first.at_s) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(of: impl Fn(f64) -> f64) -> Vec<Sample> {
        (0..100).map(|at| Sample { at_s: f64::from(at) * 2.0, mib: of(f64::from(at)), handles: 7.0 }).collect()
    }

    #[test]
    fn what_grows_is_found_under_noise() {
        // Up and down by 5 with a period that does not divide the time.
        let noise = |at: f64| (at * 0.9).sin() * 5.0;
        let flat = growth(&samples(|at| 80.0 + noise(at)), |sample| sample.mib);
        assert!(flat.abs() < 1.0, "{flat}");
        let leak = growth(&samples(|at| 80.0 + noise(at) + at * 0.2), |sample| sample.mib);
        assert!((leak - 19.8).abs() < 1.0, "{leak}");
        let shrinks = growth(&samples(|at| 80.0 - at), |sample| sample.mib);
        assert!((shrinks + 99.0).abs() < 1e-6, "{shrinks}");
    }

    #[test]
    fn too_little_is_no_growth() {
        assert_eq!(growth(&[], |sample| sample.mib), 0.0);
        assert_eq!(growth(&samples(|_| 1.0)[..1], |sample| sample.mib), 0.0);
        assert_eq!(growth(&samples(|_| 1.0), |sample| sample.handles), 0.0);
    }
}
