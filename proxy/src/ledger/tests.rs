use std::fs;
use std::time::Duration;

use jiff::civil::date;

use super::*;
use crate::request::{Source, Way};
use totals::RowName;

fn at(text: &str) -> SystemTime {
    let timestamp: jiff::Timestamp = text.parse().unwrap();
    SystemTime::from(timestamp)
}

fn options() -> LedgerOptions {
    LedgerOptions { retention_days: 30, time_zone: TimeZone::get("Asia/Almaty").unwrap() }
}

fn receipt(site: &str, source: Source, lan_bytes: u64, wan_bytes: u64) -> Receipt {
    Receipt {
        site: (!site.is_empty()).then(|| site.into()),
        is_zero_rated: site.starts_with("bilim"),
        way: Way::Reverse,
        source,
        status: 200,
        reason: "test",
        lan_bytes,
        wan_bytes,
    }
}

fn hits(ledger: &Ledger, site: &str, times: usize) {
    for _ in 0..times {
        ledger.add(&receipt(site, Source::Hit, 1_000, 0));
    }
}

fn requests_on(ledger: &Ledger, day: Date) -> u64 {
    ledger.totals(Period::day(day)).unwrap().all.requests()
}

#[test]
fn midnight_is_that_of_the_school() {
    // Almaty is five hours ahead of UTC: 19:00 UTC is its midnight.
    let clock = Clock::held(at("2026-11-21T18:59:59Z"));
    let ledger = Ledger::in_memory(options(), clock.clone());
    hits(&ledger, "bilimland", 11);
    clock.advance(Duration::from_secs(1));
    hits(&ledger, "bilimland", 12);
    assert_eq!(ledger.today(), date(2026, 11, 22));
    assert_eq!(requests_on(&ledger, date(2026, 11, 21)), 11);
    assert_eq!(requests_on(&ledger, date(2026, 11, 22)), 12);
    let hours: Vec<_> = ledger.hours(date(2026, 11, 21)).unwrap().iter().map(|row| row.hour).collect();
    assert_eq!(hours, [23]);
}

#[test]
fn a_clock_that_steps_back_counts_into_the_hour_it_shows() {
    let clock = Clock::held(at("2026-11-21T06:30:00Z"));
    let ledger = Ledger::in_memory(options(), clock.clone());
    hits(&ledger, "bilimland", 10);
    clock.set(at("2026-11-21T04:10:00Z"));
    hits(&ledger, "bilimland", 20);
    clock.set(at("2026-11-21T06:31:00Z"));
    hits(&ledger, "bilimland", 30);
    let hours: Vec<_> = ledger.hours(date(2026, 11, 21)).unwrap();
    let by_hour: Vec<_> = hours.iter().map(|row| (row.hour, row.sites[0].counts.requests())).collect();
    assert_eq!(by_hour, [(9, 20), (11, 40)]);
}

#[test]
fn a_restart_keeps_adding_and_the_files_hold_all() {
    let temp = tempfile::tempdir().unwrap();
    let clock = Clock::held(at("2026-11-21T06:30:00Z"));
    let folder = temp.path().join("ledger");
    for round in 1..=3 {
        let ledger = Ledger::open(folder.clone(), options(), clock.clone()).unwrap();
        hits(&ledger, "bilimland", 10);
        assert_eq!(requests_on(&ledger, date(2026, 11, 21)), round * 10, "before it is written");
        ledger.write().unwrap();
        assert_eq!(requests_on(&ledger, date(2026, 11, 21)), round * 10, "after it is written");
        hits(&ledger, "bilimland", 1); // lost: nobody wrote them before the power went
    }
}

#[test]
fn nothing_counted_writes_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(temp.path().to_owned(), options(), Clock::held(at("2026-11-21T06:30:00Z"))).unwrap();
    ledger.write().unwrap();
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn counts_wait_in_memory_while_the_disk_refuses() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("ledger");
    let ledger = Ledger::open(folder.clone(), options(), Clock::held(at("2026-11-21T06:30:00Z"))).unwrap();
    hits(&ledger, "bilimland", 10);
    fs::remove_dir(&folder).unwrap();
    assert!(ledger.write().is_err());
    fs::create_dir(&folder).unwrap();
    hits(&ledger, "bilimland", 5);
    ledger.write().unwrap();
    assert_eq!(requests_on(&ledger, date(2026, 11, 21)), 15);
    assert!(folder.join("2026-11-21.json").exists());
}

#[test]
fn old_days_are_forgotten_at_the_start() {
    let temp = tempfile::tempdir().unwrap();
    let clock = Clock::held(at("2026-10-01T06:30:00Z"));
    let ledger = Ledger::open(temp.path().to_owned(), options(), clock.clone()).unwrap();
    hits(&ledger, "bilimland", 10);
    ledger.write().unwrap();
    clock.set(at("2026-10-30T06:30:00Z"));
    Ledger::open(temp.path().to_owned(), options(), clock.clone()).unwrap();
    assert!(temp.path().join("2026-10-01.json").exists(), "the thirtieth day is kept");
    clock.set(at("2026-10-31T06:30:00Z"));
    Ledger::open(temp.path().to_owned(), options(), clock).unwrap();
    assert!(!temp.path().join("2026-10-01.json").exists());
}

