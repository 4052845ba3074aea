//! `ca show`: what the certificates can vouch for and what not, in plain words.

use std::time::SystemTime;

use serde_json::json;

use super::{Place, say, told};
use crate::ca::{self, Ca, Intermediate, Root, RootKey, Standing, day_text};
use crate::cli::say_line;
use crate::clock::Clock;
use crate::config::quantity::counted;

/// What to show.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ShowArgs {
    #[command(flatten)]
    place: Place,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ShowArgs) -> anyhow::Result<()> {
    let at = args.place.find()?;
    let clock = Clock::system();
    let ca = Ca::open(&at.folder, clock.clone())?;
    let list = at.allowlist(None)?;
    let mut standing = ca.standing(&list.unwrap_or_default());
    if !at.is_of_box() {
        standing.findings.clear(); // a district's folder has no box to be in order
    }
    let key = ca::root_key(&at.folder)?;
    if args.json {
        say_line(format_args!("{:#}", as_json(&standing, key, clock.now())))?;
        return Ok(());
    }
    let Some(root) = &standing.root else {
        anyhow::bail!("there is no root in {}; `bulaq ca init` makes one", at.folder.display());
    };
    tell_root(root, key)?;
    if let Some(intermediate) = &standing.intermediate {
        tell_intermediate(intermediate, standing.days_left(clock.now()).unwrap_or_default())?;
    }
    for finding in &standing.findings {
        say_line(format_args!("\nTo do: {finding}."))?;
    }
    Ok(())
}

fn tell_root(root: &Root, key: RootKey) -> anyhow::Result<()> {
    say_line(format_args!("The root certificate, which devices are given: {}", root.pem_path.display()))?;
    say("fingerprint", format_args!("{} (SHA-256)", root.sha256))?;
    say("until", day_text(root.until))?;
    say("can", format_args!("let boxes vouch for {} and names below", told(&root.scope)))?;
    say("cannot", "let anybody vouch for any other name, or for any address; browsers refuse it")?;
    let key = match key {
        RootKey::Absent => "not here, as it should be on a box",
        RootKey::Locked => "here, locked with its passphrase",
        RootKey::Plain => "here, WITHOUT a passphrase: `bulaq ca issue` locks it",
    };
    say("its key", key)?;
    Ok(())
}

fn tell_intermediate(intermediate: &Intermediate, days: u64) -> anyhow::Result<()> {
    say_line(format_args!("\nThe box's own certificate, under the root:"))?;
    say("fingerprint", format_args!("{} (SHA-256)", intermediate.sha256))?;
    say("until", format_args!("{} ({} left)", day_text(intermediate.until), counted(days, "day")))?;
    say("can", format_args!("vouch as a web server for {} and names below", told(&intermediate.scope)))?;
    say("cannot", "vouch for any other name or address, for persons, mail or programs, or let another vouch")?;
    say("if stolen", "the thief can pretend to be these sites to devices that trust the root, until that day")?;
    Ok(())
}

fn as_json(standing: &Standing, key: RootKey, now: SystemTime) -> serde_json::Value {
    let names = |scope: &ca::Scope| scope.names().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "root": standing.root.as_ref().map(|root| json!({
            "file": root.pem_path,
            "sha256": root.sha256,
            "from": day_text(root.from),
            "until": day_text(root.until),
            "names": names(&root.scope),
            "key": match key {
                RootKey::Absent => "absent",
                RootKey::Locked => "locked",
                RootKey::Plain => "plain",
            },
        })),
        "intermediate": standing.intermediate.as_ref().map(|it| json!({
            "sha256": it.sha256,
            "from": day_text(it.from),
            "until": day_text(it.until),
            "days_left": standing.days_left(now),
            "names": names(&it.scope),
        })),
        "findings": standing.findings.iter().map(|finding| json!({
            "reason": finding.reason(),
            "says": finding.to_string(),
        })).collect::<Vec<_>>(),
    })
}
