//! The stories.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::super::progress::Quiet;
use super::super::report::{End, NightReport, SiteReport, saved};
use super::super::window::Window;
use super::super::{NightError, NightLimits, NightOptions, SiteLimits, schedule};
use super::stand_in::{Reply, StandIn, clock, night, options, page};

const ROBOTS: &str = "http://a.kz/robots.txt";

/// A night of the site with these prefetch settings, from an empty folder to its report.
async fn one_night(stack: &StandIn, prefetch: &str) -> SiteReport {
    one_night_with(options(), stack, prefetch).await
}

async fn one_night_with(options: NightOptions, stack: &StandIn, prefetch: &str) -> SiteReport {
    let folder = tempfile::tempdir().expect("a folder");
    let night = night(options, prefetch, stack, &clock(), folder.path());
    let report = night.run(None, None, &Quiet, CancellationToken::new()).await.expect("a night");
    report.sites["a"].clone()
}

fn counts(reasons: &std::collections::BTreeMap<String, super::super::report::Reason>) -> Vec<(&str, u64)> {
    reasons.iter().map(|(reason, entry)| (reason.as_str(), entry.count)).collect()
}

const PAGES_ONLY: &str = "depth = 5\nsitemaps = false";

#[tokio::test]
async fn a_page_is_made_whole_before_the_next_is_begun() {
    let stack = StandIn::new(&[
        ("http://a.kz/", Reply::Page("<link rel=stylesheet href=/s.css><a href=/1><a href=/2><img src=/i.png>".into())),
        ("http://a.kz/s.css", Reply::Content("text/css", "@import 'more.css'; a { b: url(font.woff2) }".into())),
        ("http://a.kz/more.css", Reply::Content("text/css", "c { d: url(bg.png) }".into())),
        ("http://a.kz/font.woff2", Reply::Content("font/woff2", "f".into())),
        ("http://a.kz/bg.png", Reply::Content("image/png", "b".into())),
        ("http://a.kz/i.png", Reply::Content("image/png", "i".into())),
        ("http://a.kz/1", Reply::Page("<video src=http://m.a.kz/v.mp4><a href=/>".into())),
        ("http://a.kz/2", page(&["/1", "/2#part", "/"])),
        ("http://m.a.kz/v.mp4", Reply::Content("video/mp4", "v".into())),
    ]);
    let report = one_night(&stack, PAGES_ONLY).await;
    assert_eq!(
        stack.asked(),
        [
            ROBOTS,
            "http://a.kz/",
            "http://a.kz/s.css",
            "http://a.kz/i.png",
            "http://a.kz/more.css",
            "http://a.kz/font.woff2",
            "http://a.kz/bg.png",
            "http://a.kz/1",
            "http://m.a.kz/robots.txt",
            "http://a.kz/2", // hosts take turns
            "http://m.a.kz/v.mp4",
        ]
    );
    assert_eq!((report.stored, report.fresh, report.failed_total(), report.left), (9, 0, 0, 0));
}

#[tokio::test]
async fn a_second_night_transfers_nothing_that_did_not_change() {
    let stack = StandIn::new(&[
        ("http://a.kz/", page(&["/1"])),
        ("http://a.kz/1", page(&["/2"])),
        ("http://a.kz/2", page(&[])),
    ]);
    let first = one_night(&stack, PAGES_ONLY).await;
    assert_eq!((first.stored, first.fresh, first.revalidated), (3, 0, 0));
    assert!(first.bytes > 0);
    stack.asked();

    let again = one_night(&stack, PAGES_ONLY).await;
    assert_eq!((again.stored, again.fresh, again.revalidated, again.bytes), (0, 3, 0, 0));
    assert_eq!(stack.asked(), [ROBOTS], "links of what is fresh are still followed, without the origin");

    stack.expire();
    let stale = one_night(&stack, PAGES_ONLY).await;
    assert_eq!((stale.stored, stale.fresh, stale.revalidated, stale.bytes), (0, 0, 3, 0));
}

