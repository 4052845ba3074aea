//! What the people who run the box touch: one socket, by which commands talk to the process that serves.
//!
//! The store belongs to one process. While `serve` runs, `bulaq purge`, `prefetch`, `store verify` and the others ask
//! it through `<data>/control.sock` ([`control`] answers, [`client`] asks); without it they open the rooms themselves.
//! Both ways end in the same [`Operations`].

mod certificates;
pub mod client;
pub mod control;
mod desk;
pub mod doctor;
mod names;
mod operations;
pub mod run;

use std::path::{Path, PathBuf};

pub use client::{Client, ClientError};
pub use control::{Control, ControlError};
pub use desk::Desk;
pub use operations::{
    CaStatus, DnsStatus, DoorCount, Failure, Lead, Operations, Purge, PurgeDone, ReloadDone, Status, StoreStatus, Tell,
    VerifyDone, VerifyStep, What,
};

/// Where the socket of a box is that keeps its things in `data`.
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("control.sock")
}
