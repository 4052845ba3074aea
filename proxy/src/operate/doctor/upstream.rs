//! The link: does a sample of the permitted sites answer, over the same way out as a pupil's request?

use std::time::{Duration, SystemTime};

use bulaq_allowlist::{Allowlist, HostPattern, Permit, Site};
use http::header::DATE;
use http::{Method, Request, Uri};

use super::{Finding, named};
use crate::clock::Clock;
use crate::config::quantity::counted;
use crate::origin::{Origin, OriginOptions};
use crate::request::ForwardError;
use crate::request::asked::empty;

const CHECK: &str = "upstream";

/// Sites that are asked, one request each. Where twelve answer the link is up; where none does it is not.
const SITES_MAX: usize = 12;

/// Longest wait for one site: a look-up, a connection, TLS and a head over a satellite link.
const SITE_WAIT: Duration = Duration::from_secs(15);

/// From here on an answer is told to be slow.
const SLOW: Duration = Duration::from_secs(3);

/// What one site said.
#[derive(Debug)]
pub(super) struct Asked {
    host: String,
    pub(super) outcome: Outcome,
    took: Duration,
}

/// How a request ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// With an answer: its status, the origin's time, and ours when it came.
    Answered { status: u16, date: Option<SystemTime>, at: SystemTime },
    /// Without.
    Failed(ForwardError),
    /// With nothing at all.
    Silent,
}

/// What is known of the link.
#[derive(Debug)]
pub(super) enum Facts {
    /// The way out cannot be set up.
    NoWayOut(String),
    /// What the sites said.
    Sites(Vec<Asked>),
}

/// Asks a sample of the sites for the head of their first page.
pub(super) async fn gather(options: &OriginOptions, list: &Allowlist, clock: &Clock) -> Facts {
    let origin = match Origin::new(options.clone(), clock.clone()) {
        Ok(origin) => origin,
        Err(error) => return Facts::NoWayOut(error.to_string()),
    };
    let permits = list.sites().iter().filter_map(|site| first_page(list, site)).take(SITES_MAX);
    let asked = permits.map(|(permit, uri)| ask(&origin, clock, permit, uri));
    Facts::Sites(futures_util::future::join_all(asked).await)
}

/// The page that a site is asked for, with its permit; none when all its hosts are wildcards.
fn first_page(list: &Allowlist, site: &Site) -> Option<(Permit, Uri)> {
    let start = site.prefetch().and_then(|prefetch| prefetch.start().first()).map(ToString::to_string);
    let address = start.or_else(|| {
        let entry = site.hosts().iter().find(|entry| matches!(entry.pattern(), HostPattern::Exact(_)))?;
        let scheme = if entry.is_plain_http() { "http" } else { "https" };
        let port = entry.port().map_or_else(String::new, |port| format!(":{port}"));
        Some(format!("{scheme}://{}{port}/", entry.host()))
    })?;
    let uri: Uri = address.parse().ok()?;
    let permit = list.permit_uri(&Method::HEAD, &uri)?.ok()?;
    Some((permit, uri))
}

async fn ask(origin: &Origin, clock: &Clock, permit: Permit, uri: Uri) -> Asked {
    let host = permit.host().to_string();
    let begun = tokio::time::Instant::now();
    let mut request = Request::new(empty());
    *request.method_mut() = Method::HEAD;
    *request.uri_mut() = uri;
    let outcome = match tokio::time::timeout(SITE_WAIT, origin.send(&permit, request)).await {
        Ok(Ok(response)) => {
            let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
            let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
            Outcome::Answered { status: response.status().as_u16(), date, at: clock.now() }
        }
        Ok(Err(error)) => Outcome::Failed(error),
        Err(_) => Outcome::Silent,
    };
    Asked { host, outcome, took: begun.elapsed() }
}

