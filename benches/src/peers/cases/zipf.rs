//! Which address is asked for: the one of rank r as often as 1/r to some power says.

/// Shares of ranks.
pub(super) struct Zipf {
    /// The share of all ranks up to one, for each.
    up_to: Vec<f64>,
}

impl Zipf {
    /// `count` ranks; the exponent is 0 for evenly, 1 for the classic.
    pub(super) fn new(count: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let mut up_to: Vec<f64> = (1..=count)
            .map(|rank| {
                sum += (rank as f64).powf(-exponent);
                sum
            })
            .collect();
        for share in &mut up_to {
            *share /= sum;
        }
        Self { up_to }
    }

    /// The rank, from 0, that a number from 0 to 1 falls on.
    pub(super) fn rank(&self, share: f64) -> usize {
        self.up_to.partition_point(|&up_to| up_to <= share).min(self.up_to.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Places;

    #[test]
    fn ranks_come_as_often_as_they_should() {
        const DRAWS: usize = 200_000;
        let (count, exponent) = (1_000, 0.9);
        let zipf = Zipf::new(count, exponent);
        let mut seen = vec![0_usize; count];
        let mut dice = Places::new(3);
        for _ in 0..DRAWS {
            seen[zipf.rank(dice.below(1 << 40) as f64 / (1_u64 << 40) as f64)] += 1;
        }
        let sum: f64 = (1..=count).map(|rank| (rank as f64).powf(-exponent)).sum();
        for rank in [1, 2, 10, 100] {
            let expected = (rank as f64).powf(-exponent) / sum * DRAWS as f64;
            let found = seen[rank - 1] as f64;
            // Five standard deviations.
            assert!((found - expected).abs() < 5.0 * expected.sqrt(), "rank {rank}: {found} and not {expected}");
        }
        assert!(seen.iter().filter(|&&times| times > 0).count() > 950, "rare ones come too");
    }

    #[test]
    fn the_ends_are_ranks() {
        let zipf = Zipf::new(3, 1.0);
        assert_eq!((zipf.rank(0.0), zipf.rank(1.0)), (0, 2));
        assert_eq!(Zipf::new(4, 0.0).rank(0.49), 1, "evenly");
    }
}
