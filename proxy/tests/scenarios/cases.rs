//! Two requests for one address, and what the cache did with the second: most of what the public tests ask.

use serde::Deserialize;

use crate::{Expected, ExpectedAtOrigin, Level, OneAnswer, OneOf, OneProfile, OneStep, Stage};

/// A response that is stored or not, and a second request some seconds later; played in both profiles.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    id: String,
    level: Level,
    /// Fields of the first request, and of the second.
    #[serde(default)]
    first: Vec<String>,
    #[serde(default)]
    then: Vec<String>,
    /// Status and fields of the answer to the first.
    status: Option<String>,
    answer: Vec<String>,
    #[serde(default = "three")]
    after_s: u64,
    second: Second,
    /// What the school profile does instead, and the name of that deviation.
    school: Option<(Second, String)>,
    /// Status of the second answer, when it is not that of the first.
    told: Option<u16>,
    /// Fields of the second answer.
    #[serde(default)]
    has: Vec<String>,
    #[serde(default)]
    lacks: Vec<String>,
}

/// Where the second answer comes from.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Second {
    /// From the store; the origin is not asked.
    Reused,
    /// From the store; the origin confirmed it.
    Validated,
    /// From the origin.
    Forwarded,
}

fn three() -> u64 {
    3
}

/// Plays all of a file on one box for each profile; returns what went wrong.
pub(crate) async fn play(cases: &[Case], only: Option<&str>) -> Vec<String> {
    let cases: Vec<_> = cases.iter().filter(|case| only.is_none_or(|only| case.id.contains(only))).collect();
    let mut broken = Vec::new();
    if cases.is_empty() {
        return broken;
    }
    for profile in [OneProfile::Rfc9111, OneProfile::School] {
        let mut stage = Stage::set("", profile, false).await;
        for case in &cases {
            let Err(what) = stage.play(&case.steps(profile)).await else { continue };
            match case.level {
                Level::Required | Level::Optimal => broken.push(format!("{}, {profile:?}: {what}", case.id)),
                Level::Observed => println!("observed: {}, {profile:?}: {what}", case.id),
            }
        }
    }
    broken
}

impl Case {
    fn steps(&self, profile: OneProfile) -> [OneStep; 2] {
        let status = self.status.as_deref().unwrap_or("200 OK");
        let code: u16 = status.split(' ').next().unwrap().parse().expect("a status");
        let second = match (profile, &self.school) {
            (OneProfile::School, Some((second, deviation))) => {
                let is_known = |known: &bulaq_cache_policy::school::Deviation| known.name == deviation;
                assert!(bulaq_cache_policy::school::DEVIATIONS.iter().any(is_known), "{}: {deviation}", self.id);
                *second
            }
            _ => self.second,
        };
        let content = |text: &str| if code == 204 { String::new() } else { text.to_owned() };
        let answer = |status: &str, fields: &[String], text: &str| OneAnswer {
            status: Some(status.to_owned()),
            fields: fields.to_vec(),
            content: content(text),
            ..OneAnswer::default()
        };
        let ask = |fields: &[String]| OneStep {
            request: format!("GET /{}", self.id),
            fields: fields.to_vec(),
            ..OneStep::default()
        };
        let validators =
            self.answer.iter().filter(|line| line.starts_with("ETag:") || line.starts_with("Last-Modified:"));
        let validators: Vec<_> = validators.cloned().collect();
        let (answers, conditions) = match second {
            Second::Reused => (vec![], vec![]),
            Second::Forwarded => (vec![answer(status, &[], "two")], vec![]),
            Second::Validated => {
                let value = |line: &String| line.split_once(": ").expect("a field line").1.to_owned();
                let conditions = validators.iter().map(|line| match line.starts_with("ETag:") {
                    true => format!("If-None-Match: {}", value(line)),
                    false => format!("If-Modified-Since: {}", value(line)),
                });
                (vec![answer("304 Not Modified", &validators, "")], conditions.collect())
            }
        };
        let is_new = matches!(second, Second::Forwarded);
        let told = self.told.filter(|_| !is_new).unwrap_or(code);
        let expected = match (told, is_new) {
            (304 | 206, _) => None,
            (_, true) => Some(content("two")),
            (_, false) => Some(content("one")),
        };
        let (has, lacks) = if is_new { (vec![], vec![]) } else { (self.has.clone(), self.lacks.clone()) };
        [
            OneStep {
                answers: vec![answer(status, &self.answer, "one")],
                expect: Expected { status: OneOf::One(code), content: Some(content("one")), ..Expected::default() },
                ..ask(&self.first)
            },
            OneStep {
                advance_s: self.after_s,
                answers,
                origin: ExpectedAtOrigin { has: conditions, ..ExpectedAtOrigin::default() },
                expect: Expected { status: OneOf::One(told), content: expected, has, lacks, ..Expected::default() },
                ..ask(&self.then)
            },
        ]
    }
}
