//! Each table of the file as the options of the room that it is about.

mod clients;
mod dns;
mod gateway;
mod pac;
mod router;
mod trust;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bulaq_allowlist::HostName;
use bulaq_cache_policy::{Options as PolicyOptions, Profile};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use jiff::civil::Time;
use jiff::tz::TimeZone;

use super::Config;
use super::limits::{self, Limit};
use super::quantity::{BitRate, ByteSize, Period};
use super::written::Section;
use crate::ca::{CertificateFile, CertificateName};
use crate::ingress::limits as bounds;
use crate::ingress::transparent::RouterOptions;
use crate::ingress::{Clients, IngressOptions, Limits};
use crate::ledger::LedgerOptions;
use crate::origin::{HostOverride, OriginOptions};
use crate::portal::names;
use crate::prefetch::window::Window;
use crate::prefetch::{NightLimits, NightOptions, SiteLimits};
use crate::request::RequestOptions;
use crate::store::StoreOptions;

/// Where the box keeps its things unless told otherwise, as the Linux file system standard has it.
const DATA: &str = "/var/lib/bulaq";

/// The port of a name server that is written without one.
const DNS_PORT: u16 = 53;

/// The whole file. With an error in it, the result only serves to find the other errors.
pub(super) fn config(root: &Section<'_, '_>, folder: &Path) -> Config {
    let path = |text: &str| folder.join(text);
    let time_zone = root.parsed("time-zone", time_zone).unwrap_or_else(TimeZone::system);
    let data = root.text("data").map_or_else(|| PathBuf::from(DATA), |(text, _)| path(text));
    let (window, night) = night(&root.section("night"), &time_zone);
    let gateway = gateway::domain(&root.section("gateway"));
    let ingress = IngressOptions {
        purgers: purgers(&root.section("purge")),
        clients: clients::clients(root),
        router: router::router(&root.section("router")),
        gateway: gateway.clone(),
        ..ingress(&root.section("listen"), status_networks(root))
    };
    let mut origin = origin(&root.section("origin"), folder);
    let dns = dns::dns(&root.section("dns"), &ingress, &mut origin);
    Config {
        allowlist: path(root.text("allowlist").map_or("allowlist.toml", |(text, _)| text)),
        workers: as_usize(root.limited("workers", &limits::WORKERS)),
        ingress,
        dns,
        certificates: certificates(&root.section("tls"), folder),
        trust: trust::trust(&root.section("trust")),
        request: request(root, gateway),
        store: store(&root.section("store"), &data),
        origin,
        window,
        night,
        ledger: ledger(&root.section("ledger"), &time_zone),
        log: log(&root.section("log")),
        data,
        time_zone,
    }
}

/// The networks that see `Cache-Status`. What is stored tells what classmates read.
fn status_networks(root: &Section<'_, '_>) -> Vec<IpNet> {
    let operators = root.list("operators", network).unwrap_or_else(|| IngressOptions::default().operators);
    let everybody = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
    let choices: [(&str, Option<&[IpNet]>); 3] =
        [("operators", None), ("all", Some(everybody.as_slice())), ("off", Some(&[]))];
    root.choice("status", &choices, None).map_or(operators, <[IpNet]>::to_vec)
}

/// The addresses from which `PURGE` is taken.
fn purgers(section: &Section<'_, '_>) -> Vec<IpNet> {
    let from = section.list("from", network).unwrap_or_default();
    section.done();
    from
}

fn ingress(section: &Section<'_, '_>, operators: Vec<IpNet>) -> IngressOptions {
    let door =
        |key, port| section.list(key, socket_address).unwrap_or_else(|| vec![SocketAddr::from(([0, 0, 0, 0], port))]);
    let listen = IngressOptions {
        http: door("http", 80),
        https: door("https", 443),
        forward: door("forward", 3128),
        operators,
        purgers: Vec::new(),
        gateway: None,
        clients: Clients::default(),
        router: RouterOptions::default(),
        limits: Limits {
            connections_max: section.limited("connections-max", &count(bounds::CONNECTIONS_MAX)),
            connections_per_client_max: section
                .limited("connections-per-client-max", &count(bounds::CONNECTIONS_PER_CLIENT_MAX)),
            head_wait_s: whole_seconds(section, "request-timeout", bounds::HEAD_WAIT_S),
            idle_s: whole_seconds(section, "idle-timeout", bounds::IDLE_S),
            request_body_wait_s: whole_seconds(section, "upload-timeout", bounds::REQUEST_BODY_WAIT_S),
            request_body_bytes_max: section.limited("upload-max", &size(bounds::REQUEST_BODY_BYTES_MAX)).0,
            write_wait_s: whole_seconds(section, "download-pause-timeout", bounds::WRITE_WAIT_S),
            tunnel_idle_s: whole_seconds(section, "tunnel-idle-timeout", bounds::TUNNEL_IDLE_S),
            drain_s: whole_seconds(section, "stop-timeout", bounds::DRAIN_S),
            h2_streams_max: section.limited("h2-streams-max", &count(bounds::H2_STREAMS_MAX)),
        },
    };
    let doors = [("http", &listen.http), ("https", &listen.https), ("forward", &listen.forward)];
    let all: Vec<_> = doors.iter().flat_map(|(key, door)| door.iter().map(move |address| (*key, address))).collect();
    if all.is_empty() {
        section.report().error(&section.span("http"), "the box listens nowhere", "no address", None);
    }
    for (index, (key, address)) in all.iter().enumerate() {
        let Some((other, _)) = all[..index].iter().find(|(_, other)| other == address) else { continue };
        if address.port() != 0 {
            // The later door, or the other one where this is the default that nobody wrote.
            let span = [key, other].into_iter().map(|key| section.span(key)).find(|span| !span.is_empty());
            let message = format!("{address} is given to {other} and to {key}");
            section.report().error(&span.unwrap_or_default(), message, "used twice", None);
        }
    }
    section.done();
    listen
}

