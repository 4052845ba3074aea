//! Whose time a sample is: the system's by what it was asked, the allocator's, a library's, or one of our rooms'.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::stacks::{Frame, Stack};

/// A part of the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// Whose it is.
    pub(crate) part: String,
    /// In per cent of the box's processor time.
    pub(crate) percent: f64,
}

/// Parts smaller than this are put together, in per cent.
const LEAST_PERCENT: f64 = 0.5;

/// The shares of all parts, the largest first.
pub(super) fn of(stacks: &[Stack]) -> Vec<Share> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for stack in stacks {
        *counts.entry(part_of(stack)).or_default() += 1;
    }
    let percent = |count: usize| count as f64 * 100.0 / stacks.len().max(1) as f64;
    let (large, small): (Vec<_>, Vec<_>) = counts.into_iter().partition(|&(_, count)| percent(count) >= LEAST_PERCENT);
    let mut shares: Vec<Share> =
        large.into_iter().map(|(part, count)| Share { part, percent: percent(count) }).collect();
    shares.sort_by(|one, other| other.percent.total_cmp(&one.percent));
    let rest: usize = small.iter().map(|(_, count)| count).sum();
    if rest > 0 {
        shares.push(Share { part: "all smaller parts".to_owned(), percent: percent(rest) });
    }
    shares
}

fn part_of(stack: &Stack) -> String {
    if stack.frames.last().is_some_and(|frame| frame.is_kernel) {
        return format!("system: {}", asked_of_the_system(stack));
    }
    // From within outwards: generic code of the standard library is the time of whoever uses it.
    let owner = stack.frames.iter().rev().filter(|frame| !frame.is_kernel).find_map(|frame| owner(&frame.name));
    owner.unwrap_or_else(|| "other".to_owned())
}

/// The system call in which the kernel was.
fn asked_of_the_system(stack: &Stack) -> String {
    let frames = stack.frames.iter().filter(|frame| frame.is_kernel);
    let call = frames.filter_map(call).next();
    call.unwrap_or_else(|| "no call of ours (interrupts, its own work)".to_owned())
}

fn call(frame: &Frame) -> Option<String> {
    let name = frame.name.strip_prefix("__x64_sys_").or_else(|| frame.name.strip_prefix("__arm64_sys_")).or({
        // Some calls are inlined into the one that does the work.
        match frame.name.as_str() {
            "do_writev" => Some("writev"),
            "ksys_write" => Some("write"),
            "ksys_read" => Some("read"),
            "do_preadv" | "ksys_pread64" => Some("pread"),
            _ => None,
        }
    })?;
    let what = match name {
        "writev" | "write" | "sendto" | "sendmsg" => "sending, with the way over loopback",
        "sendfile64" | "splice" => "sending from a file, with the way over loopback",
        "recvfrom" | "recvmsg" | "read" | "readv" => "receiving",
        "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => "waiting for something to do",
        "epoll_ctl" | "accept4" | "close" | "shutdown" | "setsockopt" => "connections",
        "pread64" | "pread" | "preadv" | "preadv2" => "reading files",
        "openat" | "openat2" | "statx" | "newfstatat" | "fstat" => "opening files",
        "futex" | "sched_yield" => "threads that wait for one another",
        "madvise" | "mmap" | "munmap" | "brk" | "mprotect" => "memory",
        other => return Some(other.to_owned()),
    };
    Some(format!("{what} ({name})"))
}

/// Whose code this is; none for code that anybody uses.
fn owner(name: &str) -> Option<String> {
    if let Some(part) = of_the_c_library(name) {
        return Some(part.to_owned());
    }
    let mut paths = name.trim_start_matches('<').split(" as ");
    let of_type = paths.next().and_then(of_path);
    of_type.or_else(|| paths.next().and_then(of_path))
}

fn of_the_c_library(name: &str) -> Option<&'static str> {
    let plain = name.trim_start_matches('_');
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| plain.starts_with(beginning));
    if name.contains("::") {
        None
    } else if begins(&[
        "malloc",
        "free",
        "cfree",
        "calloc",
        "realloc",
        "int_malloc",
        "int_free",
        "tcache",
        "unlink_chunk",
    ]) || begins(&[
        "libc_malloc",
        "libc_free",
        "libc_calloc",
        "libc_realloc",
        "int_realloc",
        "mi_",
        "rjem_",
        "je_",
        "rdl_",
    ]) {
        Some("allocator")
    } else if begins(&["mem", "bcmp"]) {
        Some("copying and comparing bytes")
    } else if begins(&["clock_gettime", "vdso", "cvdso", "GI_clock_gettime"]) {
        Some("reading the clock")
    } else if begins(&["aws_lc", "aes", "gcm", "ecp", "x25519", "sha256", "sha512"]) {
        Some("aws-lc (encryption)")
    } else if begins(&["libc_", "GI_", "pthread", "epoll", "syscall", "write", "recv", "send"]) {
        Some("entering the system")
    } else {
        None
    }
}

