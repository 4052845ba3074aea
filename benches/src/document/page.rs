//! The page itself.

use std::fmt::Write as _;

use anyhow::ensure;

use super::churn::Churn;
use super::losses::Losses;
use crate::peers::{CaseFigures, Comparison, Contender, Figure, Target, Verdict, spread};
use crate::profile::Profile;

/// The figures of one row, with its case and the run that it is of.
struct Row<'a> {
    run: &'a Comparison,
    case: &'a CaseFigures,
    figure: &'a Figure,
}

impl Row<'_> {
    fn name(&self) -> String {
        format!("{}: {}", self.case.name, self.figure.name)
    }

    /// None of a disturbed run.
    fn verdict(&self) -> Option<Verdict> {
        (!self.run.noise.is_disturbed()).then(|| self.figure.verdict())
    }

    fn is_missed(&self) -> bool {
        self.verdict() == Some(Verdict::Missed)
    }
}

/// Whether a case was played once, so that nobody knows how far its figures spread.
fn is_one_round(case: &CaseFigures) -> bool {
    case.figures.iter().flat_map(|figure| figure.values.values()).all(|values| values.len() < 2)
}

/// The whole page.
///
/// # Errors
/// When a case stands in two runs, a missed target has no explanation, or one explains what does not exist.
pub(super) fn of(runs: &[Comparison], profile: &Profile, churn: &Churn, losses: &Losses) -> anyhow::Result<String> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for run in runs {
        for case in &run.cases {
            let is_new = rows.iter().all(|row| row.case.name != case.name);
            ensure!(is_new, "{} stands in two of the results: remove it from one, or the older one", case.name);
            rows.extend(case.figures.iter().map(|figure| Row { run, case, figure }));
        }
    }
    for (case, figure) in losses.all() {
        let is_there = rows.iter().any(|row| row.case.name == case && row.figure.name == figure);
        ensure!(is_there, "losses.toml explains `{case}: {figure}`, which is not among the results");
    }
    let mut page = String::from(
        "<!-- Made by `bulaq-benches document` from benches/results/: change those, or the program, not this page. -->\n\n\
         # How fast it is\n\n",
    );
    page += &summary(runs, &rows);
    page += &targets(&rows);
    page += &lost(&rows, losses)?;
    page += &churn.section();
    page += &hit_path(profile);
    page += &all_figures(runs);
    page += &how(runs);
    Ok(page)
}