/// What that means.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let sites = match facts {
        Facts::NoWayOut(words) => {
            return vec![Finding::error(CHECK, words.clone(), "mend [origin] in bulaq.toml; `bulaq serve --check`")];
        }
        Facts::Sites(sites) if sites.is_empty() => {
            return vec![Finding::unknown(CHECK, "no site to ask", "permit a site with a host of its own")];
        }
        Facts::Sites(sites) => sites,
    };
    let failed: Vec<_> = sites.iter().filter(|asked| !matches!(asked.outcome, Outcome::Answered { .. })).collect();
    let mut findings = inward(&failed);
    if !findings.is_empty() {
        return findings;
    }
    if failed.len() == sites.len() && sites.iter().all(|asked| is_of_the_link(&asked.outcome)) {
        return vec![link_down(sites)];
    }
    let answered = sites.len() - failed.len();
    let slowest = sites.iter().map(|asked| asked.took).max().unwrap_or_default();
    let what = format!(
        "answers from {answered} of {}, the slowest after {} ms",
        counted(sites.len() as u64, "site"),
        slowest.as_millis()
    );
    findings.push(if slowest > SLOW && failed.is_empty() {
        Finding::warning(CHECK, what, "the link is slow or full; the night's bandwidth is set in [night]")
    } else {
        Finding::ok(CHECK, what)
    });
    findings.extend(failed.iter().map(|asked| site_down(asked)));
    findings.extend(sites.iter().filter_map(unwelcome));
    findings
}

/// Sites whose names lead into the school: the box asks a name server that leads to the box.
fn inward(failed: &[&Asked]) -> Vec<Finding> {
    let is_inward =
        |asked: &&&Asked| matches!(asked.outcome, Outcome::Failed(ForwardError::DestinationIpProhibited { .. }));
    let hosts: Vec<_> = failed.iter().filter(is_inward).map(|asked| asked.host.as_str()).collect();
    if hosts.is_empty() {
        return Vec::new();
    }
    vec![Finding::error(
        CHECK,
        format!("the box's own name server leads {} to an address inside the school", named(&hosts)),
        "the box must not ask the name server that leads devices to it: set `dns-servers` in [origin], as in \
         [\"1.1.1.1\", \"8.8.8.8\"], or list the site's address in the allowlist if it is inside",
    )]
}

/// Whether a failure may be of the link and not of the site.
fn is_of_the_link(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Silent => true,
        Outcome::Answered { .. } => false,
        Outcome::Failed(error) => matches!(
            error,
            ForwardError::Dns { .. }
                | ForwardError::DnsTimeout { .. }
                | ForwardError::ConnectionRefused { .. }
                | ForwardError::ConnectionTimeout { .. }
        ),
    }
}

fn link_down(sites: &[Asked]) -> Finding {
    let names_fail = |asked: &Asked| {
        matches!(asked.outcome, Outcome::Failed(ForwardError::Dns { .. } | ForwardError::DnsTimeout { .. }))
    };
    let count = counted(sites.len() as u64, "site");
    if sites.iter().all(names_fail) {
        return Finding::error(
            CHECK,
            format!("none of {count} can be looked up: the link or the box's name server is down"),
            "does this machine reach the Internet? `dns-servers` in [origin] says which name servers the box asks",
        );
    }
    Finding::error(
        CHECK,
        format!("none of {count} can be reached: the link is down"),
        "look at the router and the provider; what is stored is served meanwhile",
    )
}

fn site_down(Asked { host, outcome, .. }: &Asked) -> Finding {
    match outcome {
        Outcome::Failed(ForwardError::Tls { detail, .. }) => Finding::error(
            CHECK,
            format!("{host} cannot prove who it is: {detail}"),
            "is the clock right? Does a firewall open https on the way? Its root goes into [origin.extra-roots]",
        ),
        Outcome::Failed(error) => Finding::warning(
            CHECK,
            format!("{error} ({})", error.token()),
            "other sites answer, so this one is down or its host has moved; `bulaq allowlist explain` shows its entry",
        ),
        Outcome::Silent | Outcome::Answered { .. } => {
            let what = format!("{host} said nothing within {} seconds", SITE_WAIT.as_secs());
            Finding::warning(CHECK, what, "other sites answer, so this one is down or very slow")
        }
    }
}

