//! Arguments to a command, and its exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Everything that speaks TLS takes its cryptography from here; nothing has asked for it before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    bulaq::cli::run(std::env::args_os())
}
