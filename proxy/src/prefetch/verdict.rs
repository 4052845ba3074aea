//! What an answer means for the night: stored, fresh, left out, failed, or to be asked again.

use std::time::Duration;

use http::StatusCode;

use super::budget::Mood;
use super::journal::{Outcome, Role};
use crate::request::Source;

/// Requests for one address that fails by itself (promise 16: two tries for a GET).
const TRIES_MAX: u8 = 2;

/// Requests for one address whose origin asks for pauses; the origin's own pauses are counted by the budget.
const PAUSED_TRIES_MAX: u8 = 4;

/// What the stack answered, without its content.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) source: Source,
    pub(super) is_stored: bool,
    /// The stack's own word for it.
    pub(super) reason: &'static str,
    pub(super) retry_after: Option<Duration>,
    /// Whether the content came to its end.
    pub(super) is_complete: bool,
}

/// What follows for one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Done(Outcome),
    /// It is asked for again, unless it was asked for often enough: then it failed for this reason.
    Again {
        why: String,
        tries_max: u8,
    },
}

/// What an answer means for its address and for its origin.
pub(super) fn judge(answer: &Answer, role: Role) -> (Verdict, Mood) {
    let done = |outcome| (Verdict::Done(outcome), Mood::Well);
    let again = |why: &str, mood| {
        let tries_max = if mood == Mood::Well { TRIES_MAX } else { PAUSED_TRIES_MAX };
        (Verdict::Again { why: why.to_owned(), tries_max }, mood)
    };
    let pause = Mood::AsksForPause(answer.retry_after);
    let status = answer.status;
    match answer.source {
        // Our own error pages: the origin gave nothing.
        Source::Box if status.is_server_error() => return again(answer.reason, pause),
        Source::Box => return done(Outcome::Skipped(answer.reason.to_owned())),
        // What we have is older than it should be, because the origin could not be asked.
        Source::Stale => return again("stale", pause),
        Source::Hit | Source::Validated | Source::Collapsed | Source::Origin => {}
    }
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return again(status.as_str(), pause);
    }
    if status.is_server_error() {
        return again(status.as_str(), Mood::Well);
    }
    if !answer.is_complete {
        return again("incomplete", Mood::Well);
    }
    if !status.is_success() && !status.is_redirection() {
        return match role {
            Role::GuessedSitemap => done(Outcome::Skipped("no-sitemap".to_owned())),
            _ => done(Outcome::Failed(status.as_str().to_owned())),
        };
    }
    match answer.source {
        Source::Hit => done(Outcome::Fresh),
        Source::Validated => done(Outcome::Revalidated),
        _ if answer.is_stored => done(Outcome::Stored),
        _ => done(Outcome::Skipped(format!("not-stored: {}", answer.reason))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_one_meaning() {
        use Source::{Box, Collapsed, Hit, Origin, Stale, Validated};
        let skipped = |why: &str| Verdict::Done(Outcome::Skipped(why.into()));
        let failed = |why: &str| Verdict::Done(Outcome::Failed(why.into()));
        let again = |why: &str, tries_max| Verdict::Again { why: why.into(), tries_max };
        let stored = Verdict::Done(Outcome::Stored);
        let pause = Mood::AsksForPause(Some(Duration::from_secs(7)));
        for (status, source, is_stored, is_complete, verdict, mood) in [
            (200, Hit, true, true, Verdict::Done(Outcome::Fresh), Mood::Well),
            (200, Validated, true, true, Verdict::Done(Outcome::Revalidated), Mood::Well),
            (200, Origin, true, true, stored.clone(), Mood::Well),
            (200, Collapsed, true, true, stored.clone(), Mood::Well),
            (301, Origin, true, true, stored, Mood::Well),
            (200, Origin, false, true, skipped("not-stored: word"), Mood::Well),
            (302, Origin, false, true, skipped("not-stored: word"), Mood::Well),
            (200, Origin, true, false, again("incomplete", 2), Mood::Well),
            (404, Origin, true, true, failed("404"), Mood::Well),
            (404, Hit, true, true, failed("404"), Mood::Well),
            (429, Origin, false, true, again("429", 4), pause),
            (503, Origin, false, true, again("503", 4), pause),
            (500, Origin, false, true, again("500", 2), Mood::Well),
            (502, Origin, false, true, again("502", 2), Mood::Well),
            (200, Stale, true, true, again("stale", 4), pause),
            (502, Box, false, true, again("word", 4), pause),
            (504, Box, false, true, again("word", 4), pause),
            (403, Box, false, true, skipped("word"), Mood::Well),
        ] {
            let answer = Answer {
                status: StatusCode::from_u16(status).expect("a status"),
                source,
                is_stored,
                reason: "word",
                retry_after: Some(Duration::from_secs(7)),
                is_complete,
            };
            assert_eq!(judge(&answer, Role::Page), (verdict, mood), "{status} {source:?}");
        }
    }

    #[test]
    fn a_sitemap_that_was_only_guessed_may_be_missing() {
        let answer = Answer {
            status: StatusCode::NOT_FOUND,
            source: Source::Origin,
            is_stored: false,
            reason: "",
            retry_after: None,
            is_complete: true,
        };
        let missing = Verdict::Done(Outcome::Skipped("no-sitemap".into()));
        assert_eq!(judge(&answer, Role::GuessedSitemap).0, missing);
        assert_eq!(judge(&answer, Role::Sitemap).0, Verdict::Done(Outcome::Failed("404".into())));
    }
}
