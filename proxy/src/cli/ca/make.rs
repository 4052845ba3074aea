//! `ca init`, `request`, `issue` and `install`: from no CA at all to a box that can vouch for its lessons.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};

use super::passphrase::PassphraseArg;
use super::{Place, names, say, told};
use crate::ca::{self, ISSUE_DAYS, ISSUE_DAYS_RANGE, Issued, Office, Root, RootKey, Scope, day_text};
use crate::cli::say_line;
use crate::clock::Clock;
use crate::portal::names::box_name;

/// Longest request or answer that is read, in bytes; one with the most names has some dozen kilobytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// How to make a root.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  bulaq ca init --allowlist allowlist.toml          on the district's laptop\n  \
                  bulaq ca init --names bilimland.kz,lessons.kz\n  sudo bulaq ca init                                \
                  on the box of a single school\n\n\
                  A name stands for itself and all below it. Names that you will need within the next years belong\n\
                  in now: a root cannot be widened, and a new one must be given to every device.")]
pub(in crate::cli) struct InitArgs {
    #[command(flatten)]
    place: Place,
    /// Names that it may vouch for, beside those of the allowlist, with commas between
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    names: Vec<String>,
    /// The allowlist whose sites it may vouch for; without it, that of the configuration
    #[arg(long, value_name = "FILE")]
    allowlist: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArg,
}

/// How to ask for a certificate.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RequestArgs {
    #[command(flatten)]
    place: Place,
    /// The allowlist whose sites are asked for; without it, that of the configuration
    #[arg(long, value_name = "FILE")]
    allowlist: Option<PathBuf>,
    /// Also write the request here, to be carried to the district
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// How to issue a certificate.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  bulaq ca issue --request request.pem --out issued.pem    where the district has its root\n  \
                  sudo bulaq ca issue                                      on a box that has its own root"
)]
pub(in crate::cli) struct IssueArgs {
    #[command(flatten)]
    place: Place,
    /// What `bulaq ca request` wrote on the box; without it, the certificate is for this machine and is put in place
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// Where the certificate goes; without it, beside the request as ….issued.pem
    #[arg(long, value_name = "FILE", requires = "request")]
    out: Option<PathBuf>,
    /// How long it holds
    #[arg(long, value_name = "DAYS", default_value_t = ISSUE_DAYS, value_parser = clap::value_parser!(u64).range(*ISSUE_DAYS_RANGE.start()..=*ISSUE_DAYS_RANGE.end()))]
    days: u64,
    /// The allowlist whose sites it is for; without it, that of the configuration
    #[arg(long, value_name = "FILE", conflicts_with = "request")]
    allowlist: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArg,
}

/// What to install.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct InstallArgs {
    #[command(flatten)]
    place: Place,
    /// What `bulaq ca issue` wrote
    file: PathBuf,
}

fn now() -> SystemTime {
    Clock::system().now()
}

pub(super) fn init(args: &InitArgs) -> anyhow::Result<()> {
    let at = args.place.find()?;
    let given = names(&args.names)?;
    // Names alone are an answer too: the configuration's list is added only where nothing was named.
    let list =
        if given.is_empty() || args.allowlist.is_some() { at.allowlist(args.allowlist.as_deref())? } else { None };
    let of_list = list.as_ref().map(Scope::of_sites).unwrap_or_default();
    let scope = Scope::new(of_list.names().cloned().chain(given));
    if scope.is_empty() {
        bail!(match list {
            Some(_) => "no site of the allowlist is set to tls = \"terminate\"; a CA would have nothing to vouch for",
            None => "name what it may vouch for: --allowlist FILE, or --names a.example,b.example",
        });
    }
    let scope = scope.and_own_names();
    say_line(format_args!(
        "A root certificate is made that can vouch for these names and all below them, and for nothing else:"
    ))?;
    say_line(format_args!("  {}", told(&scope)))?;
    let root = ca::init(&at.folder, &scope, &args.passphrase.new_one()?, now())?;
    say_line(format_args!("\nMade in {}:", at.folder.display()))?;
    say("root.pem", "the certificate, which devices are given")?;
    say("root.key.pem", "its key, which opens with the passphrase alone")?;
    tell_root(&root)?;
    say_line(format_args!("\nWrite the fingerprint on paper: whoever installs the certificate compares it."))?;
    if at.is_of_box() {
        say_line(format_args!(
            "Keep the passphrase away from the box, and a copy of root.key.pem in a locked place. Safer still: make the\n\
             root on another machine, and keep its key off the box altogether.\n\nNext:\n  \
             bulaq ca issue     lets this box make certificates, for {ISSUE_DAYS} days"
        ))?;
    } else {
        say_line(format_args!(
            "Keep this folder off the boxes, with a copy in a locked place; the passphrase elsewhere.\n\nNext, on each box:\n  \
             bulaq ca request --out request.pem\nhere, with the file that it wrote:\n  \
             bulaq ca issue --folder {} --request request.pem --out issued.pem\nand on the box again:\n  \
             bulaq ca install issued.pem",
            at.folder.display()
        ))?;
    }
    Ok(())
}

