//! The box's clock, held against the dates of the permitted sites' answers. No time server is asked: in a school whose
//! link is only for lessons there may be none.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Finding;
use super::upstream::{Facts as Upstream, Outcome};
use crate::clock::Clock;
use crate::request::ForwardError;

const CHECK: &str = "clock";

/// No clock is right that is before this: 1 November 2026, when this version was made. Raised with each release.
const FLOOR: Duration = Duration::from_secs(1_793_491_200);

/// From here on certificates may look as if they were not valid.
const WRONG: Duration = Duration::from_secs(10 * 60);

/// From here on somebody should look: a clock that is kept by NTP is right to the second.
const DRIFTING: Duration = Duration::from_secs(60);

/// What is known of the time.
#[derive(Debug)]
pub(super) struct Facts {
    now: SystemTime,
    /// What each site's clock said less what ours did, in seconds.
    apart_s: Vec<i64>,
    /// Sites whose certificate was not valid at the box's time.
    not_in_time: usize,
}

/// What the sites' answers say of the time.
pub(super) fn facts_of(upstream: &Upstream, clock: &Clock) -> Facts {
    let sites = match upstream {
        Upstream::Sites(sites) => &sites[..],
        Upstream::NoWayOut(_) => &[],
    };
    let apart_s = sites.iter().filter_map(|asked| match asked.outcome {
        Outcome::Answered { date: Some(date), at, .. } => Some(seconds(date) - seconds(at)),
        _ => None,
    });
    let is_not_in_time = |outcome: &Outcome| match outcome {
        Outcome::Failed(ForwardError::Tls { detail, .. }) => {
            let detail = detail.to_ascii_lowercase();
            detail.contains("expired") || detail.contains("not valid yet") || detail.contains("notvalidyet")
        }
        _ => false,
    };
    let not_in_time = sites.iter().filter(|asked| is_not_in_time(&asked.outcome)).count();
    Facts { now: clock.now(), apart_s: apart_s.collect(), not_in_time }
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX / 2)
}

/// What that means. The middle one of the sites' clocks counts: some portals' clocks are wrong too.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let advice = "set it, and keep it by NTP: `timedatectl set-ntp true`; a machine that loses its time with the power \
                  needs a battery";
    if facts.now < UNIX_EPOCH + FLOOR {
        let what =
            "the clock is before this program was made: certificates look invalid, and nothing is stored rightly";
        return vec![Finding::error(CHECK, what, advice)];
    }
    let mut apart_s = facts.apart_s.clone();
    apart_s.sort_unstable();
    let Some(apart_s) = apart_s.get(apart_s.len() / 2) else {
        return vec![match facts.not_in_time {
            0 => Finding::unknown(CHECK, "no site told the time", "compare it by hand: `date`"),
            _ => Finding::error(CHECK, "the certificates of sites are not valid at the box's time", advice),
        }];
    };
    let apart = Duration::from_secs(apart_s.unsigned_abs());
    let direction = if *apart_s > 0 { "behind" } else { "ahead of" };
    vec![if apart > WRONG {
        let minutes = apart.as_secs() / 60;
        Finding::error(CHECK, format!("the clock is {minutes} minutes {direction} that of the sites"), advice)
    } else if apart > DRIFTING {
        Finding::warning(CHECK, format!("the clock is {} s {direction} that of the sites", apart.as_secs()), advice)
    } else {
        Finding::ok(CHECK, "the clock agrees with the sites'")
    }]
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn the_middle_of_the_sites_clocks_counts() {
        let at = |apart_s: &[i64], not_in_time| Facts {
            now: UNIX_EPOCH + FLOOR + Duration::from_secs(86_400),
            apart_s: apart_s.to_vec(),
            not_in_time,
        };
        for (facts, state) in [
            (at(&[0, 1, -1], 0), State::Ok),
            (at(&[60], 0), State::Ok),
            (at(&[61], 0), State::Warning),
            (at(&[-600], 0), State::Warning),
            (at(&[601], 0), State::Error),
            (at(&[0, 0, 9_000_000], 0), State::Ok), // one portal's clock is wrong
            (at(&[-86_400, -86_400, 0], 0), State::Error),
            (at(&[], 0), State::Unknown),
            (at(&[], 3), State::Error),
            (Facts { now: UNIX_EPOCH, apart_s: vec![0], not_in_time: 0 }, State::Error),
        ] {
            assert_eq!(judge(&facts)[0].state, state, "{facts:?}");
        }
        assert!(judge(&at(&[3_600], 0))[0].what.contains("60 minutes behind"));
        assert!(judge(&at(&[-3_600], 0))[0].what.contains("60 minutes ahead of"));
    }
}