#[tokio::test]
async fn nothing_outside_the_list_is_asked_for() {
    let stack = StandIn::new(&[
        (
            "http://a.kz/",
            Reply::Page(
                "<a href=http://evil.kz/><a href=http://a.kz:81/><a href=/refused/x><a href=/never-stored/x>\
                 <a href=http://b.kz/><img src=http://b.kz/i.png><img src=https://s.kz/i.png><a rel=nofollow href=/n>\
                 <a href=/out><a href=http://127.0.0.1/><img src=http://cdn.kz/i.png?pupil=7><img src=http://cdn.kz/j.png>"
                    .into(),
            ),
        ),
        ("http://a.kz/out", Reply::To("http://evil.kz/in")),
        ("http://b.kz/i.png", Reply::Content("image/png", "i".into())),
    ]);
    let folder = tempfile::tempdir().expect("a folder");
    let night = night(options(), PAGES_ONLY, &stack, &clock(), folder.path());
    let report = night.run(None, None, &Quiet, CancellationToken::new()).await.expect("a night");
    assert_eq!(stack.stored(), ["http://a.kz/", "http://a.kz/out", "http://b.kz/i.png"]);
    let asked = stack.asked();
    assert!(
        !asked.iter().any(|url| url.contains("evil")
            || url.contains("cdn")
            || url.contains("127.0.0.1")
            || url.contains("s.kz")),
        "{asked:?}"
    );
    assert_eq!(
        counts(&report.sites["a"].skipped),
        [
            ("host-not-listed", 2),
            ("never-stored", 1),
            ("nofollow", 1),
            ("not-http", 1),
            ("other-site", 1),
            ("part-not-listed", 2),
            ("port-not-listed", 1),
            ("refused-by-rule", 1),
            ("spliced", 1),
        ]
    );
    assert_eq!(report.sites["b"].stored, 1, "what a page needs may be another site's");
}

#[tokio::test]
async fn loops_and_endless_sites_end() {
    let around = StandIn::new(&[
        ("http://a.kz/", Reply::To("/1")),
        ("http://a.kz/1", Reply::To("/2")),
        ("http://a.kz/2", Reply::To("/")),
    ]);
    assert_eq!(one_night(&around, PAGES_ONLY).await.stored, 3);

    fn calendar(url: &str) -> Reply {
        let day: u64 = url.rsplit('/').next().and_then(|day| day.parse().ok()).unwrap_or(0);
        Reply::Page((1..=5).map(|step| format!("<a href=/{}>", day * 5 + step)).collect())
    }
    let robots = (ROBOTS, Reply::Status(404));
    let stack = StandIn::with_otherwise(std::slice::from_ref(&robots), calendar);
    let report = one_night(&stack, "depth = 3\nsitemaps = false").await;
    assert_eq!(report.stored, 1 + 5 + 25 + 125);
    assert_eq!(counts(&report.skipped), [("too-deep", 625)]);

    let stack = StandIn::with_otherwise(std::slice::from_ref(&robots), calendar);
    let report = one_night(&stack, "depth = 100\nsitemaps = false\npages-max = 50").await;
    assert!(report.stored <= 50, "{report:?}");
    assert_eq!(report.limit.as_deref(), Some("site-pages"));

    let stack = StandIn::with_otherwise(std::slice::from_ref(&robots), |url| {
        Reply::To(if url.len() % 2 == 0 { "/xx" } else { "/x" })
    });
    assert!(one_night(&stack, PAGES_ONLY).await.stored <= 4);

    fn onwards(url: &str) -> Reply {
        let next: u64 = url.rsplit('/').next().and_then(|next| next.parse().ok()).unwrap_or(0) + 1;
        Reply::Content("text/css", format!("@import '/{next}';"))
    }
    let start = ("http://a.kz/", Reply::Page("<link rel=stylesheet href=/1>".into()));
    let stack = StandIn::with_otherwise(&[robots, start], onwards);
    let report = one_night(&stack, PAGES_ONLY).await;
    assert_eq!((report.stored, counts(&report.skipped)), (9, vec![("too-far", 1)]));
}

