//! Whether the machine was quiet enough to say who is better.

use std::fs;
use std::time::Instant;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::figures::{CaseFigures, median, spread};

/// Processor time of others, in cores, in the median turn: beyond it nothing can be said.
const OTHERS_CORES_MEDIAN_MAX: f64 = 0.05;

/// A turn in which others took so many cores, or the hypervisor kept them from us, is disturbed.
const OTHERS_CORES_MAX: f64 = 0.25;

/// The share of turns that may be disturbed: medians of three rounds stand one.
const DISTURBED_SHARE_MAX: f64 = 0.1;

/// How far apart the rounds of a main figure may be in the median case, as a share. The same contender differs by 10 to 15
/// per cent on a quiet virtual machine, because its host is not quiet.
const SPREAD_MEDIAN_MAX: f64 = 0.2;

/// Fewer rounds can't tell noise from difference.
const ROUNDS_MIN: u32 = 3;

/// Clock ticks a second in `/proc`; the same on every Linux that the box runs on.
const TICKS_PER_S: f64 = 100.0;

/// What disturbed a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Noise {
    pub(crate) turns: usize,
    /// Processor time of other programs, in cores, while a contender had its turn.
    pub(crate) others_cores_median: f64,
    pub(crate) others_cores_most: f64,
    pub(crate) turns_disturbed: usize,
    /// How far apart the rounds of the main figures are: the median over contenders and cases.
    pub(crate) spread_median: f64,
    pub(crate) is_quiet: bool,
    /// Why it is not; empty if it is.
    pub(crate) why: String,
}

impl Noise {
    /// Whether others or the host moved the figures, however many rounds there were.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.others_cores_median > OTHERS_CORES_MEDIAN_MAX
            || self.turns_disturbed as f64 > self.turns as f64 * DISTURBED_SHARE_MAX
            || self.spread_median > SPREAD_MEDIAN_MAX
    }
}

/// Processor time of the whole machine and of us, in seconds, at one moment.
struct Moment {
    at: Instant,
    /// All that was used, and what the hypervisor took.
    used_s: f64,
    /// Of it, by this program and all that it started.
    ours_s: f64,
}

impl Moment {
    fn now() -> anyhow::Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        Ok(Self { at: Instant::now(), used_s: used_s(&text)?, ours_s: ours_s(std::process::id())? })
    }
}

/// Time in which the cores were not idle, from `/proc/stat`.
fn used_s(text: &str) -> anyhow::Result<f64> {
    let line =
        text.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("an unknown form of /proc/stat")?;
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is in user and nice already.
    let fields = line.split_whitespace().take(8).map(str::parse::<f64>).collect::<Result<Vec<_>, _>>()?;
    let idle: f64 = fields.iter().skip(3).take(2).sum();
    Ok((fields.iter().sum::<f64>() - idle) / TICKS_PER_S)
}

/// A process, those below it, and those below them that have ended.
fn ours_s(process: u32) -> anyhow::Result<f64> {
    let mut sum = 0.0;
    for process in super::running::tree(process) {
        // One may have ended since it was listed; then its parent has its time.
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        let (_, fields) = stat.rsplit_once(')').context("an unknown form of /proc/PID/stat")?;
        let ticks = fields.split_whitespace().skip(11).take(4).map(str::parse::<f64>);
        sum += ticks.sum::<Result<f64, _>>()? / TICKS_PER_S;
    }
    Ok(sum)
}

/// Listens to the machine while contenders have their turns.
#[derive(Default)]
pub(crate) struct Listener {
    others_cores: Vec<f64>,
}

impl Listener {
    /// Runs one turn, and notes what others did meanwhile.
    pub(crate) fn during<T>(&mut self, turn: impl FnOnce() -> T) -> anyhow::Result<T> {
        let before = Moment::now()?;
        let done = turn();
        let after = Moment::now()?;
        let others_s = (after.used_s - before.used_s) - (after.ours_s - before.ours_s);
        let took_s = after.at.duration_since(before.at).as_secs_f64().max(0.01);
        self.others_cores.push((others_s / took_s).max(0.0));
        Ok(done)
    }

