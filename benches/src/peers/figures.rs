//! What a comparison found: figures by contender and round, their targets, and the verdict on each. Written as JSON, from
//! which `docs/performance.md` is made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::contenders::Contender;
use super::noise::Noise;

/// All of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) commit: String,
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) noise: Noise,
    pub(crate) rounds: u32,
    /// How long one turn of a case with steady load takes, in seconds.
    pub(crate) seconds: f64,
    pub(crate) contenders: Vec<Installed>,
    /// Who was asked for and is not installed.
    pub(crate) missing: Vec<String>,
    pub(crate) cases: Vec<CaseFigures>,
}

/// Where it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) system: String,
}

/// A contender that took part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Installed {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) note: String,
}

/// What one case found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CaseFigures {
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) figures: Vec<Figure>,
    /// Why a contender has no figures here: it can't do it, or did it wrongly.
    #[serde(default)]
    pub(crate) failures: BTreeMap<String, String>,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
    /// By contender, one for each round.
    pub(crate) values: BTreeMap<String, Vec<f64>>,
    /// What the box should reach.
    pub(crate) target: Option<Target>,
    /// Whether the box should also be ahead of all but nginx.
    #[serde(default)]
    pub(crate) is_ahead_of_others: bool,
    /// Whether it is the figure for which the case was made.
    pub(crate) is_main: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    Less,
    More,
}

/// What the box's median should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// At least so many times as good as the better of the two nginx.
    RatioToNginxMin(f64),
    AtMost(f64),
    AtLeast(f64),
    /// At most so much more than the better nginx.
    AboveNginxMax(f64),
}

/// How the box did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// There is nothing to compare with, or nothing to compare.
    Open,
}

impl Figure {
    /// A row without figures yet: told, and not judged.
    pub(crate) fn told(name: &str, unit: &str, better: Better) -> Self {
        Self {
            name: name.to_owned(),
            unit: unit.to_owned(),
            better,
            values: BTreeMap::new(),
            target: None,
            is_ahead_of_others: false,
            is_main: false,
        }
    }

    /// The same, for which the case was made.
    pub(crate) fn main(name: &str, unit: &str, better: Better) -> Self {
        Self { is_main: true, ..Self::told(name, unit, better) }
    }

    pub(crate) fn with_target(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }

    pub(crate) fn ahead_of_others(self) -> Self {
        Self { is_ahead_of_others: true, ..self }
    }

    pub(crate) fn median(&self, contender: &str) -> Option<f64> {
        self.values.get(contender).and_then(|values| median(values))
    }

    /// Whether one value is better than the other.
    pub(crate) fn is_better(&self, one: f64, other: f64) -> bool {
        match self.better {
            Better::Less => one < other,
            Better::More => one > other,
        }
    }

    /// Which of the two nginx is better here.
    pub(crate) fn better_nginx(&self) -> Option<&'static str> {
        let medians = [Contender::Nginx, Contender::NginxNodelay]
            .into_iter()
            .filter_map(|nginx| Some((nginx.name(), self.median(nginx.name())?)));
        let best = medians.reduce(|best, other| if self.is_better(other.1, best.1) { other } else { best });
        best.map(|(name, _)| name)
    }

    /// How many times as good as the better nginx a contender is: the median of the rounds. Above 1 is better.
    pub(crate) fn ratio_to_nginx(&self, contender: &str) -> Option<f64> {
        let theirs = self.values.get(self.better_nginx()?)?;
        let ratios: Vec<f64> = self
            .values
            .get(contender)?
            .iter()
            .zip(theirs)
            .map(|(&one, &nginx)| match self.better {
                _ if one == nginx => 1.0,
                Better::Less => nginx / one,
                Better::More => one / nginx,
            })
            .collect();
        median(&ratios)
    }

    /// How the box did against its target.
    pub(crate) fn verdict(&self) -> Verdict {
        let boxed = Contender::Bulaq.name();
        let Some(ours) = self.median(boxed) else { return Verdict::Open };
        let mut is_met = Vec::new();
        match self.target {
            None => (),
            Some(Target::AtMost(most)) => is_met.push(ours <= most),
            Some(Target::AtLeast(least)) => is_met.push(ours >= least),
            Some(Target::RatioToNginxMin(least)) => {
                let Some(ratio) = self.ratio_to_nginx(boxed) else { return Verdict::Open };
                is_met.push(ratio >= least);
            }
            Some(Target::AboveNginxMax(most)) => {
                let nginx = self.better_nginx().and_then(|nginx| self.median(nginx));
                let Some(nginx) = nginx else { return Verdict::Open };
                is_met.push(ours - nginx <= most);
            }
        }
        if self.is_ahead_of_others {
            let is_nginx =
                |name: &str| [Contender::Nginx, Contender::NginxNodelay].iter().any(|one| one.name() == name);
            let others = self.values.keys().filter(|name| *name != boxed && !is_nginx(name));
            is_met.extend(others.filter_map(|other| self.median(other)).map(|other| !self.is_better(other, ours)));
        }
        match is_met.as_slice() {
            [] => Verdict::Open,
            all if all.iter().all(|&is_met| is_met) => Verdict::Met,
            _ => Verdict::Missed,
        }
    }
}