/// An answer that says that the site does not want this box, or is ill.
fn unwelcome(Asked { host, outcome, .. }: &Asked) -> Option<Finding> {
    let Outcome::Answered { status, .. } = outcome else { return None };
    let advice = match status {
        403 | 429 | 451 => {
            "the site may refuse this school's address or this box: ask it, with the address, to let it in"
        }
        500.. => "the site itself is ill; what is stored is served meanwhile",
        _ => return None,
    };
    Some(Finding::warning(CHECK, format!("{host} answers with status {status}"), advice))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::State;
    use super::super::tests::worst;
    use super::*;
    use crate::origin::HostOverride;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn site(outcome: Outcome) -> Asked {
        Asked { host: "a.kz".to_owned(), outcome, took: Duration::from_millis(40) }
    }

    fn answered(status: u16) -> Asked {
        site(Outcome::Answered { status, date: None, at: SystemTime::UNIX_EPOCH })
    }

    fn failed(error: fn(String) -> ForwardError) -> Asked {
        site(Outcome::Failed(error("a.kz".to_owned())))
    }

    #[test]
    fn a_dead_site_is_not_a_dead_link() {
        let dns = |host| ForwardError::Dns { host };
        let refused = |host| ForwardError::ConnectionRefused { host };
        let inward = |host| ForwardError::DestinationIpProhibited { host };
        let tls = |host| ForwardError::Tls { host, detail: "expired".to_owned() };
        for (sites, state, words) in [
            (vec![answered(200), answered(404)], State::Ok, "answers from 2 of 2 sites"),
            (vec![answered(200), failed(refused)], State::Warning, "answers from 1 of 2 sites"),
            (vec![answered(200), site(Outcome::Silent)], State::Warning, "said nothing"),
            (vec![failed(dns), failed(dns)], State::Error, "looked up"),
            (vec![failed(dns), failed(refused)], State::Error, "the link is down"),
            (vec![answered(200), failed(tls)], State::Error, "cannot prove who it is"),
            (vec![failed(tls)], State::Error, "expired"),
            (vec![answered(200), failed(inward)], State::Error, "inside the school"),
            (vec![answered(403)], State::Warning, "status 403"),
            (vec![answered(502)], State::Warning, "status 502"),
            (vec![], State::Unknown, "no site"),
        ] {
            let findings = judge(&Facts::Sites(sites));
            assert_eq!(worst(&findings), state, "{findings:?}");
            assert!(findings.iter().any(|finding| finding.what.contains(words)), "{words}: {findings:?}");
        }
        assert_eq!(judge(&Facts::NoWayOut("no".to_owned()))[0].state, State::Error);
    }

    #[tokio::test]
    async fn a_site_that_answers_and_one_that_is_gone() {
        let portal = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let lives = portal.local_addr().unwrap();
        // An address that no other test uses: what was given back there stays free.
        let gone = tokio::net::TcpListener::bind("127.53.53.4:0").await.unwrap().local_addr().unwrap();
        let answers = tokio::spawn(async move {
            let (mut stream, _) = portal.accept().await.unwrap();
            let mut seen = [0; 2048];
            let read = stream.read(&mut seen).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            String::from_utf8_lossy(&seen[..read]).into_owned()
        });
        let list =
            "[[site]]\nname = \"a\"\nhosts = [\"http://a.kz\"]\n[[site]]\nname = \"b\"\nhosts = [\"http://b.kz\"]\n";
        let list = Allowlist::parse("list.toml", list).unwrap().allowlist;
        let hosts = [("a.kz", lives), ("b.kz", gone)].map(|(host, to)| {
            (bulaq_allowlist::HostName::parse(host).unwrap(), vec![HostOverride { ip: to.ip(), port: Some(to.port()) }])
        });
        let options = OriginOptions { hosts: HashMap::from(hosts), ..OriginOptions::default() };
        let Facts::Sites(sites) = gather(&options, &list, &Clock::system()).await else { panic!("a way out") };
        assert!(answers.await.unwrap().starts_with("HEAD / HTTP/1.1\r\n"));
        let Outcome::Answered { status: 200, date: Some(date), .. } = sites[0].outcome else { panic!("{sites:?}") };
        assert_eq!(date, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
        assert!(matches!(sites[1].outcome, Outcome::Failed(ForwardError::ConnectionRefused { .. })), "{sites:?}");
    }
}
