//! The built box, in the school's network.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::net::{BOX, MANAGED, Machine, RESOLVER, WEB};
use super::process::{Lines, PATIENCE, Started, run};
use super::web::{LESSON, MEDIA, SPLICED};

/// What the district's CA is called in a certificate viewer, at its beginning.
pub const OUR_CA: &str = "Bulaq lesson cache";

/// What locks the root's key.
const PASSPHRASE: &str = "a passphrase for one test";

/// A box that serves until it is dropped.
pub struct Boxed {
    process: Started,
    log: Lines,
    folder: PathBuf,
    machine: Machine,
}

fn program(machine: &Machine, folder: &Path) -> Command {
    let mut command = machine.command(env!("CARGO_BIN_EXE_bulaq"));
    command.current_dir(folder).env_remove("BULAQ_CONFIG").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

impl Boxed {
    /// Writes a configuration and a list into `folder`, and serves by them. `more` are further sections.
    pub fn start(machine: &Machine, folder: &Path, more: &str) -> Self {
        let config = format!(
            "data = \"data\"\n[listen]\nhttp = [\"{BOX}:80\"]\nhttps = [\"{BOX}:443\"]\nforward = [\"{BOX}:3128\"]\n\
             stop-timeout = \"1 s\"\n\
             [store]\nsize = \"64 MiB\"\nkeep-free = \"0 B\"\nreserve = \"0 B\"\n[night]\nwindow = \"off\"\n\
             [dns]\nlisten = [\"{BOX}\"]\nupstreams = [\"{RESOLVER}\"]\n[router]\nhttp = [\"127.0.0.1:8080\"]\nhttps = [\"127.0.0.1:8443\"]\ninterfaces = [\"lan\"]\n\
             [log]\nlevel = \"debug\"\n[trust]\nnetworks = [\"{MANAGED}\"]\n\
             [origin]\ndns-servers = [\"{RESOLVER}\"]\n\
             [origin.extra-roots]\nlesson = \"public-root.pem\"\nbank = \"public-root.pem\"\n{more}"
        );
        std::fs::write(folder.join("bulaq.toml"), config).unwrap();
        let list = format!(
            "[[site]]\nname = \"lesson\"\nhosts = [\"{LESSON}\", \"{MEDIA}\"]\ntls = \"terminate\"\n\
             [[site]]\nname = \"bank\"\nhosts = [\"{SPLICED}\"]\ntls = \"splice\"\n"
        );
        std::fs::write(folder.join("allowlist.toml"), list).unwrap();
        for step in [["ca", "init"], ["ca", "issue"]] {
            let made = program(machine, folder).args(step).env("BULAQ_CA_PASSPHRASE", PASSPHRASE).output();
            let made = made.expect("bulaq was built for this test");
            assert!(made.status.success(), "{step:?}: {}", String::from_utf8_lossy(&made.stderr));
        }
        let mut process = Started::new(
            program(machine, folder).arg("serve").stdout(Stdio::null()).stderr(Stdio::piped()),
            "bulaq was built for this test",
        );
        let mut log = Lines::of(process.child.stderr.take().expect("a pipe"));
        log.wait_for("open doors", |line| line.contains("proxy is open").then_some(()));
        Self { process, log, folder: folder.to_owned(), machine: machine.clone() }
    }

    /// Puts the rules in place by which a router hands connections over, and waits until the box has found its sites.
    pub fn route(&mut self) {
        let (is_well, said) = run(self.machine.command("sh").args(["-c", &self.command(&["router", "rules"])]), "sh");
        assert!(is_well, "this test wants nft (apt-get install nftables): {said}");
        self.log.wait_for("rules that hand connections over", |line| {
            line.contains("the router's rules hand connections to the box").then_some(())
        });
        let end = Instant::now() + PATIENCE;
        while !self.machine.run("nft list table inet bulaq").is_ok_and(|table| table.contains(&WEB.to_string())) {
            assert!(Instant::now() < end, "the box does not tell the rules where its sites are");
        }
    }

    /// The box's own key and intermediate certificate: what a thief of the box has.
    pub fn stolen(&self) -> String {
        std::fs::read_to_string(self.folder.join("data/ca/box.pem")).unwrap()
    }

    /// The district's root, for devices.
    pub fn root(&self) -> PathBuf {
        self.folder.join("data/ca/root.pem")
    }

    /// Another command of the program, beside the one that serves.
    pub fn command(&self, arguments: &[&str]) -> String {
        let out = program(&self.machine, &self.folder).args(arguments).output().expect("bulaq was built");
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
    }

    /// How many connections had this outcome, as `bulaq status` says it.
    pub fn count(&self, outcome: &str) -> u64 {
        let told = self.command(&["status", "--json"]);
        let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
        let doors = told["doors"].as_array().unwrap_or_else(|| panic!("no doors in {told}"));
        let of_it = doors.iter().find(|door| door["word"] == outcome);
        of_it.map_or(0, |door| door["count"].as_u64().expect("a number"))
    }

    /// Stops it; everything that it logged.
    pub fn stop(mut self) -> Vec<String> {
        self.process.stop();
        self.log.rest()
    }
}