fn summary(runs: &[Comparison], rows: &[Row<'_>]) -> String {
    let mut text = String::from(
        "Bulaq beside what a school would install instead, on one machine. Processor time comes first: it is what a small box \
         has least of, and what a busy machine changes least. **Ratios are to the better of two nginx in the same round, and \
         above 1 is always better than nginx.**\n\n",
    );
    for run in runs.iter().filter(|run| run.noise.is_disturbed()) {
        let (cases, why) = (names_of(run), &run.noise.why);
        let _ = writeln!(
            text,
            "**For {cases} the machine was too noisy for a verdict: {why}.** Their figures are what was measured, and no more.\n"
        );
    }
    let count = |verdict| rows.iter().filter(|row| row.verdict() == Some(verdict)).count();
    let (met, missed) = (count(Verdict::Met), count(Verdict::Missed));
    let once = rows.iter().filter(|row| row.verdict() == Some(Verdict::Met) && is_one_round(row.case)).count();
    let _ = write!(text, "Of {} targets {met} are met", met + missed);
    let _ =
        writeln!(text, "{}.", if once > 0 { format!(", {once} of them in cases of one round") } else { String::new() });
    let names: Vec<String> = rows.iter().filter(|row| row.is_missed()).map(|row| format!("*{}*", row.name())).collect();
    if !names.is_empty() {
        let _ = writeln!(text, "Missed: {}; [why](#what-we-lose-and-why).", names.join(", "));
    }
    text.push('\n');
    text
}

fn names_of(run: &Comparison) -> String {
    run.cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Rows with a target, ours beside nginx's and the best of the others'.
fn targets(rows: &[Row<'_>]) -> String {
    let mut text = String::from(
        "## Against the targets\n\n| case | figure | Bulaq | nginx, the better | ratio | best of the others | target | |\n\
         | --- | --- | ---: | ---: | ---: | ---: | --- | --- |\n",
    );
    for row in rows.iter().filter(|row| row.figure.target.is_some() || row.figure.is_ahead_of_others) {
        let (figure, ours) = (row.figure, Contender::Bulaq.name());
        let cell = |name: Option<&str>| name.and_then(|name| figure.median(name)).map_or_else(|| "-".to_owned(), shown);
        let ratio = finite_ratio(figure, ours).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let best = best_of_others(figure);
        let others = best.map_or_else(|| "-".to_owned(), |(name, value)| format!("{} ({name})", shown(value)));
        let verdict = match row.verdict() {
            None => "no verdict",
            Some(Verdict::Met) => "met",
            Some(Verdict::Missed) => "**missed**",
            Some(Verdict::Open) => "open",
        };
        let once = if is_one_round(row.case) { " (one round)" } else { "" };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {ratio} | {others} | {} | {verdict}{once} |",
            row.case.name,
            with_unit(&figure.name, &figure.unit),
            cell(Some(ours)),
            cell(figure.better_nginx()),
            wanted(figure),
        );
    }
    text.push('\n');
    text
}

/// None where it says nothing: something against nothing.
fn finite_ratio(figure: &Figure, name: &str) -> Option<f64> {
    figure.ratio_to_nginx(name).filter(|ratio| ratio.is_finite())
}

/// The best of those who are neither Bulaq nor nginx.
fn best_of_others(figure: &Figure) -> Option<(&str, f64)> {
    let is_other = |name: &str| name != Contender::Bulaq.name() && !name.starts_with(Contender::Nginx.name());
    let others = figure.values.keys().map(String::as_str).filter(|name| is_other(name));
    let medians = others.filter_map(|name| Some((name, figure.median(name)?)));
    medians.reduce(|best, other| if figure.is_better(other.1, best.1) { other } else { best })
}

fn wanted(figure: &Figure) -> String {
    let mut wanted: Vec<String> = Vec::new();
    match figure.target {
        Some(Target::RatioToNginxMin(least)) => wanted.push(format!("ratio ≥ {least}")),
        // As they were set, with every digit.
        Some(Target::AtMost(most)) => wanted.push(format!("≤ {most}")),
        Some(Target::AtLeast(least)) => wanted.push(format!("≥ {least}")),
        Some(Target::AboveNginxMax(more)) => wanted.push(format!("≤ nginx + {more}")),
        None => (),
    }
    if figure.is_ahead_of_others {
        wanted.push("ahead of all others".to_owned());
    }
    wanted.join(", ")
}

/// Missed targets with their explanation, and where somebody else is ahead.
fn lost(rows: &[Row<'_>], losses: &Losses) -> anyhow::Result<String> {
    let mut text = String::from("## What we lose, and why\n\n");
    let missed: Vec<&Row<'_>> = rows.iter().filter(|row| row.is_missed()).collect();
    let unexplained: Vec<String> = missed
        .iter()
        .filter(|row| losses.why(&row.case.name, &row.figure.name).is_none())
        .map(|row| format!("`{}`", row.name()))
        .collect();
    ensure!(unexplained.is_empty(), "missed without an explanation in losses.toml: {}", unexplained.join(", "));
    for row in &missed {
        let why = losses.why(&row.case.name, &row.figure.name).unwrap_or_default();
        let _ = writeln!(text, "**{}** ({}; {}). {why}\n", row.name(), reached(row.figure), wanted(row.figure));
    }
    if missed.is_empty() {
        text.push_str("No target was missed.\n\n");
    }
    let behind: Vec<String> = rows.iter().filter(|row| row.figure.is_main).filter_map(|row| ahead_of_us(row)).collect();
    if !behind.is_empty() {
        text.push_str("Somebody is ahead of us, whatever the targets say, in the figure that the case is about:\n\n");
        for line in behind {
            let _ = writeln!(text, "- {line}");
        }
        text.push('\n');
    }
    let others = rows.iter().filter(|row| !missed.iter().any(|other| other.name() == row.name()));
    for row in others {
        if let Some(why) = losses.why(&row.case.name, &row.figure.name) {
            let _ = writeln!(text, "**{}** ({}). {why}\n", row.name(), reached(row.figure));
        }
    }
    Ok(text)
}

fn reached(figure: &Figure) -> String {
    let ours = Contender::Bulaq.name();
    let median = figure.median(ours).map_or_else(|| "no figure".to_owned(), shown);
    let ratio = finite_ratio(figure, ours).map(|ratio| format!(", ratio {ratio:.2}")).unwrap_or_default();
    format!("{}{ratio}", format!("{median} {}", figure.unit).trim_end())
}

/// Who is ahead of us in this row, with by how much.
fn ahead_of_us(row: &Row<'_>) -> Option<String> {
    let figure = row.figure;
    let ours = figure.median(Contender::Bulaq.name())?;
    let medians = figure.values.keys().filter_map(|name| Some((name, figure.median(name)?)));
    let ahead: Vec<String> = medians
        .filter(|&(_, value)| figure.is_better(value, ours))
        .map(|(name, value)| format!("{name} {}", shown(value)))
        .collect();
    (!ahead.is_empty())
        .then(|| format!("{}: {} against our {} {}", row.name(), ahead.join(", "), shown(ours), figure.unit))
}

fn hit_path(profile: &Profile) -> String {
    let mut text = format!(
        "## Where a hit's time goes\n\nThe box under load, its stacks sampled 499 times a second of its processor time \
         (commit {}). A sample is the time of the innermost code that has an owner: generic code of the standard library \
         belongs to whoever uses it, and a call into the system to what was asked of it, all that the system does for it over \
         the loopback interface included.\n\n",
        profile.commit
    );
    for case in &profile.cases {
        let _ = writeln!(text, "**{}**: {}; {} samples.\n", case.name, case.what, case.samples);
        text.push_str("| part | % of the time |\n| --- | ---: |\n");
        for share in &case.shares {
            let _ = writeln!(text, "| {} | {:.1} |", share.part, share.percent);
        }
        text.push('\n');
    }
    if let Some(last) = profile.cases.last() {
        let _ = writeln!(
            text,
            "The stacks of `{}` as a [flame graph]({FLAME}): blue is the system, orange is ours, yellow are libraries; names \
             and shares show when pointed at.\n\n![flame graph]({FLAME})\n",
            last.name
        );
    }
    text
}

/// The flame graph, in the page's folder.
const FLAME: &str = "performance-flame.svg";

fn all_figures(runs: &[Comparison]) -> String {
    let mut text = String::from(
        "## All figures\n\nMedians of the rounds; in brackets the ratio to the better nginx, the median of the rounds' ratios; \
         then half of how far the rounds are apart. Where there was one round, there is no such thing, and a difference of a \
         fifth may be none.\n",
    );
    for run in runs {
        for case in &run.cases {
            text += &all_of_case(run, case);
        }
    }
    text.push('\n');
    text
}

fn all_of_case(run: &Comparison, case: &CaseFigures) -> String {
    let once = if is_one_round(case) { " One round: no spread." } else { "" };
    let mut text = format!("\n### {}\n\n{}{once}\n\n", case.name, sentence(&case.what));
    let has_figures = |name: &&str| case.figures.iter().any(|figure| figure.values.contains_key(*name));
    let names: Vec<&str> = run.contenders.iter().map(|it| it.name.as_str()).filter(has_figures).collect();
    let _ = writeln!(text, "| figure | {} |", names.join(" | "));
    let _ = writeln!(text, "| --- |{}", " ---: |".repeat(names.len()));
    for figure in &case.figures {
        let cells: Vec<String> = names.iter().map(|name| cell(figure, name)).collect();
        let better = if figure.better == crate::peers::Better::Less { "less" } else { "more" };
        let name = with_unit(&figure.name, &figure.unit);
        let _ = writeln!(text, "| {name} ({better} is better) | {} |", cells.join(" | "));
    }
    for (name, why) in &case.failures {
        let _ = writeln!(text, "\n{name} has no figures here: {}.", why.lines().next().unwrap_or_default());
    }
    text
}

fn cell(figure: &Figure, name: &str) -> String {
    let Some(median) = figure.median(name) else { return "-".to_owned() };
    let mut cell = shown(median);
    if let Some(ratio) = finite_ratio(figure, name) {
        let _ = write!(cell, " ({ratio:.2})");
    }
    if let Some(apart) = figure.values.get(name).filter(|values| values.len() > 1).and_then(|values| spread(values)) {
        let _ = write!(cell, " ±{:.0} %", apart * 50.0);
    }
    cell
}

fn how(runs: &[Comparison]) -> String {
    let mut text = String::from("## How it was taken\n\n");
    if let Some(Comparison { machine, .. }) = runs.first() {
        let _ = writeln!(
            text,
            "{}, {} cores, {} GiB, Linux {}, {}. A contender has one core to itself; load and origin have the others; all speak \
             over the loopback interface, whose segments are 64 KiB. Contenders take turns, forwards and backwards. Bodies are \
             compared byte for byte, and a hit is one only if the origin was not asked. Latencies of `small-rate` are an open \
             loop's, from when a request was due.\n",
            machine.cpu, machine.cores, machine.memory_gib, machine.kernel, machine.system
        );
    }
    for run in runs {
        let noise = &run.noise;
        let rounds = match run.rounds {
            1 => "one round, so no spread".to_owned(),
            rounds => format!("{rounds} rounds, {:.0} % apart in the median figure", noise.spread_median * 100.0),
        };
        let _ = writeln!(
            text,
            "- {}: {}, commit {}; {rounds}; {} s of steady load a turn. Other programs used {:.2} cores in the median turn and \
             {:.2} at most; {} of {} turns were disturbed.",
            names_of(run),
            run.date,
            run.commit,
            run.seconds,
            noise.others_cores_median,
            noise.others_cores_most,
            noise.turns_disturbed,
            noise.turns
        );
    }
    text.push_str("\n| contender | version | |\n| --- | --- | --- |\n");
    let mut told: Vec<&str> = Vec::new();
    for contender in runs.iter().flat_map(|run| &run.contenders) {
        if !told.contains(&contender.name.as_str()) {
            told.push(&contender.name);
            let _ = writeln!(text, "| {} | {} | {} |", contender.name, contender.version, contender.note);
        }
    }
    let mut missing: Vec<&str> = runs.iter().flat_map(|run| &run.missing).map(String::as_str).collect();
    missing.sort_unstable();
    missing.dedup();
    match missing.as_slice() {
        [] => text.push_str("\nAll contenders took part.\n"),
        missing => {
            let _ = writeln!(text, "\nNot installed, and so not compared: {}.", missing.join(", "));
        }
    }
    text.push_str(
        "\nTo measure it yourself, see [the measurements](../benches/README.md): `cargo run --release -p bulaq-benches -- peers`.\n",
    );
    text
}

/// A figure's name with its unit, if it has one.
pub(super) fn with_unit(name: &str, unit: &str) -> String {
    if unit.is_empty() { name.to_owned() } else { format!("{name}, {unit}") }
}

fn sentence(what: &str) -> String {
    let mut letters = what.chars();
    let first: String = letters.next().map(|letter| letter.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

/// A number with as many digits as say something.
pub(super) fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => bulaq_benches::counts::grouped(value.round() as u64),
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::churn::tests::churn;
    use super::*;

    /// Two cases: one target met, one missed.
    fn comparison(is_quiet: bool) -> Comparison {
        let text = r#"{
            "commit": "0123abc", "date": "Sun, 22 Nov 2026 10:10:00 GMT", "rounds": 3, "seconds": 2.0,
            "machine": {"cpu": "Some CPU", "cores": 2, "memory_gib": 4.0, "kernel": "6.1", "system": "Debian"},
            "noise": {"turns": 30, "others_cores_median": OTHERS, "others_cores_most": 0.2, "turns_disturbed": 1,
                      "spread_median": 0.05, "is_quiet": false, "why": "a storm"},
            "contenders": [{"name": "nginx", "version": "1.22", "note": "stock"},
                           {"name": "haproxy", "version": "2.6", "note": "memory"},
                           {"name": "bulaq", "version": "0.1", "note": "ours"}],
            "missing": ["squid"],
            "cases": [
              {"name": "tiny-hit", "what": "hits of 1 KiB", "failures": {}, "figures": [
                {"name": "processor time", "unit": "CPU s", "better": "less", "is_main": true,
                 "values": {"nginx": [1.0, 1.0, 1.2], "haproxy": [1.25, 1.25, 1.25], "bulaq": [0.5, 0.5, 0.6]},
                 "target": {"ratio_to_nginx_min": 0.95}}]},
              {"name": "large-full", "what": "64 MiB whole", "failures": {"haproxy": "no ranges\nat all"}, "figures": [
                {"name": "bytes", "unit": "GB per CPU s", "better": "more", "is_main": true,
                 "values": {"nginx": [10.0, 10.0, 10.0], "bulaq": [5.0, 5.0, 5.0]},
                 "target": {"ratio_to_nginx_min": 0.8}, "is_ahead_of_others": true},
                {"name": "rate", "unit": "requests/s", "better": "more", "is_main": false,
                 "values": {"nginx": [12345.6], "bulaq": [0.004]}, "target": null}]}]}"#;
        serde_json::from_str(&text.replace("OTHERS", if is_quiet { "0.01" } else { "1.5" })).unwrap()
    }

    fn profile() -> Profile {
        let share = r#"{"part": "ours: store", "percent": 12.34}"#;
        let text = format!(
            r#"{{"commit": "c", "cases": [{{"name": "mixed-hit", "what": "w", "samples": 9, "shares": [{share}]}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    const WHY: &str = "[large-full]\nbytes = \"It copies each byte.\"\n";

    #[test]
    fn the_page_has_every_figure_and_what_was_lost() {
        let page = of(&[comparison(true)], &profile(), &churn(true), &Losses::parse(WHY).unwrap()).unwrap();
        for part in [
            "Of 2 targets 1 are met.\nMissed: *large-full: bytes*",
            "| tiny-hit | processor time, CPU s | 0.500 | 1 | 2.00 | 1.25 (haproxy) | ratio ≥ 0.95 | met |",
            "| large-full | bytes, GB per CPU s | 5 | 10 | 0.50 | - | ratio ≥ 0.8, ahead of all others | **missed** |",
            "**large-full: bytes** (5 GB per CPU s, ratio 0.50; ratio ≥ 0.8, ahead of all others). It copies each byte.",
            "- large-full: bytes: nginx 10 against our 5 GB per CPU s",
            "| ours: store | 12.3 |",
            "## A day's churn in ten minutes\n",
            "![flame graph](performance-flame.svg)",
            "### tiny-hit\n\nHits of 1 KiB.\n",
            "| figure | nginx | haproxy | bulaq |",
            "| rate, requests/s (more is better) | 12,346 (1.00) | 0.0040 (0.00) |",
            "haproxy has no figures here: no ranges.",
            "| haproxy | 2.6 | memory |",
            "Not installed, and so not compared: squid.",
            "- tiny-hit, large-full: Sun, 22 Nov 2026 10:10:00 GMT, commit 0123abc; 3 rounds, 5 % apart",
        ] {
            assert!(page.contains(part), "{part}\n---\n{page}");
        }
    }

    #[test]
    fn a_missed_target_wants_an_explanation() {
        let nothing = Losses::default();
        let error = of(&[comparison(true)], &profile(), &churn(true), &nothing).unwrap_err().to_string();
        assert!(error.contains("`large-full: bytes`") && !error.contains("tiny-hit"), "{error}");
        let wrong = Losses::parse("[large-full]\nbyte = \"x\"\n").unwrap();
        let error = of(&[comparison(true)], &profile(), &churn(true), &wrong).unwrap_err().to_string();
        assert!(error.contains("not among the results"), "{error}");
    }

    #[test]
    fn a_noisy_run_gets_no_verdict() {
        let page = of(&[comparison(false)], &profile(), &churn(true), &Losses::default()).unwrap();
        assert!(
            page.contains("For tiny-hit, large-full the machine was too noisy for a verdict: a storm")
                && page.contains("| no verdict |"),
            "{page}"
        );
        assert!(!page.contains("**missed**") && !page.contains("ratio ≥ 0.95 | met |"), "{page}");
    }

    #[test]
    fn a_run_of_one_round_stands_beside_another_and_says_so() {
        let mut stories = comparison(true);
        stories.rounds = 1;
        stories.cases.remove(1);
        stories.cases[0].name = "crowd".to_owned();
        stories.cases[0].figures[0].values.values_mut().for_each(|values| values.truncate(1));
        stories.contenders.remove(1);
        let twice = of(&[comparison(true), comparison(true)], &profile(), &churn(true), &Losses::parse(WHY).unwrap());
        assert!(twice.unwrap_err().to_string().contains("tiny-hit stands in two of the results"));
        let page = of(&[comparison(true), stories], &profile(), &churn(true), &Losses::parse(WHY).unwrap()).unwrap();
        for part in [
            "Of 3 targets 2 are met, 1 of them in cases of one round.",
            "| ratio ≥ 0.95 | met |\n",
            "| crowd | processor time, CPU s | 0.500 | 1 | 2.00 | 1.25 (haproxy) | ratio ≥ 0.95 | met (one round) |",
            "### crowd\n\nHits of 1 KiB. One round: no spread.\n\n| figure | nginx | bulaq |",
            "- crowd: Sun, 22 Nov 2026 10:10:00 GMT, commit 0123abc; one round, so no spread;",
        ] {
            assert!(page.contains(part), "{part}\n---\n{page}");
        }
        assert_eq!(page.matches("| nginx | 1.22 | stock |").count(), 1);
    }

    #[test]
    fn numbers_have_as_many_digits_as_say_something() {
        for (value, text) in [
            (12_345.6, "12,346"),
            (123.4, "123"),
            (12.34, "12.3"),
            (1.234, "1.23"),
            (0.0123, "0.0123"),
            (3.0, "3"),
            (0.0, "0"),
        ] {
            assert_eq!(shown(value), text);
        }
    }
}