fn certificates(section: &Section<'_, '_>, folder: &Path) -> Vec<CertificateFile> {
    let entries = section.sections("certificates", CertificateName::parse, |entry, name| {
        let certificate = entry.text("certificate").map(|(text, _)| folder.join(text));
        let key = entry.text("key").map(|(text, _)| folder.join(text));
        if certificate.is_none() || key.is_none() {
            let help = "write certificate = \"….pem\" and key = \"….pem\"".to_owned();
            entry.report().error(name, "a certificate and its key are both needed", "incomplete", Some(help));
        }
        Some((certificate?, key?))
    });
    section.done();
    entries
        .into_iter()
        .map(|(name, (certificate, key))| CertificateFile { names: vec![name], certificate, key })
        .collect()
}

fn request(root: &Section<'_, '_>, gateway: Option<HostName>) -> RequestOptions {
    let defaults = RequestOptions::default();
    let (pages, cache) = (root.section("pages"), root.section("cache"));
    let request = RequestOptions {
        policy: policy(&cache),
        stale_after: cache.limited("stale-after", &limits::STALE_AFTER).0,
        own_names: own_names(pages.list("names", HostName::parse).unwrap_or(defaults.own_names)),
        contact: pages.text("contact").map(|(text, _)| text.to_owned()).filter(|text| !text.is_empty()),
        in_flight_max: as_usize(root.limited("requests-max", &limits::REQUESTS_MAX)),
        pac: pac::pac(&root.section("pac")),
        gateway,
    };
    pages.done();
    cache.done();
    request
}

/// The names at which the box shows its pages: those that are written, and those that every box has.
fn own_names(mut written: Vec<HostName>) -> Vec<HostName> {
    for name in [names::box_name(), names::probe_name()] {
        if !written.contains(name) {
            written.push(name.clone());
        }
    }
    written
}

fn policy(section: &Section<'_, '_>) -> PolicyOptions {
    let profiles = [("school", Profile::School), ("rfc9111", Profile::Rfc9111)];
    let defaults = PolicyOptions::default();
    PolicyOptions {
        profile: section.choice("profile", &profiles, defaults.profile),
        targeted_fields: section.flag("targeted-fields", defaults.targeted_fields),
        targeted_max: section.limited("targeted-max", &limits::TARGETED_MAX).0,
        heuristic_percent: as_u32(section.limited("heuristic-percent", &limits::HEURISTIC_PERCENT)),
        heuristic_max: section.limited("heuristic-max", &limits::HEURISTIC_MAX).0,
        stale_max: section.limited("stale-max", &limits::STALE_MAX).0,
    }
}

fn store(section: &Section<'_, '_>, data: &Path) -> StoreOptions {
    let defaults = StoreOptions::new(data.join("store"));
    let size = section.limited("size", &limits::STORE_SIZE);
    // A store smaller than the longest body's default takes bodies up to its own size.
    let body_max = limits::STORE_BODY_MAX;
    let body_max = Limit { default: if size < body_max.default { size } else { body_max.default }, ..body_max };
    let options = StoreOptions {
        bytes_max: size.0,
        free_bytes_min: section.limited("keep-free", &limits::STORE_KEEP_FREE).0,
        memory_bytes_max: section.limited("memory", &limits::STORE_MEMORY).0,
        memory_body_bytes_max: section.limited("memory-body-max", &limits::STORE_MEMORY_BODY_MAX).0,
        body_bytes_max: section.limited("body-max", &body_max).0,
        variants_max: as_usize(section.limited("variants-max", &limits::STORE_VARIANTS_MAX)),
        index_cache_bytes: section.limited("index-memory", &limits::STORE_INDEX_MEMORY).0,
        pinned_percent_max: section.limited("pinned-percent-max", &limits::STORE_PINNED_PERCENT_MAX),
        ballast_bytes: section.limited("reserve", &limits::STORE_RESERVE).0,
        ..defaults
    };
    if options.body_bytes_max > options.bytes_max {
        let help = "longer bodies pass through without being stored".to_owned();
        let message = format!("`store.body-max` is larger than the store, {}", ByteSize(options.bytes_max));
        section.report().warning(&section.span("body-max"), message, "never reached", Some(help));
    }
    section.done();
    options
}