#[tokio::test]
async fn an_address_longer_than_any_request_may_have_is_no_part_of_a_night() {
    let long: &'static str = Box::leak(format!("http://a.kz/{}", "x".repeat(9 * 1024)).into_boxed_str());
    let stack = StandIn::new(&[
        ("http://a.kz/", page(&["/1", "/2"])),
        ("http://a.kz/1", Reply::To(long)),
        ("http://a.kz/2", Reply::Page(String::new())),
        (long, Reply::Page(String::new())),
    ]);
    let report = one_night(&stack, PAGES_ONLY).await;
    assert_eq!(report.stored, 3);
    assert!(!stack.asked().contains(&long.to_owned()));
}

#[tokio::test]
async fn a_chain_of_redirects_is_followed_five_times() {
    fn chain(url: &str) -> Reply {
        const TARGETS: [&str; 9] = ["/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8", "/9"];
        let at: usize = url.rsplit('/').next().and_then(|at| at.parse().ok()).unwrap_or(0);
        Reply::To(TARGETS[at])
    }
    let stack = StandIn::with_otherwise(&[(ROBOTS, Reply::Status(404))], chain);
    let report = one_night(&stack, PAGES_ONLY).await;
    assert_eq!((report.stored, counts(&report.skipped)), (6, vec![("too-many-redirects", 1)]));
}

#[tokio::test]
async fn a_redirect_may_be_written_in_cyrillic() {
    let lesson = "http://a.kz/%D1%81%D0%B0%D0%B1%D0%B0%D2%9B";
    let stack = StandIn::new(&[("http://a.kz/", Reply::To("/сабақ")), (lesson, page(&[]))]);
    assert_eq!(one_night(&stack, PAGES_ONLY).await.stored, 2);
    assert_eq!(stack.stored(), ["http://a.kz/", lesson]);
}

#[tokio::test]
async fn robots_are_obeyed_and_their_absence_is_not() {
    let root = ("http://a.kz/", page(&["/open", "/closed"]));
    let pages = [("http://a.kz/open", page(&[])), ("http://a.kz/closed", page(&[]))];
    let table = |robots: Reply| [&[root.clone(), (ROBOTS, robots)][..], &pages].concat();
    let rules =
        || Reply::Content("text/plain", "User-agent: *\nDisallow: /closed\nUser-agent: Other\nDisallow: /".into());
    for (robots, stored, skipped, failed) in [
        (rules(), 2, vec![("robots", 1)], vec![]),
        (Reply::To("/robots-elsewhere"), 3, vec![], vec![]), // 404 there
        (Reply::To("http://evil.kz/robots.txt"), 3, vec![], vec![]),
        (Reply::Status(404), 3, vec![], vec![]),
        (Reply::Status(403), 3, vec![], vec![]),
        (Reply::Status(500), 0, vec![], vec![("robots-unreachable", 1)]),
        (Reply::NoOrigin, 0, vec![], vec![("robots-unreachable", 1)]),
    ] {
        let stack = StandIn::new(&table(robots));
        let report = one_night(&stack, PAGES_ONLY).await;
        assert_eq!(report.stored, stored, "{report:?}");
        assert_eq!(counts(&report.skipped), skipped);
        assert_eq!(counts(&report.failed), failed);
        assert!(!stack.asked().iter().any(|url| url.contains("closed") && stored == 2));
    }
}