pub(super) fn request(args: &RequestArgs) -> anyhow::Result<()> {
    let at = args.place.find()?;
    let Some(list) = at.allowlist(args.allowlist.as_deref())? else {
        bail!("name the box's configuration with --config, or its allowlist with --allowlist");
    };
    if Scope::of_sites(&list).is_empty() {
        bail!("no site of the allowlist is set to tls = \"terminate\"; the box needs no certificate");
    }
    let scope = Scope::of(&list);
    let mut path = ca::request(&at.folder, &scope)?;
    if let Some(out) = &args.out {
        fs::copy(&path, out).with_context(|| format!("{} cannot be written", out.display()))?;
        path.clone_from(out);
    }
    say_line(format_args!("{} asks for a certificate for these names and all below them:", path.display()))?;
    say_line(format_args!("  {}", told(&scope)))?;
    say_line(format_args!(
        "It has nothing secret; the key stays here. Take it to where the district has its root:\n  \
         bulaq ca issue --request request.pem --out issued.pem\nand bring the answer back:\n  bulaq ca install issued.pem"
    ))?;
    Ok(())
}

pub(super) fn issue(args: &IssueArgs) -> anyhow::Result<()> {
    let at = args.place.find()?;
    let passphrase = unlock(&at.folder, &args.passphrase)?;
    let office = Office::open(&at.folder, &passphrase)?;
    if let Some(request) = &args.request {
        let issued = office.issue(request, &read(request)?, args.days, now())?;
        let out = args.out.clone().unwrap_or_else(|| request.with_extension("issued.pem"));
        fs::write(&out, &issued.pem).with_context(|| format!("{} cannot be written", out.display()))?;
        tell_issued(&issued)?;
        say_line(format_args!(
            "\nWritten to {}; it has nothing secret. On the box:\n  bulaq ca install {}",
            out.display(),
            out.file_name().unwrap_or_default().display(),
        ))?;
        return Ok(());
    }
    let Some(list) = at.allowlist(args.allowlist.as_deref())? else {
        bail!("name the box's request with --request; on a box, its configuration with --config");
    };
    if Scope::of_sites(&list).is_empty() {
        bail!("no site of the allowlist is set to tls = \"terminate\"; the box needs no certificate");
    }
    let issued = office.issue_here(&Scope::of(&list), args.days, now())?;
    tell_issued(&issued)?;
    tell_root(&office.root())?;
    say_line(format_args!(
        "\nIt is in place; a box that serves takes it within a minute, or at once with `bulaq reload`."
    ))?;
    Ok(())
}

/// The passphrase of the root's key. One that lay open is locked with a new one first.
fn unlock(folder: &Path, passphrase: &PassphraseArg) -> anyhow::Result<String> {
    let key = folder.join("root.key.pem");
    match ca::root_key(folder)? {
        RootKey::Absent => Ok(String::new()), // opening it says what is missing
        RootKey::Locked => passphrase.known(&key),
        RootKey::Plain => {
            eprintln!(
                "{} lies there without a passphrase; it gets one now.\nWho has copied it before can still use the copy: \
                 if others could, make a new root instead.",
                key.display()
            );
            let chosen = passphrase.new_one()?;
            ca::lock_root_key(folder, &chosen)?;
            say_line(format_args!("{} is locked with the passphrase now.", key.display()))?;
            Ok(chosen.into_text())
        }
    }
}

pub(super) fn install(args: &InstallArgs) -> anyhow::Result<()> {
    let at = args.place.find()?;
    let installed = ca::install(&at.folder, &args.file, &read(&args.file)?, now())?;
    say_line(format_args!("The box can make certificates until {} for", day_text(installed.intermediate.until)))?;
    say_line(format_args!("  {}", told(&installed.intermediate.scope)))?;
    if installed.is_root_new {
        say_line(format_args!("\nIts root is new to this box. Compare with the district's paper before you go on:"))?;
    }
    tell_root(&installed.root)?;
    say_line(format_args!("\nA box that serves takes it within a minute, or at once with `bulaq reload`."))?;
    Ok(())
}

fn tell_root(root: &Root) -> io::Result<()> {
    say("fingerprint", format_args!("{} (SHA-256 of root.pem)", root.sha256))?;
    say("root until", day_text(root.until))
}

fn tell_issued(issued: &Issued) -> io::Result<()> {
    say_line(format_args!("A certificate is issued until {} for", day_text(issued.intermediate.until)))?;
    say_line(format_args!("  {}", told(&issued.intermediate.scope)))?;
    for name in &issued.left_out {
        eprintln!("warning: the root does not cover {name}: its connections will be passed through unseen");
    }
    if issued.left_out.iter().any(|name| name == box_name()) {
        eprintln!("warning: without {} no device can show that it trusts the root; make a new root", box_name());
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(text)
}