fn of_path(path: &str) -> Option<String> {
    let path = path.trim_start_matches(['<', '&', '*', '(', '[']).trim_start_matches("mut ").trim_start_matches("dyn ");
    let mut segments = path.split("::");
    let (first, second, third) = (segments.next()?, segments.next(), segments.next());
    let part = match first {
        "bulaq" => match (second, third) {
            (Some("ingress"), Some("connection")) if path.contains("::quick") => {
                "ours: ingress (the quick path)".into()
            }
            (Some(room), _) => format!("ours: {room}"),
            (None, _) => return None,
        },
        "bulaq_cache_policy" => "ours: cache-policy".into(),
        "bulaq_allowlist" => "ours: allowlist".into(),
        "__rustc" => "allocator".into(),
        "core" | "alloc" | "std" | "hashbrown" | "tower" | "tower_service" | "futures_util" | "pin_project_lite" => {
            return None;
        }
        "hyper" | "httparse" => "hyper (HTTP/1.1)".into(),
        "hyper_util" => "hyper-util".into(),
        "h2" => "h2 (HTTP/2)".into(),
        "http" | "http_body" | "http_body_util" => "http (heads)".into(),
        "tokio" | "mio" | "tokio_util" => "tokio and mio".into(),
        "tokio_rustls" | "rustls" | "webpki" => "rustls (records)".into(),
        "aws_lc_rs" | "aws_lc_sys" => "aws-lc (encryption)".into(),
        "moka" | "crossbeam_channel" | "crossbeam_epoch" | "crossbeam_utils" | "parking_lot" => "moka (memory)".into(),
        "sled" => "sled (index)".into(),
        "blake3" | "crc32c" => "checksums".into(),
        _ if second.is_some() && is_crate(first) => first.replace('_', "-"),
        _ => return None,
    };
    Some(part)
}

/// Whether this can be a crate's name: not a generic parameter, a tuple or something of C++.
fn is_crate(name: &str) -> bool {
    name.len() > 1 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(frames: &[&str]) -> Stack {
        let frame = |name: &&str| match name.strip_prefix("k:") {
            Some(name) => Frame { name: name.to_owned(), is_kernel: true },
            None => Frame { name: (*name).to_owned(), is_kernel: false },
        };
        Stack { frames: frames.iter().map(frame).collect() }
    }

    #[test]
    fn every_sample_has_an_owner() {
        for (frames, part) in [
            (
                &["a::b", "k:entry", "k:do_syscall_64", "k:do_writev", "k:tcp_ack"][..],
                "system: sending, with the way over loopback (writev)",
            ),
            (&["a::b", "k:do_syscall_64", "k:__x64_sys_recvfrom", "k:tcp"], "system: receiving (recvfrom)"),
            (&["a::b", "k:__x64_sys_getcpu"], "system: getcpu"),
            (&["a::b", "k:asm_sysvec_apic_timer_interrupt"], "system: no call of ours (interrupts, its own work)"),
            (&["bulaq::store::memory::Memory::get", "malloc"], "allocator"),
            (&["bulaq::store::memory::Memory::get", "__memmove_avx512_unaligned_erms"], "copying and comparing bytes"),
            (&["bulaq::store::memory::Memory::get", "core::slice::cmp"], "ours: store"),
            (&["bulaq::ingress::connection::quick::answer"], "ours: ingress (the quick path)"),
            (&["bulaq_cache_policy::reuse::look_up", "<std::time::SystemTime>::duration_since"], "ours: cache-policy"),
            (&["hyper::proto::x", "<core::future::PollFn as core::future::Future>::poll"], "hyper (HTTP/1.1)"),
            (&["hyper::proto::x", "<&mio::net::TcpStream as std::io::Write>::write"], "tokio and mio"),
            (&["hyper::proto::x", "<F as tokio::task::T>::poll"], "tokio and mio"),
            (&["hyper::proto::x", "itoa::write"], "itoa"),
            (&["bulaq::store::get", "__rustc::__rust_dealloc"], "allocator"),
            (&["[unknown]"], "other"),
        ] {
            assert_eq!(part_of(&stack(frames)), part, "{frames:?}");
        }
    }

    #[test]
    fn shares_make_a_hundred_and_small_ones_are_together() {
        let mut stacks = vec![stack(&["malloc"]); 600];
        stacks.extend(vec![stack(&["hyper::a"]); 398]);
        stacks.extend([stack(&["itoa::a"]), stack(&["h2::a"])]);
        let shares = of(&stacks);
        let told: Vec<_> = shares.iter().map(|share| (share.part.as_str(), share.percent)).collect();
        assert_eq!(told, [("allocator", 60.0), ("hyper (HTTP/1.1)", 39.8), ("all smaller parts", 0.2)]);
        assert_eq!(of(&[]), []);
    }
}
