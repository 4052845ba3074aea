//! The figures as people read them.

use std::fmt::Write as _;

use super::contenders::Contender;
use super::figures::{CaseFigures, Comparison, Figure, Target, Verdict, spread};

/// One case: a line for each row and contender.
pub(crate) fn of_case(case: &CaseFigures, contenders: &[Contender]) -> String {
    let mut text = format!("\n{}: {}\n", case.name, case.what);
    for figure in &case.figures {
        let mark = if figure.is_main { " (what it is about)" } else { "" };
        let target = figure.target.map(|target| format!("; the box: {}", told(target))).unwrap_or_default();
        let _ = writeln!(text, "  {}, {}{mark}{target}", figure.name, figure.unit);
        for contender in contenders {
            if let Some(line) = line_of(figure, contender.name()) {
                text += &line;
            }
        }
    }
    for (name, why) in &case.failures {
        let _ = writeln!(text, "  {name} has no figures: {why}");
    }
    text
}

fn line_of(figure: &Figure, name: &str) -> Option<String> {
    let median = figure.median(name)?;
    let apart = figure.values.get(name).and_then(|values| spread(values)).unwrap_or(0.0) * 100.0;
    let ratio = match figure.ratio_to_nginx(name) {
        Some(ratio) if figure.better_nginx() != Some(name) => format!("{ratio:7.2} x"),
        Some(_) => "      1  ".to_owned(),
        None => "         ".to_owned(),
    };
    Some(format!("    {name:14} {:>12}  {ratio}  rounds {apart:3.0} % apart\n", shown(median)))
}

fn told(target: Target) -> String {
    match target {
        Target::RatioToNginxMin(least) => format!("at least {least} x nginx"),
        Target::AtMost(most) => format!("at most {most}"),
        Target::AtLeast(least) => format!("at least {least}"),
        Target::AboveNginxMax(more) => format!("at most {more} more than nginx"),
    }
}

/// What it comes to. On a noisy machine there is no verdict.
pub(crate) fn of_all(comparison: &Comparison) -> String {
    let mut text = String::from("\n");
    for name in &comparison.missing {
        let _ = writeln!(text, "{name} is not installed and was not compared");
    }
    let noise = &comparison.noise;
    let _ = writeln!(
        text,
        "others used {:.2} cores in the median turn, {:.2} at most; {} of {} turns were disturbed; the rounds of the median \
         case are {:.0} % apart",
        noise.others_cores_median,
        noise.others_cores_most,
        noise.turns_disturbed,
        noise.turns,
        noise.spread_median * 100.0
    );
    if !noise.is_quiet {
        let _ = writeln!(text, "NO VERDICT: {}. The figures are above; measure again on a quiet machine.", noise.why);
        return text;
    }
    for case in &comparison.cases {
        for figure in &case.figures {
            let (verdict, target) = match (figure.verdict(), figure.target) {
                (Verdict::Open, None) => continue,
                (Verdict::Open, _) => ("open", figure.target),
                (Verdict::Met, _) => ("met", figure.target),
                (Verdict::Missed, _) => ("MISSED", figure.target),
            };
            let bulaq = Contender::Bulaq.name();
            let ratio = figure.ratio_to_nginx(bulaq).map(|ratio| format!("{ratio:.2} x nginx")).unwrap_or_default();
            let ours = figure.median(bulaq).map(|ours| format!("{} {}", shown(ours), figure.unit)).unwrap_or_default();
            let mut wanted: Vec<String> = target.into_iter().map(told).collect();
            if figure.is_ahead_of_others {
                wanted.push("ahead of all others".to_owned());
            }
            let (case, row, wanted) = (&case.name, &figure.name, wanted.join(", "));
            let _ = writeln!(text, "{verdict:6}  {case}: {row}: {ours}, {ratio} ({wanted})");
        }
    }
    text
}

/// A number with as many digits as say something.
fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Better, Machine};
    use super::super::noise::Noise;
    use super::*;

    fn comparison(is_quiet: bool) -> Comparison {
        let mut figure = Figure::main("cost", "s", Better::Less).with_target(Target::RatioToNginxMin(0.9));
        figure.values.insert("nginx".into(), vec![1.0, 1.0, 1.0]);
        figure.values.insert("bulaq".into(), vec![2.0, 2.0, 2.2]);
        let failures = [("squid".to_owned(), "it has none".to_owned())].into();
        let case = CaseFigures { name: "a".into(), what: "b".into(), figures: vec![figure], failures };
        let (cpu, kernel, system) = (String::new(), String::new(), String::new());
        Comparison {
            commit: String::new(),
            date: String::new(),
            machine: Machine { cpu, cores: 2, memory_gib: 1.0, kernel, system },
            noise: Noise { is_quiet, why: "a storm".into(), ..Noise::default() },
            rounds: 3,
            seconds: 1.0,
            contenders: vec![],
            missing: vec!["varnish".into()],
            cases: vec![case],
        }
    }

    #[test]
    fn a_quiet_run_has_verdicts_and_names_who_is_missing() {
        let text = of_all(&comparison(true));
        assert!(text.contains("MISSED  a: cost: 2.000 s, 0.50 x nginx (at least 0.9 x nginx)"), "{text}");
        assert!(text.contains("varnish is not installed"), "{text}");
        let text = of_case(&comparison(true).cases[0], &[Contender::Nginx, Contender::Bulaq]);
        assert!(text.contains("squid has no figures: it has none") && text.contains("10 % apart"), "{text}");
    }

    #[test]
    fn a_noisy_run_has_none() {
        let text = of_all(&comparison(false));
        assert!(text.contains("NO VERDICT: a storm"), "{text}");
        assert!(!text.contains("MISSED") && !text.contains("met"), "{text}");
    }
}