#[tokio::test]
async fn sitemaps_are_start_pages() {
    let urlset = |url: &str| Reply::Content("text/xml", format!("<urlset><url><loc>{url}</loc></url></urlset>"));
    let index =
        Reply::Content("text/xml", "<sitemapindex><sitemap><loc>/more.xml</loc></sitemap></sitemapindex>".into());
    let stack = StandIn::new(&[
        ("http://a.kz/", page(&[])),
        (ROBOTS, Reply::Content("text/plain", "Sitemap: http://a.kz/index.xml\nSitemap: http://evil.kz/s.xml".into())),
        ("http://a.kz/index.xml", index),
        ("http://a.kz/more.xml", urlset("http://a.kz/hidden")),
        ("http://a.kz/hidden", page(&["/below"])),
        ("http://a.kz/below", page(&["/too-deep"])),
    ]);
    let report = one_night(&stack, "depth = 1").await;
    assert!(stack.stored().contains(&"http://a.kz/below".to_owned()));
    let skipped = [("host-not-listed", 1), ("no-sitemap", 1), ("too-deep", 1)];
    assert_eq!((counts(&report.skipped), report.failed_total()), (skipped.to_vec(), 0));
}

#[tokio::test]
async fn a_busy_origin_is_given_the_pause_that_it_asks_for() {
    let stack = StandIn::new(&[
        ("http://a.kz/", page(&["/busy", "/other"])),
        ("http://a.kz/busy", Reply::Busy(2, "90", "<a href=/last>".into())),
        ("http://a.kz/other", page(&[])),
        ("http://a.kz/last", page(&[])),
    ]);
    let clock = clock();
    let times = Arc::new(Mutex::new(Vec::new()));
    let (held, begun, noted) = (clock.clone(), clock.now(), Arc::clone(&times));
    stack.at_request(move |_| {
        let since = held.now().duration_since(begun).expect("forward").as_secs();
        noted.lock().expect("not poisoned").push(since);
    });
    let folder = tempfile::tempdir().expect("a folder");
    let night = night(options(), PAGES_ONLY, &stack, &clock, folder.path());
    let report = night.run(None, None, &Quiet, CancellationToken::new()).await.expect("a night");
    assert_eq!(report.sites["a"].stored, 4);
    assert_eq!(*times.lock().expect("not poisoned"), [0, 0, 0, 90, 180, 180, 180]);
}

