//! Where a passphrase comes from: a file for scripts, the environment, or a person at a terminal who sees no echo.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::ca::{PASSPHRASE_BYTES_MAX, PASSPHRASE_CHARS_MIN, Passphrase};

/// The environment's variable that may hold it. Other programs of the same account can read it: for scripts only.
const VARIABLE: &str = "BULAQ_CA_PASSPHRASE";

/// How often a person may mistype before the command gives up.
const ATTEMPTS_MAX: usize = 3;

/// Where the passphrase is, if not in somebody's head.
#[derive(Debug, clap::Args)]
pub(super) struct PassphraseArg {
    /// Read the passphrase from the first line of this file (- for standard input), or of BULAQ_CA_PASSPHRASE, and not
    /// from the terminal
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseArg {
    /// The passphrase of a key that is there.
    pub(super) fn known(&self, key: &Path) -> anyhow::Result<String> {
        match self.given()? {
            Some(given) => Ok(given),
            None => Terminal::open()?.ask(&format!("Passphrase of {}: ", key.display())),
        }
    }

    /// A passphrase for a key that is about to be locked; a person types it twice.
    pub(super) fn new_one(&self) -> anyhow::Result<Passphrase> {
        if let Some(given) = self.given()? {
            return Ok(Passphrase::new(given)?);
        }
        let mut terminal = Terminal::open()?;
        for _ in 0..ATTEMPTS_MAX {
            let question = format!("New passphrase for the root's key (at least {PASSPHRASE_CHARS_MIN} characters): ");
            let first = terminal.ask(&question)?;
            let passphrase = match Passphrase::new(first.clone()) {
                Ok(passphrase) => passphrase,
                Err(error) => {
                    terminal.say(&format!("{error}\n"))?;
                    continue;
                }
            };
            if terminal.ask("The same once more: ")? == first {
                return Ok(passphrase);
            }
            terminal.say("The two are not the same.\n")?;
        }
        bail!("no passphrase was chosen; nothing was made")
    }

    fn given(&self) -> anyhow::Result<Option<String>> {
        let text = match &self.passphrase_file {
            Some(path) if path == Path::new("-") => first_line(io::stdin().lock()).context("standard input")?,
            Some(path) => {
                let file = File::open(path).and_then(|file| first_line(BufReader::new(file)));
                file.with_context(|| format!("the passphrase's file {}", path.display()))?
            }
            None => match std::env::var(VARIABLE) {
                Ok(text) => text,
                Err(std::env::VarError::NotPresent) => return Ok(None),
                Err(error) => return Err(error).context(VARIABLE),
            },
        };
        Ok(Some(text))
    }
}

fn first_line(reader: impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.take(PASSPHRASE_BYTES_MAX as u64 + 2).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The terminal of whoever runs the command, even when standard input and output lead elsewhere.
struct Terminal {
    terminal: File,
    before: Termios,
}

impl Terminal {
    /// Opens it and turns its echo off until it is dropped.
    fn open() -> anyhow::Result<Self> {
        const HELP: &str = "there is no terminal to ask for the passphrase; name a file with --passphrase-file";
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").context(HELP)?;
        let before = tcgetattr(&terminal).context(HELP)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(&terminal, OptionalActions::Flush, &silent).context(HELP)?;
        Ok(Self { terminal, before })
    }

    fn ask(&mut self, question: &str) -> anyhow::Result<String> {
        self.say(question)?;
        first_line(BufReader::with_capacity(1, &self.terminal)).context("the terminal")
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.terminal.write_all(text.as_bytes())?;
        self.terminal.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The person's shell repairs what this cannot.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}
