//! The log: what happens to the box, on standard error. There is no line per request, at any level that a file can set.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What is logged by commands that a person watches.
pub const QUIET: &str = "warn";

/// Starts the log with `level` for our own words and warnings of the libraries; `RUST_LOG` replaces both. Colours only
/// on a terminal. A log that was started before stays as it is.
pub fn start(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| filter(level));
    let is_terminal = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal && std::env::var_os("NO_COLOR").is_none())
        .with_target(false);
    let _ = log.try_init(); // only a log that was started before refuses
}

/// Libraries speak of requests and addresses at their lower levels; those stay shut.
fn filter(level: &str) -> EnvFilter {
    let ours = if ["error", "warn", "info", "debug"].contains(&level) { level } else { "info" };
    let others = if ours == "error" { "error" } else { "warn" };
    EnvFilter::new(format!("{others},bulaq={ours},bulaq_allowlist={ours}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_never_say_more_than_warnings() {
        assert_eq!(filter("debug").to_string(), "bulaq_allowlist=debug,bulaq=debug,warn");
        assert_eq!(filter("error").to_string(), "bulaq_allowlist=error,bulaq=error,error");
        assert_eq!(filter("all of it").to_string(), "bulaq_allowlist=info,bulaq=info,warn");
    }
}
