//! A country's list: 100,000 hosts and 20,000 path rules. Does it load in under a second, and is a look-up under a
//! microsecond?

use std::fmt::Write;
use std::hint::black_box;

use bulaq_allowlist::{Allowlist, HostName, Scheme};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::Method;

const SITES: usize = 10_000;

/// Ten thousand sites of ten hosts and two rules each, as a file.
fn file() -> String {
    let mut text = String::new();
    for site in 0..SITES {
        let hosts: Vec<String> = (0..9).map(|host| format!("\"h{host}.s{site}.kz\"")).collect();
        let _ = writeln!(
            text,
            "[[site]]\nname = \"s{site}\"\ntls = \"terminate\"\nhosts = [{}, \"*.w.s{site}.kz\"]\n\
             [[site.rule]]\npath = \"/**/api/**\"\nnever-store = true\n\
             [[site.rule]]\npath = \"/lessons/*/media/**\"\nanonymous = true",
            hosts.join(", ")
        );
    }
    text
}

fn load(criterion: &mut Criterion) {
    let text = file();
    let mut group = criterion.benchmark_group("allowlist");
    group.sample_size(10);
    group.bench_function("load 100,000 hosts and 20,000 rules", |bencher| {
        bencher.iter(|| Allowlist::parse("allowlist.toml", black_box(&text)));
    });
    group.finish();
}

fn look_up(criterion: &mut Criterion) {
    let Ok(loaded) = Allowlist::parse("allowlist.toml", &file()) else {
        unreachable!("the file is made above, and the load benchmark has read it");
    };
    let list = loaded.allowlist;
    let mut group = criterion.benchmark_group("allowlist look-up among 100,000 hosts");
    for (what, host, path) in [
        ("exact host, second rule", "h4.s7777.kz", "/lessons/17/media/picture-of-a-leaf.svg?v=3"),
        ("suffix, four labels deep", "a.b.w.s7777.kz", "/lessons/17/media/picture-of-a-leaf.svg"),
        ("exact host, no rule", "h4.s7777.kz", "/kk/physics/grade-8/lesson-12.html"),
        ("host not listed", "www.social-network.example", "/feed?token=1"),
    ] {
        let Ok(host) = HostName::parse(host) else { unreachable!("the names above are host names") };
        group.bench_function(BenchmarkId::from_parameter(what), |bencher| {
            bencher.iter(|| list.permit(Scheme::Https, black_box(&host), 443, &Method::GET, black_box(path)));
        });
    }
    group.finish();
}

criterion_group!(benches, load, look_up);
criterion_main!(benches);