#[tokio::test]
async fn keeping_writes_each_minute_and_at_the_stop() {
    let temp = tempfile::tempdir().unwrap();
    let clock = Clock::held(at("2026-11-21T06:30:00Z"));
    let ledger = Arc::new(Ledger::open(temp.path().to_owned(), options(), clock.clone()).unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let keeping = tokio::spawn(Arc::clone(&ledger).keep(async { drop(stopped.await) }));
    hits(&ledger, "bilimland", 10);
    stop.send(()).unwrap();
    keeping.await.unwrap();
    drop(ledger);
    let ledger = Ledger::open(temp.path().to_owned(), options(), clock).unwrap();
    assert_eq!(requests_on(&ledger, date(2026, 11, 21)), 10);
}

#[test]
fn threads_lose_no_receipt() {
    let ledger = Ledger::in_memory(options(), Clock::held(at("2026-11-21T06:30:00Z")));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let ledger = &ledger;
            scope.spawn(move || {
                for n in 0..500 {
                    ledger.add(&receipt(&format!("bilim-{}", (thread + n) % 20), Source::Hit, 10, 1));
                    if n % 100 == 0 {
                        ledger.totals(Period::day(date(2026, 11, 21))).unwrap();
                    }
                }
            });
        }
    });
    let all = ledger.totals(Period::day(date(2026, 11, 21))).unwrap().all;
    assert_eq!((all.requests(), all.lan_bytes(), all.wan_bytes()), (4_000, 40_000, 4_000));
}

#[test]
fn a_site_is_named_from_ten_requests_up() {
    let ledger = Ledger::in_memory(options(), Clock::held(at("2026-11-21T06:30:00Z")));
    hits(&ledger, "bilimland", 10);
    hits(&ledger, "kundelik", 9);
    hits(&ledger, "opiq", 3);
    hits(&ledger, "", 2);
    let mut night = receipt("daryn", Source::Origin, 0, 5_000);
    night.way = Way::Night;
    ledger.add(&night);
    ledger.add(&Receipt { site: None, wan_bytes: 0, ..night });
    let today = date(2026, 11, 21);
    let names = |rows: &[SiteRow]| rows.iter().map(|row| (row.site.clone(), row.counts.requests())).collect::<Vec<_>>();
    let expected = vec![
        (RowName::Site("bilimland".into()), 10),
        (RowName::Site("daryn".into()), 0),
        (RowName::TooFewToName, 12),
        (RowName::NotListed, 2),
    ];
    assert_eq!(names(&ledger.totals(Period::day(today)).unwrap().sites), expected);
    assert_eq!(names(&ledger.hours(today).unwrap()[0].sites), expected);
}

#[test]
fn the_table_is_aligned_and_honest() {
    let ledger = Ledger::in_memory(options(), Clock::held(at("2026-11-21T06:30:00Z")));
    let mut night = receipt("bilimland", Source::Origin, 3_000_000, 2_000_000);
    night.way = Way::Night;
    ledger.add(&night);
    for _ in 0..1_500 {
        ledger.add(&receipt("bilimland", Source::Hit, 20_000, 0));
    }
    for _ in 0..10 {
        ledger.add(&receipt("kundelik", Source::Origin, 1_000, 1_100));
    }
    let expected = "\
2026-11-21
site       requests  kept local       LAN  WAN by day  WAN by night  link saved
---------  --------  ----------  --------  ----------  ------------  ----------
bilimland     1 500     100.0 %  28.6 MiB         0 B       1.9 MiB      93.3 %
kundelik         10       0.0 %   9.7 KiB    10.7 KiB           0 B     -10.0 %
---------  --------  ----------  --------  ----------  ------------  ----------
total         1 510      99.3 %  28.6 MiB    10.7 KiB       1.9 MiB      93.2 %

Over the link: 1.9 MiB zero-rated, 10.7 KiB metered. Link saved = (LAN - WAN by day and by night) / LAN.
";
    assert_eq!(ledger.table(Period::day(date(2026, 11, 21))).unwrap(), expected);
}

#[test]
fn totals_survive_the_control_socket() {
    let ledger = Ledger::in_memory(options(), Clock::held(at("2026-11-21T06:30:00Z")));
    hits(&ledger, "bilimland", 10);
    hits(&ledger, "", 2);
    let totals = ledger.totals(Period::day(date(2026, 11, 21))).unwrap();
    let json = serde_json::to_string(&totals).unwrap();
    assert_eq!(serde_json::from_str::<Totals>(&json).unwrap(), totals);
}
