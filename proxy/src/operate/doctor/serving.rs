//! The process that serves: is there one, of this version, and does it answer?

use std::path::Path;
use std::time::Duration;

use super::Finding;
use crate::operate::{Client, ClientError, Status};

const CHECK: &str = "service";

/// Longest wait for the box to say how it is.
const STATUS_WAIT: Duration = Duration::from_secs(5);

/// What is known of the process.
#[derive(Debug)]
pub(super) enum Serving {
    /// It answers, with this version.
    Yes { version: String },
    /// No process serves with this data folder.
    No,
    /// There is one, and this account may not ask it.
    NotForUs,
    /// There is one, and it says nothing.
    Silent,
}

/// Asks the process over its socket.
pub(super) async fn gather(data: &Path) -> (Option<Status>, Serving) {
    let asked = async {
        match Client::find(data).await {
            Ok(Some(client)) => client.status().await.map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        }
    };
    match tokio::time::timeout(STATUS_WAIT, asked).await {
        Ok(Ok(Some(status))) => {
            let version = status.version.clone();
            (Some(status), Serving::Yes { version })
        }
        Ok(Ok(None)) => (None, Serving::No),
        Ok(Err(ClientError::Socket { .. })) => (None, Serving::NotForUs),
        Ok(Err(_)) | Err(_) => (None, Serving::Silent),
    }
}

/// What that means.
pub(super) fn judge(serving: &Serving) -> Vec<Finding> {
    let ours = env!("CARGO_PKG_VERSION");
    vec![match serving {
        Serving::Yes { version } if version == ours => Finding::ok(CHECK, format!("the box serves, version {ours}")),
        Serving::Yes { version } => Finding::warning(
            CHECK,
            format!("the box that serves is version {version}, this program {ours}"),
            "restart the service, so that it runs the program that is installed",
        ),
        Serving::No => Finding::warning(
            CHECK,
            "no box serves with this data folder; the rest was looked at without it",
            "start the service: systemctl start bulaq",
        ),
        Serving::NotForUs => {
            Finding::unknown(CHECK, "this account may not ask the box", "run this as the account that runs the box")
        }
        Serving::Silent => Finding::error(
            CHECK,
            "the box does not answer its own socket",
            "restart the service; `journalctl -u bulaq` has its last words",
        ),
    }]
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[tokio::test]
    async fn no_process_is_a_warning_and_a_silent_one_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (status, serving) = gather(folder.path()).await;
        assert!(status.is_none() && matches!(serving, Serving::No));
        for (serving, state) in [
            (Serving::Yes { version: env!("CARGO_PKG_VERSION").to_owned() }, State::Ok),
            (Serving::Yes { version: "0.0.1".to_owned() }, State::Warning),
            (Serving::No, State::Warning),
            (Serving::NotForUs, State::Unknown),
            (Serving::Silent, State::Error),
        ] {
            assert_eq!(judge(&serving)[0].state, state, "{serving:?}");
        }
    }
}