fn origin(section: &Section<'_, '_>, folder: &Path) -> OriginOptions {
    let files = |text: &str| Ok::<_, Infallible>(folder.join(text));
    let options = OriginOptions {
        hosts: section.entries("hosts", HostName::parse, str::parse::<HostOverride>).into_iter().collect(),
        dns_servers: section.list("dns-servers", name_server).unwrap_or_default(),
        extra_roots: section.entries("extra-roots", site_name, files).into_iter().collect(),
        dns_timeout: section.limited("dns-timeout", &limits::DNS_TIMEOUT).0,
        connect_timeout: section.limited("connect-timeout", &limits::CONNECT_TIMEOUT).0,
        tls_timeout: section.limited("tls-timeout", &limits::TLS_TIMEOUT).0,
        head_timeout: section.limited("answer-timeout", &limits::ANSWER_TIMEOUT).0,
        idle_body_timeout: section.limited("pause-timeout", &limits::PAUSE_TIMEOUT).0,
        queue_timeout: section.limited("queue-timeout", &limits::QUEUE_TIMEOUT).0,
        pool_idle_timeout: section.limited("idle-timeout", &limits::IDLE_TIMEOUT).0,
        pool_idle_max: as_usize(section.limited("idle-connections-max", &limits::IDLE_CONNECTIONS_MAX)),
        per_origin_max: as_usize(section.limited("requests-per-origin-max", &limits::REQUESTS_PER_ORIGIN_MAX)),
        in_flight_max: as_usize(section.limited("requests-max", &limits::ORIGIN_REQUESTS_MAX)),
        waiting_max: as_usize(section.limited("waiting-max", &limits::WAITING_MAX)),
        happy_eyeballs_delay: section.limited("next-address-after", &limits::NEXT_ADDRESS_AFTER).0,
        failures_max: as_u32(section.limited("failures-max", &limits::FAILURES_MAX)),
        back_off_max: section.limited("back-off-max", &limits::BACK_OFF_MAX).0,
        retry_after_max: section.limited("retry-after-max", &limits::RETRY_AFTER_MAX).0,
        ..OriginOptions::default()
    };
    section.done();
    options
}

fn night(section: &Section<'_, '_>, zone: &TimeZone) -> (Option<Window>, NightOptions) {
    let defaults = NightOptions::default();
    let off = |text: &str| text == "off";
    let (opens, closes) = match section.text("window") {
        Some((text, _)) if off(text) => (None, None),
        Some((text, span)) => match window(text) {
            Ok((opens, closes)) => (Some(opens), Some(closes)),
            Err(error) => {
                section.report().error(&span, format!("`night.window`: {error}"), "cannot be read", None);
                (None, None)
            }
        },
        None => (Some(Time::constant(22, 0, 0, 0)), Some(Time::constant(6, 0, 0, 0))),
    };
    let window = opens.zip(closes).and_then(|(opens, closes)| match Window::new(opens, closes, zone.clone()) {
        Ok(window) => Some(window),
        Err(error) => {
            let help = Some("write \"22:00-06:00\", or \"off\"".to_owned());
            section.report().error(&section.span("window"), error.to_string(), "no time at all", help);
            None
        }
    });
    let fresh_until = match section.text("fresh-until") {
        None => defaults.fresh_until,
        Some((text, _)) if off(text) => None,
        Some((text, span)) => match time_of_day(text) {
            Ok(time) => Some(time),
            Err(error) => {
                section.report().error(&span, format!("`night.fresh-until`: {error}"), "cannot be read", None);
                None
            }
        },
    };
    let options = NightOptions {
        contact: section.text("contact").map(|(text, _)| text.to_owned()).filter(|text| !text.is_empty()),
        night: NightLimits {
            pages_max: section.limited("pages-max", &limits::NIGHT_PAGES_MAX),
            bytes_max: section.limited("bytes-max", &limits::NIGHT_BYTES_MAX).0,
            in_flight_max: as_u32(section.limited("requests-max", &limits::NIGHT_REQUESTS_MAX)),
            bytes_per_second: section
                .limited_or_off("bandwidth", &limits::NIGHT_BANDWIDTH, None)
                .map(BitRate::bytes_per_s),
        },
        site: SiteLimits {
            pages_max: section.limited("site-pages-max", &limits::SITE_PAGES_MAX),
            bytes_max: section.limited("site-bytes-max", &limits::SITE_BYTES_MAX).0,
            in_flight_max: as_u32(section.limited("site-requests-max", &limits::SITE_REQUESTS_MAX)),
            requests_per_second: section.limited_or_off(
                "site-requests-per-s",
                &limits::SITE_REQUESTS_PER_S,
                Some(limits::SITE_REQUESTS_PER_S.default),
            ),
            bytes_per_second: section
                .limited_or_off("site-bandwidth", &limits::NIGHT_BANDWIDTH, None)
                .map(BitRate::bytes_per_s),
        },
        fresh_until,
        zone: zone.clone(),
        reports_kept: as_usize(section.limited("reports-kept", &limits::REPORTS_KEPT)),
        resume_within: section.limited("resume-within", &limits::RESUME_WITHIN).0,
    };
    let window = spread(section, window);
    section.done();
    (window, options)
}

