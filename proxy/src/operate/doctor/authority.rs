//! The district's CA as it lies on this box: does it vouch for today's list, and for how long?

use bulaq_allowlist::Allowlist;

use super::Finding;
use crate::ca::{self, RootKey, Standing};
use crate::clock::Clock;
use crate::config::Config;

const CHECK: &str = "ca";

/// What is known of the CA.
#[derive(Debug)]
pub(super) enum Facts {
    /// A file of it cannot be used: the room's own words, which say what to do.
    Unusable(String),
    /// How it stands, the days until nothing is signed any more, and where the root's key is.
    Stands { standing: Box<Standing>, days_left: Option<u64>, root_key: RootKey },
}

/// Reads the CA's folder. Nothing is unlocked.
pub(super) fn gather(config: &Config, list: &Allowlist, clock: &Clock) -> Facts {
    let (folder, now) = (config.data.join("ca"), clock.now());
    let read = Standing::read(&folder, list, now).and_then(|standing| Ok((standing, ca::root_key(&folder)?)));
    match read {
        Ok((standing, root_key)) => {
            Facts::Stands { days_left: standing.days_left(now), standing: Box::new(standing), root_key }
        }
        Err(error) => Facts::Unusable(error.to_string()),
    }
}

/// What that means.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let (standing, days_left, root_key) = match facts {
        Facts::Unusable(words) => {
            return vec![Finding::error(
                CHECK,
                words.clone(),
                "`bulaq ca show` says more; sites are passed through meanwhile",
            )];
        }
        Facts::Stands { standing, days_left, root_key } => (standing, days_left, root_key),
    };
    let mut findings: Vec<_> = standing.findings.iter().map(judge_one).collect();
    if *root_key == RootKey::Plain {
        findings.push(Finding::error(
            CHECK,
            "the root's key lies on this box without a passphrase: whoever copies it can vouch for the lesson sites",
            "put it under a passphrase, or better on a stick in a safe: `bulaq ca` says how",
        ));
    }
    if findings.is_empty() {
        findings.push(match days_left {
            Some(days) => Finding::ok(CHECK, format!("the box vouches for today's list for {days} more days")),
            None => Finding::ok(CHECK, "no site is set to tls = \"terminate\", so no CA is needed"),
        });
    }
    findings
}

/// The room's own sentence, which ends in what to do. Only what was working and has stopped is an error: a box without a CA
/// passes sites through.
fn judge_one(finding: &ca::Finding) -> Finding {
    use ca::Finding::{Clock, Ended, RootEnded};
    let text = finding.to_string();
    let (what, advice) = text.split_once("; ").unwrap_or((&text, "`bulaq ca show` says more"));
    match finding {
        Clock | Ended | RootEnded => Finding::error(CHECK, what, advice),
        _ => Finding::warning(CHECK, what, advice),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::super::tests::worst;
    use super::*;

    #[test]
    fn each_way_in_which_a_ca_stands_is_told() {
        let stands = |findings: Vec<ca::Finding>, days_left, root_key| Facts::Stands {
            standing: Box::new(Standing { root: None, intermediate: None, findings }),
            days_left,
            root_key,
        };
        for (facts, state, words) in [
            (stands(vec![], Some(60), RootKey::Locked), State::Ok, "60 more days"),
            (stands(vec![], None, RootKey::Absent), State::Ok, "no CA is needed"),
            (stands(vec![ca::Finding::NoRoot], None, RootKey::Absent), State::Warning, "there is no CA yet"),
            (stands(vec![ca::Finding::EndsSoon { days: 9 }], Some(9), RootKey::Absent), State::Warning, "in 9 days"),
            (stands(vec![ca::Finding::Ended], Some(0), RootKey::Absent), State::Error, "has expired"),
            (stands(vec![ca::Finding::Clock], Some(9), RootKey::Absent), State::Error, "the clock"),
            (stands(vec![], Some(60), RootKey::Plain), State::Error, "without a passphrase"),
            (Facts::Unusable("root.pem is not ours".to_owned()), State::Error, "not ours"),
        ] {
            let findings = judge(&facts);
            assert_eq!(worst(&findings), state, "{findings:?}");
            assert!(findings.iter().any(|finding| finding.what.contains(words)), "{words}: {findings:?}");
            assert!(findings.iter().all(|it| it.state == State::Ok || it.advice.is_some()), "{findings:?}");
        }
    }

    #[test]
    fn a_folder_without_a_ca_and_one_with() {
        let folder = tempfile::tempdir().unwrap();
        let list = "[[site]]\nname = \"a\"\nhosts = [\"a.kz\"]\ntls = \"terminate\"\n";
        let list = Allowlist::parse("list.toml", list).unwrap().allowlist;
        let config = Config { data: folder.path().to_owned(), ..Config::defaults(folder.path()) };
        let clock = Clock::system();
        let found = || judge(&gather(&config, &list, &clock));
        assert_eq!(worst(&found()), State::Warning);
        ca::Ca::make_throwaway(&folder.path().join("ca"), &list, clock.clone()).unwrap();
        assert!(found().iter().all(|finding| finding.state != State::Error || finding.what.contains("passphrase")));
    }
}
