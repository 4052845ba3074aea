//! The disk of the data folder: room, inodes, rights.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfsMountFlags};

use super::Finding;
use crate::config::Config;
use crate::config::quantity::ByteSize;
use crate::operate::Status;

const CHECK: &str = "disk";

/// Fewer free inodes than this, and the store can take hardly any more: it has a file for each stored body.
const INODES_MIN: u64 = 10_000;

/// What is known of the disk.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    path: PathBuf,
    /// None when the folder is not there or cannot be looked at.
    disk: Option<Disk>,
    /// Bytes that the store may take, and has taken if a box says so.
    bytes_max: u64,
    bytes_used: Option<u64>,
    /// Bytes that the store leaves free.
    keep_free: u64,
}

#[derive(Clone, Debug)]
struct Disk {
    free: u64,
    total: u64,
    inodes_free: u64,
    /// 0 on file systems that make inodes as they need them.
    inodes_total: u64,
    mode: u32,
    is_read_only: bool,
    is_writable: bool,
}

/// Looks at the data folder, or at where it would be made.
pub(super) fn gather(config: &Config, served: Option<&Status>) -> Facts {
    Facts {
        path: config.data.clone(),
        disk: disk(&config.data),
        bytes_max: config.store.bytes_max,
        bytes_used: served.map(|status| status.store.bytes),
        keep_free: config.store.free_bytes_min,
    }
}

fn disk(path: &Path) -> Option<Disk> {
    let metadata = std::fs::metadata(path).ok()?;
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(Disk {
        free: disk.f_bavail.saturating_mul(disk.f_frsize),
        total: disk.f_blocks.saturating_mul(disk.f_frsize),
        inodes_free: disk.f_favail,
        inodes_total: disk.f_files,
        mode: metadata.mode(),
        is_read_only: disk.f_flag.contains(StatVfsMountFlags::RDONLY),
        is_writable: rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_ok(),
    })
}

/// What that means.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let path = facts.path.display();
    let Some(disk) = &facts.disk else {
        let what = format!("the data folder {path} is not there, or this account may not look into it");
        return vec![Finding::unknown(
            CHECK,
            what,
            "the first start makes it; else run this as the account of the box",
        )];
    };
    let mut findings = Vec::new();
    if disk.is_read_only {
        let advice = "the system made it read-only, most often after an error: `dmesg`, then check and mount it again";
        findings.push(Finding::error(CHECK, format!("the disk of {path} is read-only"), advice));
    } else if !disk.is_writable {
        let what = format!("this account cannot write to {path}");
        findings.push(Finding::unknown(CHECK, what, "run this as the account that runs the box"));
    }
    if disk.mode & 0o077 != 0 {
        let advice = format!("close it: chmod 700 {path}");
        findings.push(Finding::warning(CHECK, format!("{path} is open to other accounts"), advice));
    }
    if disk.inodes_total > 0 && disk.inodes_free < INODES_MIN {
        let advice = "remove other small files, or give the data folder a disk of its own made with more inodes";
        findings.push(Finding::error(CHECK, format!("the disk has only {} free inodes", disk.inodes_free), advice));
    }
    findings.push(room(facts, disk));
    findings
}

fn room(facts: &Facts, disk: &Disk) -> Finding {
    let (free, keep_free, cap) = (ByteSize(disk.free), ByteSize(facts.keep_free), ByteSize(facts.bytes_max));
    if disk.free <= facts.keep_free {
        let advice = "nothing more is stored until there is room: remove other files, or take a larger disk";
        return Finding::error(CHECK, format!("the disk has {free} free; `store.keep-free` is {keep_free}"), advice);
    }
    // What the store may still take must be there beside what it leaves free; without a count, the whole disk must do.
    let reachable = match facts.bytes_used {
        Some(used) => used.saturating_add(disk.free - facts.keep_free),
        None => disk.total.saturating_sub(facts.keep_free),
    };
    if facts.bytes_max > reachable {
        let what = format!("the store may take {cap}, and the disk has room for {}", ByteSize(reachable));
        let advice = "lower `store.size`: the disk fills before the store begins to make room";
        return Finding::warning(CHECK, what, advice);
    }
    Finding::ok(CHECK, format!("{free} free; the store takes at most {cap}"))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::super::tests::worst;
    use super::*;

    #[test]
    fn room_inodes_and_rights_are_judged() {
        const GIB: u64 = 1 << 30;
        let good = Facts {
            path: "/var/lib/bulaq".into(),
            disk: Some(Disk {
                free: 100 * GIB,
                total: 200 * GIB,
                inodes_free: 1_000_000,
                inodes_total: 2_000_000,
                mode: 0o700,
                is_read_only: false,
                is_writable: true,
            }),
            bytes_max: 50 * GIB,
            bytes_used: Some(0),
            keep_free: GIB,
        };
        let with = |change: &dyn Fn(&mut Facts, &mut Disk)| {
            let mut facts = good.clone();
            let mut disk = facts.disk.take().unwrap();
            change(&mut facts, &mut disk);
            Facts { disk: Some(disk), ..facts }
        };
        for (facts, state, words) in [
            (good.clone(), State::Ok, "100 GiB free"),
            (with(&|_, disk| disk.free = GIB), State::Error, "keep-free"),
            (with(&|_, disk| disk.free = 0), State::Error, "0 B free"),
            (with(&|facts, _| facts.bytes_max = 100 * GIB), State::Warning, "room for 99 GiB"),
            (with(&|facts, _| facts.bytes_used = Some(30 * GIB)), State::Ok, ""),
            (with(&|facts, _| (facts.bytes_used, facts.bytes_max) = (None, 199 * GIB)), State::Ok, ""),
            (with(&|facts, _| (facts.bytes_used, facts.bytes_max) = (None, 200 * GIB)), State::Warning, "room for"),
            (with(&|_, disk| disk.inodes_free = 9), State::Error, "9 free inodes"),
            (with(&|_, disk| (disk.inodes_free, disk.inodes_total) = (0, 0)), State::Ok, ""), // btrfs
            (with(&|_, disk| disk.mode = 0o755), State::Warning, "open to other accounts"),
            (with(&|_, disk| disk.is_read_only = true), State::Error, "read-only"),
            (with(&|_, disk| disk.is_writable = false), State::Unknown, "cannot write"),
            (Facts { disk: None, ..good.clone() }, State::Unknown, "not there"),
        ] {
            let findings = judge(&facts);
            assert_eq!(worst(&findings), state, "{findings:?}");
            assert!(findings.iter().any(|finding| finding.what.contains(words)), "{words}: {findings:?}");
        }
    }

    #[test]
    fn a_folder_is_looked_at() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o750)).unwrap();
        let found = disk(folder.path()).unwrap();
        assert!(found.total > 0 && found.is_writable && !found.is_read_only);
        assert_eq!(found.mode & 0o777, 0o750);
        assert!(disk(&folder.path().join("none")).is_none());
    }
}
