//! A country's list: 100,000 hosts and 20,000 path rules. Does it load in under a second, and is a look-up under a
//! microsecond?

use std::fmt::Write as _;
use std::hint::black_box;
use std::rc::Rc;

use bulaq_allowlist::{Allowlist, HostName, Scheme};
use http::Method;

use super::{Kernel, Question};

pub(super) const QUESTION: Question = Question { name: "allowlist permit among 100,000 hosts", kernels };

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

fn load(text: &str) -> Allowlist {
    match Allowlist::parse("allowlist.toml", text) {
        Ok(loaded) => loaded.allowlist,
        Err(rejected) => unreachable!("the list is made here, and right: {rejected}"),
    }
}

fn kernels() -> Vec<Kernel> {
    let text = file();
    let list = Rc::new(load(&text));
    let mut kernels = vec![Kernel::new("load", move || load(black_box(&text))).not_counted()];
    for (name, host, path) in [
        ("exact host, second rule", "h4.s7777.kz", "/lessons/17/media/picture-of-a-leaf.svg?v=3"),
        ("suffix, four labels deep", "a.b.w.s7777.kz", "/lessons/17/media/picture-of-a-leaf.svg"),
        ("exact host, no rule", "h4.s7777.kz", "/kk/physics/grade-8/lesson-12.html"),
        ("host not listed", "www.social-network.example", "/feed?token=1"),
    ] {
        let host = HostName::parse(host).expect("the names above are host names");
        let list = Rc::clone(&list);
        kernels.push(Kernel::new(name, move || {
            list.permit(Scheme::Https, black_box(&host), 443, &Method::GET, black_box(path))
        }));
    }
    kernels
}
