//! Keeps what the router's rules go by: which ports are served, and where permitted names lead.
//!
//! The sets are written by the program `nft`, with a text of ours on its standard input that holds numbers and
//! addresses only. Ports stay in their set for [`SERVING_S`] and are renewed every [`BEAT`], so that a box that is
//! killed, hangs or loses its power hands the connections back by itself.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bulaq_allowlist::{Allowlist, HostName, HostPattern, Permit, Scheme};
use futures_util::StreamExt;
use futures_util::stream;
use http::Method;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::bridge;
use super::rules::{LISTED_MAX, TABLE, serving};
use super::{HTTP_PORT, HTTPS_PORT, RouterOptions};
use crate::origin::Origin;
use crate::shutdown::Shutdown;

/// How often the ports are renewed. Each time costs some milliseconds of work.
const BEAT: Duration = Duration::from_secs(5);

/// How long ports stay without being renewed, in seconds: two beats may be late.
const SERVING_S: u64 = 15;

/// After so many beats the addresses are written even if they are the same: the rules may have been loaded anew.
const REWRITE_BEATS: u64 = 6;

/// After so many beats the names of the list are resolved again: five minutes.
const RESOLVE_BEATS: u64 = 60;

/// Names that are resolved at one time: the school's name server has pupils to answer as well.
const RESOLVED_AT_ONCE: usize = 8;

/// Longest run of `nft`, which only talks to the kernel.
const NFT_TIMEOUT: Duration = Duration::from_secs(10);

/// Most of what `nft` says that is repeated in the log, in bytes.
const SAID_BYTES_MAX: usize = 300;

/// Why the sets are not written.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    /// No such program, or it does not start.
    #[error("the program nft cannot be run ({0}); install nftables")]
    Nft(#[source] io::Error),
    /// It does not end.
    #[error("nft did not end within {} s", NFT_TIMEOUT.as_secs())]
    Late,
    /// It refuses.
    #[error("nft says: {0}")]
    Refused(String),
}

/// Keeps the sets until the box stops, and takes its ports out of them then.
pub(crate) async fn keep(
    options: RouterOptions,
    allowlist: Arc<ArcSwap<Allowlist>>,
    origin: Origin,
    shutdown: Shutdown,
) {
    for interface in bridge::losing(&options.interfaces, Path::new("/")) {
        tracing::warn!(
            %interface,
            "connections from this bridge will hang, for the kernel calls the rules within it; turn that off: sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0"
        );
    }
    let resolved = Notify::new();
    let resolving = resolve_the_list(Arc::clone(&allowlist), origin.clone(), &resolved);
    let renewing = renew(&options, &allowlist, &origin, &resolved);
    tokio::select! {
        () = renewing => {}
        () = resolving => {}
        () = shutdown.draining() => {}
    }
    if let Err(error) = nft(&format!("flush set inet {TABLE} {}\n", serving(&options))).await {
        tracing::debug!(error = %error, "the router's rules are not told that the box stops");
    }
}

async fn renew(options: &RouterOptions, allowlist: &ArcSwap<Allowlist>, origin: &Origin, resolved: &Notify) {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written: Option<Listed> = None;
    let mut is_well = None;
    for beat in 0_u64.. {
        tokio::select! {
            _ = beats.tick() => {}
            () = resolved.notified() => {}
        }
        let listed = Listed::of(&allowlist.load(), origin.led());
        let is_due = beat.is_multiple_of(REWRITE_BEATS) || written.as_ref() != Some(&listed);
        let text = text(options, is_due.then_some(&listed));
        match nft(&text).await {
            Ok(()) => {
                if is_well != Some(true) {
                    tracing::info!("the router's rules hand connections to the box");
                }
                (is_well, written) = (Some(true), Some(listed));
            }
            Err(error) => {
                if is_well != Some(false) {
                    tracing::warn!(
                        error = %error,
                        "the router's rules hand nothing to the box: there are none, or they were made for other settings; load them as root: bulaq router rules | sh"
                    );
                }
                (is_well, written) = (Some(false), None);
            }
        }
    }
}

