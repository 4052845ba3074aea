//! `bulaq store verify`: compares everything that is stored with its checksums.

use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

use super::configured::ConfigArg;
use super::desk::with_box;
use super::say;
use crate::config::quantity::{ByteSize, counted, grouped};
use crate::operate::VerifyDone;

/// Look after the folder of stored pages.
#[derive(Debug, clap::Args)]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, clap::Subcommand)]
enum StoreCommand {
    /// Compare every stored page with its checksums; damaged ones are set aside and fetched again when asked for.
    ///
    /// Works beside a box that serves. Exit status 1 when something was damaged.
    Verify {
        #[command(flatten)]
        config: ConfigArg,
    },
}

/// Runs the command.
pub(super) async fn run(args: StoreArgs) -> anyhow::Result<ExitCode> {
    let StoreCommand::Verify { config } = args.command;
    let config = config.load()?;
    // A folder that is misspelt would be made, found empty and called whole.
    let folder = &config.store.dir;
    anyhow::ensure!(folder.is_dir(), "there is no store in {} yet", config.data.display());
    let style = ProgressStyle::with_template("{percent:>3} % [{bar:40}] {msg}")?;
    let bar = ProgressBar::new(100).with_style(style);
    let done = with_box(&config, async |orders| {
        orders
            .verify(|step| {
                bar.set_position(u64::from(step.percent));
                bar.set_message(counted(step.files, "file"));
            })
            .await
    })
    .await?;
    bar.finish_and_clear();
    say(format_args!("{}", told(&done, &folder.join("damaged").display().to_string())))?;
    Ok(if done.damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(done: &VerifyDone, aside: &str) -> String {
    let mut lines = vec![format!("{} with {} compared.", counted(done.files, "file"), ByteSize(done.bytes))];
    lines.extend(done.damaged.iter().map(|damaged| format!("damaged: {damaged}")));
    if done.blocks_lost > 0 {
        let lost = counted(done.blocks_lost, "piece");
        lines.push(format!("{lost} of partly stored files did not arrive on the disk; fetched again when asked for."));
    }
    if done.unread > 0 {
        let unread = grouped(done.unread);
        lines.push(format!("{unread} files could not be read; run this as the account that runs the box."));
    }
    lines.push(match done.damaged.len() {
        0 => "Nothing is damaged.".to_owned(),
        count => format!("{count} damaged files are in {aside} now; they are fetched again when asked for."),
    });
    lines.into_iter().map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_named_with_the_place_it_went_to() {
        let whole = VerifyDone { files: 1_200, bytes: 2_048, ..VerifyDone::default() };
        assert_eq!(told(&whole, "/d"), "1 200 files with 2 KiB compared.\nNothing is damaged.\n");
        let damaged = VerifyDone { damaged: vec!["ab (a.kz): cut".to_owned()], unread: 1, ..whole };
        let text = told(&damaged, "/d");
        assert!(text.contains("damaged: ab (a.kz): cut\n1 files could not be read"), "{text}");
        let cut = VerifyDone { blocks_lost: 2, damaged: Vec::new(), unread: 0, ..damaged };
        let text_of_cut = told(&cut, "/d");
        assert!(text_of_cut.contains("2 pieces of partly stored files did not arrive"), "{text_of_cut}");
        assert!(text_of_cut.ends_with("Nothing is damaged.\n"), "{text_of_cut}");
        assert!(text.ends_with("1 damaged files are in /d now; they are fetched again when asked for.\n"), "{text}");
    }
}
