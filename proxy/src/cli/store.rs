//! `bulaq store verify`: compares everything that is stored with its checksums.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock::Clock;
use crate::store::{Store, StoreOptions, Verified};

/// What can be asked of the store's folder.
#[derive(Debug, clap::Subcommand)]
pub enum StoreCommand {
    /// Compare every stored file with its checksums and set damaged ones aside: exit status 0 whole, 1 damaged
    ///
    /// Damaged files are fetched again when they are asked for. The store must not be in use: stop `bulaq serve` first.
    Verify {
        /// The folder of the store [default: the one of the configuration]
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
}

/// Runs one of the commands; `configured` are the store's settings, of which `--dir` changes the folder. Its answer goes to
/// standard output.
///
/// # Errors
/// When the folder is no store, or is in use, or cannot be used.
pub async fn run(command: &StoreCommand, configured: StoreOptions) -> anyhow::Result<ExitCode> {
    let StoreCommand::Verify { dir } = command;
    let mut options = configured;
    if let Some(dir) = dir {
        options.dir.clone_from(dir);
    }
    // A folder that is misspelt would be made, found empty and called whole.
    anyhow::ensure!(
        options.dir.join("bodies").is_dir(),
        "{} is no store: it has no folder \"bodies\"",
        options.dir.display()
    );
    let store = Store::open(options.clone(), Clock::system())?;
    let style = ProgressStyle::with_template("{percent:>3} % [{bar:40}] {msg}").expect("the template is right");
    let bar = ProgressBar::new(100).with_style(style);
    let verified = store
        .verify(|files, percent| {
            bar.set_position(u64::from(percent));
            bar.set_message(format!("{files} files"));
        })
        .await;
    bar.finish_and_clear();
    store.close().await;
    write!(std::io::stdout().lock(), "{}", report(&verified, &options))?;
    Ok(if verified.damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(verified: &Verified, options: &StoreOptions) -> String {
    use std::fmt::Write;
    let mut text = format!("{} files with {} bytes of content compared.\n", verified.files, verified.bytes);
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        text.write_fmt(arguments).expect("a string takes all that is written");
        text.push('\n');
    };
    for damaged in &verified.damaged {
        let host = damaged.host.as_deref().unwrap_or("unknown host");
        line(format_args!("damaged: {} ({host}): {}", damaged.id, damaged.why));
    }
    if verified.unread > 0 {
        line(format_args!(
            "{} files could not be read; run it again as the account that bulaq runs under.",
            verified.unread
        ));
    }
    match verified.damaged.len() {
        0 => line(format_args!("Nothing is damaged.")),
        count => {
            let dir = options.dir.join("damaged");
            line(format_args!(
                "{count} damaged files are in {} now; they are fetched again when asked for.",
                dir.display()
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DamagedFile;

    fn verify(dir: &std::path::Path) -> StoreCommand {
        StoreCommand::Verify { dir: Some(dir.to_owned()) }
    }

    #[tokio::test]
    async fn a_store_is_verified_and_another_folder_is_not_made_one() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions::new("/nonexistent");
        let error = run(&verify(dir.path()), options.clone()).await.unwrap_err();
        assert!(error.to_string().contains("is no store"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

        let store = Store::open(StoreOptions::new(dir.path()), Clock::system()).unwrap();
        let error = run(&verify(dir.path()), options.clone()).await.unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
        store.close().await;
        assert_eq!(run(&verify(dir.path()), options).await.unwrap(), ExitCode::SUCCESS);
    }

    #[test]
    fn the_report_names_what_is_damaged_and_where_it_went() {
        let options = StoreOptions::new("/var/lib/bulaq/store");
        let whole = Verified { files: 3, bytes: 77, ..Verified::default() };
        assert_eq!(report(&whole, &options), "3 files with 77 bytes of content compared.\nNothing is damaged.\n");
        let damaged = DamagedFile { id: "ab-1".to_owned(), host: Some("a.kz".to_owned()), why: "why".to_owned() };
        let text = report(&Verified { damaged: vec![damaged], unread: 1, ..whole }, &options);
        assert!(text.contains("damaged: ab-1 (a.kz): why\n1 files could not be read"), "{text}");
        assert!(text.ends_with(
            "1 damaged files are in /var/lib/bulaq/store/damaged now; they are fetched again when asked for.\n"
        ));
    }
}