impl Comparison {
    /// Whether any target was missed.
    pub(crate) fn is_any_missed(&self) -> bool {
        self.cases.iter().flat_map(|case| &case.figures).any(|figure| figure.verdict() == Verdict::Missed)
    }
}

/// The middle of some values, or between the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// How far apart the values are: largest minus smallest, as a share of the median.
pub(crate) fn spread(values: &[f64]) -> Option<f64> {
    let median = median(values)?;
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    (median > 0.0).then(|| (largest - smallest) / median)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(better: Better, values: &[(&str, &[f64])]) -> Figure {
        let values = values.iter().map(|&(name, values)| (name.to_owned(), values.to_vec())).collect();
        Figure { values, ..Figure::main("cost", "s", better) }
    }

    #[test]
    fn medians_and_spreads() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(spread(&[1.0, 2.0, 3.0]), Some(1.0));
        assert_eq!(spread(&[0.0, 0.0]), None);
    }

    #[test]
    fn the_ratio_is_to_the_better_nginx_round_by_round() {
        let rows: [(&str, &[f64]); 3] =
            [("nginx", &[2.0, 2.0, 2.0]), ("nginx-nodelay", &[1.0, 1.2, 1.0]), ("bulaq", &[0.5, 0.6, 2.0])];
        let cost = figure(Better::Less, &rows);
        assert_eq!(cost.better_nginx(), Some("nginx-nodelay"));
        assert_eq!(cost.ratio_to_nginx("bulaq"), Some(2.0));
        let speed = figure(Better::More, &rows);
        assert_eq!(speed.better_nginx(), Some("nginx"));
        assert_eq!(speed.ratio_to_nginx("bulaq"), Some(0.3));
        assert_eq!(speed.ratio_to_nginx("squid"), None);
        let nothing = figure(Better::Less, &[("nginx", &[0.0]), ("bulaq", &[0.0])]);
        assert_eq!(nothing.ratio_to_nginx("bulaq"), Some(1.0), "nothing is as good as nothing");
    }

    #[test]
    fn verdicts() {
        let cost = figure(Better::Less, &[("nginx", &[1.0]), ("squid", &[3.0]), ("bulaq", &[1.1])]);
        assert_eq!(cost.verdict(), Verdict::Open, "without a target");
        for (target, verdict) in [
            (Target::RatioToNginxMin(0.9), Verdict::Met),
            (Target::RatioToNginxMin(0.95), Verdict::Missed),
            (Target::AtMost(1.1), Verdict::Met),
            (Target::AtLeast(1.2), Verdict::Missed),
            (Target::AboveNginxMax(0.2), Verdict::Met),
            (Target::AboveNginxMax(0.05), Verdict::Missed),
        ] {
            assert_eq!(cost.clone().with_target(target).verdict(), verdict, "{target:?}");
        }
        assert_eq!(cost.ahead_of_others().verdict(), Verdict::Met);
        let behind = figure(Better::Less, &[("nginx", &[9.0]), ("squid", &[1.0]), ("bulaq", &[1.1])]);
        assert_eq!(behind.clone().ahead_of_others().verdict(), Verdict::Missed);
        assert_eq!(behind.with_target(Target::RatioToNginxMin(1.0)).ahead_of_others().verdict(), Verdict::Missed);
        let alone = figure(Better::Less, &[("bulaq", &[1.0])]).with_target(Target::RatioToNginxMin(1.0));
        assert_eq!(alone.verdict(), Verdict::Open, "without nginx");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = r#"{
            "commit": "0123abc", "date": "today", "rounds": 3, "seconds": 2.0,
            "machine": {"cpu": "c", "cores": 2, "memory_gib": 4.0, "kernel": "k", "system": "s"},
            "noise": {"turns": 3, "others_cores_median": 0.01, "others_cores_most": 0.02, "turns_disturbed": 0,
                      "spread_median": 0.05, "is_quiet": true, "why": ""},
            "contenders": [{"name": "nginx", "version": "1", "note": "n"}], "missing": ["squid"],
            "cases": [{"name": "tiny-hit", "what": "w", "failures": {"haproxy": "no ranges"}, "figures": [
                {"name": "cost", "unit": "s", "better": "less", "values": {"nginx": [1.0, 2.0]},
                 "target": {"ratio_to_nginx_min": 0.95}, "is_ahead_of_others": false, "is_main": true},
                {"name": "speed", "unit": "req/s", "better": "more", "values": {}, "target": null, "is_main": false}
            ]}]}"#;
        let read: Comparison = serde_json::from_str(text).unwrap();
        assert_eq!(read.cases[0].figures[0].target, Some(Target::RatioToNginxMin(0.95)));
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Comparison>(&written).unwrap(), read);
        let value: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(value["cases"][0]["figures"][0]["target"]["ratio_to_nginx_min"], 0.95);
        assert_eq!(value["cases"][0]["figures"][1]["target"], serde_json::Value::Null);
    }
}