    /// What disturbed the run, and whether it was too much.
    pub(crate) fn judge(&self, rounds: u32, cases: &[CaseFigures]) -> Noise {
        let turns = self.others_cores.len();
        let others_cores_median = median(&self.others_cores).unwrap_or(0.0);
        let others_cores_most = self.others_cores.iter().copied().fold(0.0, f64::max);
        let turns_disturbed = self.others_cores.iter().filter(|&&cores| cores > OTHERS_CORES_MAX).count();
        let mains = cases.iter().flat_map(|case| &case.figures).filter(|figure| figure.is_main);
        let spreads: Vec<f64> = mains
            .flat_map(|figure| figure.values.values())
            .filter(|values| values.len() > 1)
            .filter_map(|values| spread(values))
            .collect();
        let spread_median = median(&spreads).unwrap_or(0.0);
        let mut why = Vec::new();
        if others_cores_median > OTHERS_CORES_MEDIAN_MAX {
            why.push(format!("others used {others_cores_median:.2} cores in the median turn"));
        }
        if turns_disturbed as f64 > turns as f64 * DISTURBED_SHARE_MAX {
            why.push(format!("{turns_disturbed} of {turns} turns were disturbed by others"));
        }
        if spread_median > SPREAD_MEDIAN_MAX {
            why.push(format!("the rounds of the median case are {:.0} % apart", spread_median * 100.0));
        }
        if rounds < ROUNDS_MIN {
            why.push(format!("{rounds} rounds are too few to tell noise from difference"));
        }
        let is_quiet = why.is_empty();
        let why = why.join("; ");
        Noise { turns, others_cores_median, others_cores_most, turns_disturbed, spread_median, is_quiet, why }
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Better, Figure};
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn idle_time_is_not_used_time() {
        let text = "cpu  100 0 50 1000 200 5 5 40 7 7\ncpu0 1 1 1 1\n";
        assert_eq!(used_s(text).unwrap(), 2.0);
        assert!(used_s("intr 1").is_err());
    }

    fn case(values: &[f64]) -> CaseFigures {
        let values = BTreeMap::from([("nginx".to_owned(), values.to_vec())]);
        let figure = Figure { values, ..Figure::main("cost", "s", Better::Less) };
        CaseFigures { name: "a".into(), what: "b".into(), figures: vec![figure], failures: BTreeMap::new() }
    }

    #[test]
    fn a_noisy_machine_gets_no_verdict() {
        let calm: [f64; 10] = [0.01; 10];
        let steady: [f64; 3] = [1.0, 1.05, 1.1];
        let judged = |others: &[f64], rounds: u32, values: &[f64]| {
            Listener { others_cores: others.to_vec() }.judge(rounds, &[case(values)])
        };
        let quiet = judged(&calm, 3, &steady);
        assert!(quiet.is_quiet && quiet.why.is_empty(), "{quiet:?}");
        let mut once = calm;
        once[3] = 0.9;
        assert!(judged(&once, 3, &steady).is_quiet, "one of ten");
        once[4] = 0.9;
        let disturbed = judged(&once, 3, &steady);
        assert!(!disturbed.is_quiet && disturbed.why.contains("2 of 10"), "{disturbed:?}");
        assert!(!judged(&[0.1; 10], 3, &steady).is_quiet, "a little all the time");
        let wild = judged(&calm, 3, &[1.0, 1.3, 1.1]);
        assert!(!wild.is_quiet && wild.why.contains("27 %"), "{wild:?}");
        assert!(!judged(&calm, 1, &[1.0]).is_quiet, "one round");
    }

    #[test]
    fn our_own_time_is_ours() {
        assert!(ours_s(std::process::id()).unwrap() >= 0.0);
        let mut listener = Listener::default();
        assert_eq!(listener.during(|| 7).unwrap(), 7);
        assert_eq!(listener.others_cores.len(), 1);
    }
}
