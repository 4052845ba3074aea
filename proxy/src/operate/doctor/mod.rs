//! `bulaq doctor`: what may be wrong with a box, its name server, its certificates and its link, and what to do.
//!
//! One file a check. Each gathers facts (sockets, files) and judges them in a pure function. All run at one time and each
//! has a longest time, so that a dead name server hides nothing else. Sites are asked through the one door out, with a
//! permit, like any pupil's request; name servers are asked only what a device would ask them. Nothing is changed.

mod authority;
mod certificates;
mod clock;
mod disk;
mod dns_question;
mod doors;
mod list;
mod machine;
mod names;
mod serving;
mod upstream;

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Clock;
use crate::config::Config;

/// Longest time of one check. Each of its questions has a shorter one of its own; this bounds their sum.
const CHECK_WAIT: Duration = Duration::from_secs(30);

/// How a finding is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// It could not be found out.
    Unknown,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work.
    Error,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's word; it stays the same.
    pub check: &'static str,
    /// How it is meant.
    pub state: State,
    /// What is so, in one sentence.
    pub what: String,
    /// What to do; none where nothing is to be done.
    pub advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, state: State::Ok, what: what.into(), advice: None }
    }

    fn unknown(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Unknown, what: what.into(), advice: Some(advice.into()) }
    }

    fn warning(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Warning, what: what.into(), advice: Some(advice.into()) }
    }

    fn error(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Error, what: what.into(), advice: Some(advice.into()) }
    }
}

/// What is looked at, beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The name servers to ask as a device would; the machine's own when there is none here.
    pub name_servers: Vec<SocketAddr>,
    /// Whether sites are left unasked: only what is inside the school is looked at.
    pub is_inside_only: bool,
}

/// Looks at everything. Bounded in time; never fails: what cannot be found out is a finding.
pub async fn examine(config: &Config, scope: &Scope, clock: &Clock) -> Vec<Finding> {
    let (allowlist, mut findings) = list::examine(&config.allowlist);
    let (served, serving) = serving::gather(&config.data).await;
    findings.extend(serving::judge(&serving));
    let is_serving = served.is_some();
    let upstream = async {
        if scope.is_inside_only {
            return Vec::new();
        }
        let facts = upstream::gather(&config.origin, &allowlist, clock).await;
        let mut findings = upstream::judge(&facts);
        findings.extend(clock::judge(&clock::facts_of(&facts, clock)));
        findings
    };
    let names = async { names::judge(&names::gather(&scope.name_servers, &allowlist, config).await) };
    let lead = served.as_ref().and_then(|status| status.dns.as_ref()).map(|dns| dns.leading.clone());
    let doors =
        async { doors::judge(&doors::gather(&config.ingress, &config.dns.listen, is_serving, lead.as_deref()).await) };
    let files = {
        let (config, allowlist, clock) = (config.clone(), allowlist.clone(), clock.clone());
        async move {
            // A disk that does not answer must hold up nothing but this.
            let looked = tokio::task::spawn_blocking(move || {
                let mut findings = disk::judge(&disk::gather(&config, served.as_ref()));
                findings.extend(certificates::judge(&certificates::gather(&config, &allowlist, &clock)));
                findings.extend(authority::judge(&authority::gather(&config, &allowlist, &clock)));
                findings.extend(machine::judge(&machine::gather(&config)));
                findings
            });
            looked.await.unwrap_or_default()
        }
    };
    let parts = tokio::join!(
        bounded("doors", doors),
        bounded("dns", names),
        bounded("upstream", upstream),
        bounded("disk", files)
    );
    for part in [parts.0, parts.1, parts.2, parts.3] {
        findings.extend(part);
    }
    findings
}

async fn bounded(check: &'static str, findings: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    tokio::time::timeout(CHECK_WAIT, findings).await.unwrap_or_else(|_| {
        let what = format!("no result within {} seconds", CHECK_WAIT.as_secs());
        vec![Finding::unknown(check, what, "run it again; if it stays so, the system itself hangs here")]
    })
}

/// Some of a list in one sentence, and how many more there are.
fn named<T: AsRef<str>>(items: &[T]) -> String {
    /// Most that one sentence names.
    const NAMED_MAX: usize = 5;
    let mut text = items.iter().take(NAMED_MAX).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if items.len() > NAMED_MAX {
        text += &format!(" and {} more", items.len() - NAMED_MAX);
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Finding, State, named};

    /// The states of findings, and the one whose sentence has these words.
    pub(crate) fn worst(findings: &[Finding]) -> State {
        findings.iter().map(|finding| finding.state).max().expect("a check says something")
    }

    #[test]
    fn a_long_list_is_counted() {
        assert_eq!(named(&["a", "b"]), "a, b");
        assert_eq!(named(&["a"; 9]), "a, a, a, a, a and 4 more");
    }
}
