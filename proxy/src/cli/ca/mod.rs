//! `bulaq ca`: makes the district's certificate authority and the boxes' certificates, and says what they can do.

mod export;
mod make;
mod passphrase;
mod show;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bulaq_allowlist::{Allowlist, HostName};

use super::configured::{ConfigArg, allowlist};
use super::say_line;
use crate::ca::Scope;
use crate::config::Config;

/// Where a root is made when nothing says another place: on a laptop that is no box.
const FOLDER: &str = "bulaq-ca";

/// Names that a sentence lists before it only counts.
const NAMES_TOLD: usize = 12;

/// What can be done with the certificate authority.
#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "A district makes the root on a laptop, once, and keeps its key there; each box asks for a certificate:\n  \
                  laptop  bulaq ca init --allowlist allowlist.toml\n  \
                  box     bulaq ca request --out request.pem\n  \
                  laptop  bulaq ca issue --request request.pem --out issued.pem\n  \
                  box     bulaq ca install issued.pem\n\n\
                  A single school can do it all on the box:  bulaq ca init, then bulaq ca issue."
)]
pub(super) enum CaCommand {
    /// Make a root certificate that can vouch only for the names given; its key is locked with a passphrase
    Init(make::InitArgs),
    /// On the box: make a key, and a request that the district answers with `ca issue`
    Request(make::RequestArgs),
    /// Where the root is: issue a certificate to a box, for today's names and some months
    Issue(make::IssueArgs),
    /// On the box: check what `ca issue` wrote, and put it in place
    Install(make::InstallArgs),
    /// Write the root certificate as each kind of device takes it, with the steps and the fingerprint
    Export(export::ExportArgs),
    /// Say in plain words what the certificates can vouch for, and until when
    Show(show::ShowArgs),
}

/// Runs one of the commands.
pub(super) fn run(command: &CaCommand) -> anyhow::Result<ExitCode> {
    match command {
        CaCommand::Init(args) => make::init(args)?,
        CaCommand::Request(args) => make::request(args)?,
        CaCommand::Issue(args) => make::issue(args)?,
        CaCommand::Install(args) => make::install(args)?,
        CaCommand::Export(args) => export::run(args)?,
        CaCommand::Show(args) => show::run(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Which folder.
#[derive(Debug, clap::Args)]
struct Place {
    #[command(flatten)]
    config: ConfigArg,
    /// The CA's folder; without it, `ca` in the data folder of the configuration, or bulaq-ca here where there is none
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// A folder, and the configuration of the box that it belongs to.
struct At {
    folder: PathBuf,
    config: Option<Config>,
}

impl Place {
    fn find(&self) -> anyhow::Result<At> {
        // A laptop has no configuration, and needs none; one that is there must be good.
        let config = self.config.path().is_ok().then(|| self.config.load()).transpose()?;
        let of_box = config.as_ref().map(|config| config.data.join("ca"));
        let folder = self.folder.clone().or(of_box).unwrap_or_else(|| PathBuf::from(FOLDER));
        Ok(At { folder, config })
    }
}

impl At {
    /// Whether a box that serves from its configuration works with this folder.
    fn is_of_box(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.data.join("ca") == self.folder)
    }

    /// The allowlist that was named, or else that of the configuration.
    fn allowlist(&self, named: Option<&Path>) -> anyhow::Result<Option<Allowlist>> {
        let path = named.or(self.config.as_ref().map(|config| config.allowlist.as_path()));
        path.map(allowlist).transpose()
    }
}

/// Reads names as they are given to `--names`.
fn names(given: &[String]) -> anyhow::Result<Vec<HostName>> {
    let texts = given.iter().map(|text| text.strip_prefix("*.").unwrap_or(text));
    texts.map(|text| HostName::parse(text).map_err(|error| anyhow::anyhow!("--names {text}: {error}"))).collect()
}

/// What a scope means, for people.
fn told(scope: &Scope) -> String {
    let mut text = scope.names().take(NAMES_TOLD).map(HostName::to_unicode).collect::<Vec<_>>().join(", ");
    if scope.len() > NAMES_TOLD {
        text += &format!(" and {} more", scope.len() - NAMES_TOLD);
    }
    text
}

fn say(label: &str, text: impl std::fmt::Display) -> std::io::Result<()> {
    say_line(format_args!("  {label:<14}{text}"))
}
