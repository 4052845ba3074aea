//! `bulaq router`: the rules that make a router hand connections to the box.

use std::process::ExitCode;

use super::configured::ConfigArg;
use super::say;
use crate::ingress::transparent::{Interface, RouterOptions, Take, install, remove};

/// What is asked.
#[derive(Debug, clap::Subcommand)]
pub(super) enum RouterCommand {
    /// Write a script with the rules that [router] in bulaq.toml asks for
    Rules(RulesArgs),
}

/// Which rules.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bulaq router rules --lan lan0          shows the script\n  \
                        bulaq router rules --lan lan0 | sh     puts the rules in place, as root\n  \
                        bulaq router rules --remove | sh       takes them away again")]
pub(super) struct RulesArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// An interface at which pupils' connections come in, instead of those of [router]; may be given several times
    #[arg(long = "lan", value_name = "INTERFACE")]
    interfaces: Vec<Interface>,
    /// Take every connection; what is not on the allowlist is refused by the box
    #[arg(long, conflicts_with = "listed")]
    all: bool,
    /// Take only connections to addresses that permitted names lead to
    #[arg(long)]
    listed: bool,
    /// Write the script that takes the rules away
    #[arg(long, conflicts_with_all = ["interfaces", "all", "listed"])]
    remove: bool,
}

/// Writes the script to standard output; changes nothing.
pub(super) fn run(RouterCommand::Rules(args): &RouterCommand) -> anyhow::Result<ExitCode> {
    if args.remove {
        say(format_args!("{}", remove()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let configured = args.config.load()?.ingress.router;
    let interfaces = if args.interfaces.is_empty() { configured.interfaces } else { args.interfaces.clone() };
    let take = match (args.all, args.listed) {
        (true, _) => Take::All,
        (_, true) => Take::Listed,
        (false, false) => configured.take,
    };
    say(format_args!("{}", install(&RouterOptions { interfaces, take, ..configured })?))?;
    Ok(ExitCode::SUCCESS)
}
