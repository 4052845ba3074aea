//! `bulaq init`: a configuration and an allowlist to begin with.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::say_line;
/// Which folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sudo bulaq init /etc/bulaq\n\nFiles that are there already stay as they are.")]
pub(super) struct InitArgs {
    /// The folder for bulaq.toml and allowlist.toml; made if need be
    #[arg(default_value = ".")]
    folder: PathBuf,
}

const CONFIG: &str = include_str!("starter/bulaq.toml");
const ALLOWLIST: &str = include_str!("starter/allowlist.toml");

/// Writes what is missing and says what to do next.
pub(super) fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let folder = &args.folder;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    for (name, text) in [("bulaq.toml", CONFIG), ("allowlist.toml", ALLOWLIST)] {
        let path = folder.join(name);
        if write_new(&path, text)? {
            say_line(format_args!("written   {}", path.display()))?;
        } else {
            say_line(format_args!("kept      {} (it was there)", path.display()))?;
        }
    }
    let config = folder.join("bulaq.toml");
    let config = config.display();
    say_line(format_args!("\nNext: edit both files, then"))?;
    say_line(format_args!("  bulaq serve --check --config {config}    says what is wrong with them"))?;
    say_line(format_args!("  bulaq prefetch --config {config}         fetches the sites once, now"))?;
    say_line(format_args!("  bulaq serve --config {config}            runs the box"))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a file that is not there yet; says whether it was so.
fn write_new(path: &Path, text: &str) -> anyhow::Result<bool> {
    match OpenOptions::new().write(true).create_new(true).mode(0o644).open(path) {
        Ok(mut file) => {
            file.write_all(text.as_bytes()).with_context(|| format!("{} cannot be written", path.display()))?;
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(|| format!("{} cannot be made", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_init_writes_is_good_and_never_overwrites() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("etc/bulaq");
        let args = InitArgs { folder: folder.clone() };
        run(&args).unwrap();
        let loaded = Config::load(&folder.join("bulaq.toml")).unwrap();
        assert!(loaded.warnings.is_empty());
        let text = fs::read_to_string(&loaded.config.allowlist).unwrap();
        let list = bulaq_allowlist::Allowlist::parse("allowlist.toml", &text).unwrap();
        assert!(list.warnings.is_empty() && list.allowlist.sites().len() == 1, "{:?}", list.warnings);

        fs::write(folder.join("bulaq.toml"), "# mine\n").unwrap();
        run(&args).unwrap();
        assert_eq!(fs::read_to_string(folder.join("bulaq.toml")).unwrap(), "# mine\n");
    }
}
