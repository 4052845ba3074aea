//! Why the store could not be opened, or does not take a response.

use std::io;
use std::path::PathBuf;

/// Why a store could not be opened at all.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the folder.
    #[error(
        "the store folder {} is in use by another bulaq: stop that one, or give this one a folder of its own",
        dir.display()
    )]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder cannot be made or written.
    #[error("the store folder {} cannot be used: check that it exists and that bulaq's account may write it", dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("the store's index thread could not be started")]
    Thread(#[source] io::Error),
}

/// Why a response is not stored. The client gets it all the same.
#[derive(Debug, thiserror::Error)]
pub enum StoreRefusal {
    /// The body is longer than the store takes.
    #[error("the body is longer than the {limit_bytes} bytes that are stored at most")]
    TooLarge {
        /// The limit that it passed.
        limit_bytes: u64,
    },
    /// The header section does not fit a record.
    #[error("the header section is longer than a record may be")]
    HeadTooLarge,
    /// The store is full, and nothing could be evicted for it.
    #[error("the store is full and nothing in it may be evicted now")]
    NoRoom,
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// The disk failed.
    #[error("the disk failed")]
    DiskFailed(#[source] io::Error),
    /// The body ended before or after its announced length.
    #[error("the body has {received_bytes} bytes where {announced_bytes} were announced")]
    LengthMismatch {
        /// What `Content-Length` said.
        announced_bytes: u64,
        /// What came.
        received_bytes: u64,
    },
    /// The URL was purged or invalidated while its body was arriving.
    #[error("the URL was purged while its body arrived")]
    Invalidated,
    /// The index cannot take more rows until it has written those that it has.
    #[error("the index is too far behind")]
    IndexBehind,
    /// The store is being closed.
    #[error("the store is being closed")]
    Closing,
}

impl StoreRefusal {
    /// The stable word for it, as in the metrics, the log and `Cache-Status`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::HeadTooLarge => "head-too-large",
            Self::NoRoom => "no-room",
            Self::DiskFull => "disk-full",
            Self::DiskFailed(_) => "disk-failed",
            Self::LengthMismatch { .. } => "length-mismatch",
            Self::Invalidated => "invalidated",
            Self::IndexBehind => "index-behind",
            Self::Closing => "closing",
        }
    }
}

impl From<io::Error> for StoreRefusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::DiskFailed(error),
        }
    }
}