#[tokio::test]
async fn an_origin_that_stays_down_is_left_for_the_night() {
    let stack =
        StandIn::with_otherwise(&[("http://a.kz/", page(&["/1", "/2", "/3"])), (ROBOTS, Reply::Status(404))], |_| {
            Reply::NoOrigin
        });
    let report = one_night(&stack, PAGES_ONLY).await;
    assert_eq!(report.stored, 1);
    assert_eq!(report.failed_total(), 3);
    assert!(stack.asked().len() < 15);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_asked_for_once_more() {
    let stack = StandIn::new(&[
        ("http://a.kz/", page(&["/once", "/always"])),
        ("http://a.kz/once", Reply::Cut(1, "<a href=/found>".into())),
        ("http://a.kz/always", Reply::Cut(9, String::new())),
        ("http://a.kz/found", page(&[])),
    ]);
    let report = one_night(&stack, PAGES_ONLY).await;
    assert_eq!((report.stored, counts(&report.failed)), (3, vec![("incomplete", 1)]));
    assert!(!stack.asked().contains(&"http://a.kz/never".to_owned()), "half a page has no links");
}

#[tokio::test]
async fn what_is_missing_or_personal_is_reported_and_its_links_are_followed() {
    let stack = StandIn::new(&[
        ("http://a.kz/", Reply::Personal("<a href=/1><a href=/gone?pupil=7>".into())),
        ("http://a.kz/1", page(&[])),
    ]);
    let report = one_night(&stack, PAGES_ONLY).await;
    assert_eq!(report.stored, 1);
    assert_eq!(counts(&report.skipped), [("not-stored: no-store", 1)]);
    assert_eq!(report.failed["404"].examples, ["http://a.kz/gone"], "named without its query");
}

#[tokio::test]
async fn include_and_exclude_choose() {
    let stack = StandIn::with_otherwise(
        &[(
            "http://a.kz/",
            Reply::Page(
                "<a href=/kk/1><a href=/ru/1><a href=/kk/private/1><img src=/i.png><img src=/big/i.png>".into(),
            ),
        )],
        |url| if url.ends_with("robots.txt") { Reply::Status(404) } else { page(&[]) },
    );
    let settings = "include = [\"/\", \"/kk/**\"]\nexclude = [\"/kk/private/**\", \"/big/**\"]\nsitemaps = false";
    let report = one_night(&stack, settings).await;
    assert_eq!(stack.stored(), ["http://a.kz/", "http://a.kz/i.png", "http://a.kz/kk/1"]);
    assert_eq!(counts(&report.skipped), [("excluded", 3)]);
}

#[tokio::test]
async fn what_a_rule_ignores_makes_no_second_address() {
    let links = ["/1?utm_source=x", "/1?utm_medium=y", "/1", "/1?a=b&utm_x", "/1?a=b"];
    let stack = StandIn::with_otherwise(&[("http://a.kz/", page(&links)), (ROBOTS, Reply::Status(404))], |_| page(&[]));
    assert_eq!(one_night(&stack, PAGES_ONLY).await.stored, 3);
    assert_eq!(stack.stored(), ["http://a.kz/", "http://a.kz/1", "http://a.kz/1?a=b"]);
}

#[tokio::test]
async fn the_scheduled_night_runs_once_in_its_window() {
    let folder = tempfile::tempdir().expect("a folder");
    let stack = StandIn::with_otherwise(&[], tree);
    let clock = clock(); // 17:00
    let night = night(options(), PAGES_ONLY, &stack, &clock, folder.path());
    let time = |hour| jiff::civil::Time::constant(hour, 0, 0, 0);
    let window =
        Window::new(time(16), time(23), jiff::tz::TimeZone::UTC).expect("a window").with_spread(Duration::ZERO);
    let stop = CancellationToken::new();
    let scheduled = schedule(&night, &window, b"box", &Quiet, stop.clone());
    let watch = async {
        while saved(night.folder()).expect("listed").is_empty() {
            tokio::task::yield_now().await;
        }
        for _ in 0..1000 {
            tokio::task::yield_now().await; // time enough for a second night, if there were one
        }
        stop.cancel();
    };
    tokio::join!(scheduled, watch);
    assert_eq!(stack.asked().len(), 16);
    // A box that starts again in the same window has nothing to do.
    let stop = CancellationToken::new();
    let watch = async {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    tokio::join!(schedule(&night, &window, b"box", &Quiet, stop.clone()), watch);
    assert!(stack.asked().is_empty());
    let reports = saved(night.folder()).expect("listed");
    assert_eq!(reports.len(), 1);
    let mut report = NightReport::load(&reports[0]).expect("read");
    assert!(night.is_whole(&report));
    report.sites.clear();
    assert!(!night.is_whole(&report), "a night of other sites leaves this one to do");
}

#[tokio::test]
async fn limits_end_a_night() {
    fn endless(url: &str) -> Reply {
        if url.ends_with("robots.txt") { Reply::Status(404) } else { page(&[&format!("{url}x")]) }
    }
    for limited in [
        NightOptions { night: NightLimits { pages_max: 10, ..options().night }, ..options() },
        NightOptions { night: NightLimits { bytes_max: 200, ..options().night }, ..options() },
        NightOptions { site: SiteLimits { bytes_max: 200, ..options().site }, ..options() },
    ] {
        let stack = StandIn::with_otherwise(&[], endless);
        let report = one_night_with(limited, &stack, "depth = 100\nsitemaps = false").await;
        assert!(report.stored > 1 && report.stored < 20, "{report:?}");
        assert!(report.limit.is_some() && report.left == 1, "{report:?}");
    }
}

#[tokio::test]
async fn requests_are_spaced_and_the_window_ends_the_night() {
    fn endless(url: &str) -> Reply {
        if url.ends_with("robots.txt") { Reply::Status(404) } else { page(&[&format!("{url}x")]) }
    }
    let stack = StandIn::with_otherwise(&[], endless);
    let clock = clock();
    let folder = tempfile::tempdir().expect("a folder");
    let slow = NightOptions { site: SiteLimits { requests_per_second: Some(0.1), ..options().site }, ..options() };
    let night = night(slow, "depth = 1000\nsitemaps = false", &stack, &clock, folder.path());
    let closes = clock.now() + Duration::from_secs(600);
    let report = night.run(None, Some(closes), &Quiet, CancellationToken::new()).await.expect("a night");
    assert_eq!(report.end, End::Window);
    let asked = stack.asked().len();
    assert!((58..=61).contains(&asked), "{asked} requests in ten minutes, ten seconds apart");
    assert_eq!(report.sites["a"].left, 1);
}

#[tokio::test]
async fn bytes_are_held_down_to_their_rate() {
    let stack = StandIn::new(&[
        ("http://a.kz/", Reply::Page("<img src=/1><img src=/2>".into())),
        ("http://a.kz/1", Reply::Content("image/png", "x".repeat(6_000))),
        ("http://a.kz/2", Reply::Content("image/png", "x".repeat(6_000))),
    ]);
    let clock = clock();
    let begun = clock.now();
    let folder = tempfile::tempdir().expect("a folder");
    let thin = NightOptions { night: NightLimits { bytes_per_second: Some(100), ..options().night }, ..options() };
    let night = night(thin, PAGES_ONLY, &stack, &clock, folder.path());
    let report = night.run(None, None, &Quiet, CancellationToken::new()).await.expect("a night");
    assert_eq!(report.sites["a"].stored, 3);
    let took = clock.now().duration_since(begun).expect("forward").as_secs();
    assert!((119..=125).contains(&took), "{took} s for 12 kB at 100 B/s");
}

/// Stops after `requests` requests; the report of this part.
async fn interrupted(stack: &StandIn, data: &std::path::Path, requests: usize) -> NightReport {
    let stop = CancellationToken::new();
    let trigger = stop.clone();
    stack.at_request(move |before| {
        if before + 1 >= requests {
            trigger.cancel();
        }
    });
    let night = night(options(), PAGES_ONLY, stack, &clock(), data);
    let report = night.run(None, None, &Quiet, stop).await.expect("a night");
    stack.at_request(|_| {});
    report
}

fn tree(url: &str) -> Reply {
    let path = url.strip_prefix("http://a.kz/").unwrap_or_default();
    if path.len() < 3 && path != "robots.txt" {
        page(&[&format!("/{path}l"), &format!("/{path}r"), "/"])
    } else if path == "robots.txt" {
        Reply::Status(404)
    } else {
        page(&["/"])
    }
}

#[tokio::test]
async fn a_stopped_night_is_resumed_without_asking_again() {
    for requests in 2..16 {
        let stack = StandIn::with_otherwise(&[], tree);
        let folder = tempfile::tempdir().expect("a folder");
        let first = interrupted(&stack, folder.path(), requests).await;
        assert_eq!(first.end, End::Stopped);
        let before = stack.asked();
        let again = night(options(), PAGES_ONLY, &stack, &clock(), folder.path());
        let report = again.run(None, None, &Quiet, CancellationToken::new()).await.expect("a night");
        let after = stack.asked();
        assert!(report.is_resumed && report.end == End::Complete, "{report:?}");
        let twice: Vec<_> = after.iter().filter(|url| before.contains(url) && !url.ends_with("robots.txt")).collect();
        assert!(twice.is_empty(), "after {requests}: {twice:?}");
        let site = &report.sites["a"];
        assert_eq!((site.stored + site.fresh, site.left), (15, 0), "after {requests}: {report:?}");
        // Over: the next one begins anew.
        let anew = night(options(), PAGES_ONLY, &stack, &clock(), folder.path());
        let report = anew.run(None, None, &Quiet, CancellationToken::new()).await.expect("a night");
        assert!(!report.is_resumed);
        assert_eq!(report.sites["a"].fresh, 15);
    }
}

#[tokio::test]
async fn what_the_store_lost_with_the_power_is_fetched_again() {
    let stack = StandIn::with_otherwise(&[], tree);
    let folder = tempfile::tempdir().expect("a folder");
    interrupted(&stack, folder.path(), 9).await;
    stack.lose();
    let again = night(options(), PAGES_ONLY, &stack, &clock(), folder.path());
    let report = again.run(None, None, &Quiet, CancellationToken::new()).await.expect("a night");
    assert!(report.is_resumed);
    assert_eq!((report.sites["a"].stored, stack.stored().len()), (15, 15));
}

#[tokio::test]
async fn any_cut_of_the_frontier_gives_a_whole_night() {
    let folder = tempfile::tempdir().expect("a folder");
    let stack = StandIn::with_otherwise(&[], tree);
    interrupted(&stack, folder.path(), 9).await;
    let path = folder.path().join("nights/frontier.journal");
    let whole = std::fs::read(&path).expect("a frontier");
    for cut in (0..=whole.len()).step_by(13) {
        std::fs::write(&path, &whole[..cut]).expect("cut");
        let again = night(options(), PAGES_ONLY, &stack, &clock(), folder.path());
        let report = again.run(None, None, &Quiet, CancellationToken::new()).await.expect("a night");
        let site = &report.sites["a"];
        assert_eq!((site.stored + site.fresh, site.left, report.end), (15, 0, End::Complete), "cut at {cut}");
    }
}

#[tokio::test]
async fn an_old_or_different_night_is_not_resumed() {
    let folder = tempfile::tempdir().expect("a folder");
    let stack = StandIn::with_otherwise(&[], tree);
    interrupted(&stack, folder.path(), 4).await;
    let later = clock();
    later.advance(Duration::from_secs(24 * 60 * 60));
    let night = night(options(), PAGES_ONLY, &stack, &later, folder.path());
    let report = night.run(None, None, &Quiet, CancellationToken::new()).await.expect("a night");
    assert!(!report.is_resumed);
    assert_eq!(report.sites["a"].left, 0);
}

#[tokio::test]
async fn a_night_that_cannot_begin_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let stack = StandIn::new(&[]);
    let night = night(options(), PAGES_ONLY, &stack, &clock(), folder.path());
    let run = |sites: &[&str]| {
        let names = sites.iter().map(|&name| name.to_owned()).collect();
        night.run(Some(names), None, &Quiet, CancellationToken::new())
    };
    assert!(matches!(run(&["nobody"]).await, Err(NightError::UnknownSite { name }) if name == "nobody"));
    assert!(matches!(run(&["b"]).await, Err(NightError::NothingToDo)));
    assert!(run(&["a"]).await.is_ok());
}

#[tokio::test]
async fn two_nights_at_once_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let stack = StandIn::with_otherwise(&[], tree);
    let night = night(options(), PAGES_ONLY, &stack, &clock(), folder.path());
    let (one, other) = tokio::join!(
        night.run(None, None, &Quiet, CancellationToken::new()),
        night.run(None, None, &Quiet, CancellationToken::new()),
    );
    assert!(one.is_ok());
    assert!(matches!(other, Err(NightError::Busy)));
}

#[tokio::test]
async fn many_at_once_find_the_same() {
    let stack = StandIn::with_otherwise(&[], tree);
    let many = NightOptions { night: NightLimits::default(), ..options() };
    assert_eq!(one_night_with(many, &stack, PAGES_ONLY).await.stored, 15);
    let mut asked = stack.asked();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), 16, "each once, and robots.txt");
}