/// What `nft` is told: all of it holds or nothing does.
fn text(options: &RouterOptions, listed: Option<&Listed>) -> String {
    let doors = [(HTTP_PORT, &options.http), (HTTPS_PORT, &options.https)];
    let ports: Vec<_> = doors
        .iter()
        .filter(|(_, doors)| !doors.is_empty())
        .map(|(port, _)| format!("{port} timeout {SERVING_S}s"))
        .collect();
    // Adding a port that is there does not renew it.
    let serving = serving(options);
    let mut text =
        format!("flush set inet {TABLE} {serving}\nadd element inet {TABLE} {serving} {{ {} }}\n", ports.join(", "));
    if let Some(Listed(addresses)) = listed {
        for (set, is_of_family) in [("listed4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("listed6", IpAddr::is_ipv6)] {
            let _ = writeln!(text, "flush set inet {TABLE} {set}");
            let members: Vec<_> = addresses.iter().filter(|ip| is_of_family(ip)).map(IpAddr::to_string).collect();
            if !members.is_empty() {
                let _ = writeln!(text, "add element inet {TABLE} {set} {{ {} }}", members.join(", "));
            }
        }
    }
    text
}

/// The addresses that names on the list were found to lead to.
#[derive(Debug, PartialEq, Eq)]
struct Listed(BTreeSet<IpAddr>);

impl Listed {
    /// Of what the box has found, that which the list of today permits.
    fn of(list: &Allowlist, led: impl Iterator<Item = (Arc<HostName>, Arc<[IpAddr]>)>) -> Self {
        let permitted = led.filter(|(host, _)| permit_of(list, host).is_some());
        let addresses = permitted.flat_map(|(_, addresses)| addresses.to_vec());
        Self(addresses.filter(|address| !address.is_loopback()).take(LISTED_MAX).collect())
    }
}

/// A permit for a host at one of the ports that are handed over.
fn permit_of(list: &Allowlist, host: &HostName) -> Option<Permit> {
    let plain = || list.permit(Scheme::Http, host, HTTP_PORT, &Method::GET, "/").ok();
    list.permit_tunnel(host, HTTPS_PORT).ok().or_else(plain)
}

/// Asks where the names of the list lead, at the start, when the list is another, and every few minutes. Names below a
/// wildcard are not known here; the box learns where they lead when it meets them, in a night or at another door.
async fn resolve_the_list(allowlist: Arc<ArcSwap<Allowlist>>, origin: Origin, resolved: &Notify) {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Option<Arc<Allowlist>> = None;
    for beat in 0_u64.. {
        beats.tick().await;
        let list = allowlist.load_full();
        let is_another = last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, &list));
        if !is_another && !beat.is_multiple_of(RESOLVE_BEATS) {
            continue;
        }
        let hosts = list.sites().iter().flat_map(|site| site.hosts()).filter_map(|entry| match entry.pattern() {
            HostPattern::Exact(host) | HostPattern::Suffix(host) => permit_of(&list, host),
        });
        let permits: Vec<Permit> = hosts.collect();
        stream::iter(permits)
            .for_each_concurrent(RESOLVED_AT_ONCE, |permit| {
                let origin = origin.clone();
                async move {
                    if let Err(error) = origin.addresses(&permit).await {
                        tracing::debug!(host = %permit.host(), error = %error, "not known where a permitted name leads");
                    }
                }
            })
            .await;
        last = Some(list);
        resolved.notify_one();
    }
}

async fn nft(text: &str) -> Result<(), KeepError> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(KeepError::Nft)?;
    let run = async {
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let output = timeout(NFT_TIMEOUT, run).await.map_err(|_| KeepError::Late)?.map_err(KeepError::Nft)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first: String = said.lines().next().unwrap_or("nothing").chars().take(SAID_BYTES_MAX).collect();
    Err(KeepError::Refused(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(entries: &[(&str, &[&str])]) -> impl Iterator<Item = (Arc<HostName>, Arc<[IpAddr]>)> {
        let entries = entries.iter().map(|(host, addresses)| {
            let addresses: Arc<[IpAddr]> = addresses.iter().map(|address| address.parse().unwrap()).collect();
            (Arc::new(HostName::parse(host).unwrap()), addresses)
        });
        entries.collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn only_what_is_permitted_today_is_taken() {
        let text = "[[site]]\nname = \"lessons\"\nhosts = [\"lessons.kz\", \"*.lessons.kz\", \"http://plain.kz\", \"far.kz:8443\"]\n";
        let list = Allowlist::parse("allowlist.toml", text).unwrap().allowlist;
        let found = led(&[
            ("lessons.kz", &["192.0.2.80", "2001:db8::80"]),
            ("a.lessons.kz", &["192.0.2.81"]),
            ("plain.kz", &["192.0.2.82"]),
            ("far.kz", &["192.0.2.83", "127.0.0.1"]),
            ("gone.kz", &["192.0.2.84"]),
        ]);
        let Listed(addresses) = Listed::of(&list, found);
        let told: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        let expected = ["192.0.2.80", "192.0.2.81", "192.0.2.82", "2001:db8::80"];
        assert!(expected.iter().all(|address| told.contains(&(*address).to_owned())), "{told:?}");
        assert!(!told.contains(&"192.0.2.84".to_owned()) && !told.contains(&"127.0.0.1".to_owned()), "{told:?}");
    }

    #[test]
    fn the_sets_are_written_whole() {
        let options = RouterOptions { https: vec!["[::1]:8443".parse().unwrap()], ..RouterOptions::default() };
        let serving = "flush set inet bulaq serving_tproxy_8443\n\
                       add element inet bulaq serving_tproxy_8443 { 443 timeout 15s }\n";
        assert_eq!(text(&options, None), serving);
        let listed = Listed(["192.0.2.80", "192.0.2.81"].iter().map(|ip| ip.parse().unwrap()).collect());
        let sets = "flush set inet bulaq listed4\nadd element inet bulaq listed4 { 192.0.2.80, 192.0.2.81 }\n\
                    flush set inet bulaq listed6\n";
        assert_eq!(text(&options, Some(&listed)), format!("{serving}{sets}"));
    }
}