/// The time over which boxes spread their starts: half of the window, none, or what is written.
fn spread(section: &Section<'_, '_>, window: Option<Window>) -> Option<Window> {
    match section.text("spread") {
        None | Some(("half", _)) => window,
        Some(("off", _)) => window.map(|window| window.with_spread(Duration::ZERO)),
        Some((text, span)) => match Period::parse(text) {
            Ok(Period(spread)) => window.map(|window| window.with_spread(spread)),
            Err(_) => {
                let message = "`night.spread`: \"half\", \"off\" or a time is expected, as in \"2 h\"";
                section.report().error(&span, message, "cannot be read", None);
                None
            }
        },
    }
}

fn ledger(section: &Section<'_, '_>, zone: &TimeZone) -> LedgerOptions {
    let retention_days = as_u32(section.limited("keep-days", &limits::LEDGER_KEEP_DAYS));
    section.done();
    LedgerOptions { retention_days, time_zone: zone.clone() }
}

fn log(section: &Section<'_, '_>) -> String {
    let words = [("error", "error"), ("warn", "warn"), ("info", "info"), ("debug", "debug")];
    let level = section.choice("level", &words, "info");
    section.done();
    level.to_owned()
}

// ---- Values ----

fn time_zone(text: &str) -> Result<TimeZone, String> {
    if text == "system" {
        return Ok(TimeZone::system());
    }
    TimeZone::get(text).map_err(|_| format!("there is no time zone {text}; write one as \"Asia/Almaty\""))
}

fn network(text: &str) -> Result<IpNet, &'static str> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| "a network is expected, as in \"192.168.10.0/24\"")
}

fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "an address with a port is expected, as in \"0.0.0.0:80\" or \"[::]:80\"")
}

fn name_server(text: &str) -> Result<SocketAddr, &'static str> {
    let address = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS_PORT));
    text.parse().or_else(|_| address()).map_err(|_| "an address of a name server is expected, as in \"1.1.1.1\"")
}

fn site_name(text: &str) -> Result<String, Infallible> {
    Ok(text.to_owned())
}

fn time_of_day(text: &str) -> Result<Time, &'static str> {
    let expected = "a time is expected, as in \"18:00\"";
    let (hour, minute) = text.trim().split_once(':').ok_or(expected)?;
    let is_plain = |text: &str| matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain(hour) || minute.len() != 2 || !is_plain(minute) {
        return Err(expected);
    }
    let number = |text: &str| text.parse().map_err(|_| expected);
    Time::new(number(hour)?, number(minute)?, 0, 0).map_err(|_| expected)
}

fn window(text: &str) -> Result<(Time, Time), &'static str> {
    let expected = "two times are expected, as in \"22:00-06:00\", or \"off\"";
    let (opens, closes) = text.split_once('-').ok_or(expected)?;
    Ok((time_of_day(opens).map_err(|_| expected)?, time_of_day(closes).map_err(|_| expected)?))
}

fn count(limit: bounds::Limit) -> Limit<u64> {
    Limit::new(limit.min, limit.default, limit.max)
}

fn size(limit: bounds::Limit) -> Limit<ByteSize> {
    Limit::new(ByteSize(limit.min), ByteSize(limit.default), ByteSize(limit.max))
}

/// A time that a room keeps in whole seconds.
fn whole_seconds(section: &Section<'_, '_>, key: &'static str, limit: bounds::Limit) -> u64 {
    let period = |seconds| Period(Duration::from_secs(seconds));
    let limit = Limit::new(period(limit.min), period(limit.default), period(limit.max));
    let Period(time) = section.limited(key, &limit);
    if time.subsec_nanos() != 0 {
        section.report().error(&section.span(key), "whole seconds are expected here", "a part of a second", None);
    }
    time.as_secs()
}

/// A number that its limit keeps far below either bound.
fn as_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A number that its limit keeps far below the bound.
fn as_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
