//! The allowlist: can it be used, and is anything in it likely not what was meant?

use std::path::Path;

use bulaq_allowlist::{Allowlist, limits};

use super::Finding;
use crate::config::quantity::counted;

const CHECK: &str = "allowlist";

/// Reads the file. An empty list stands in for one that cannot be used, so that the other checks go on.
pub(super) fn examine(path: &Path) -> (Allowlist, Vec<Finding>) {
    use std::io::Read;
    let name = path.display().to_string();
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(limits::FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text));
    if let Err(error) = read {
        let advice = "name the right file as `allowlist` in bulaq.toml, or give this account the right to read it";
        return (Allowlist::default(), vec![Finding::error(CHECK, format!("{name} cannot be read: {error}"), advice)]);
    }
    let advice = "`bulaq allowlist check` shows each with its line";
    match Allowlist::parse(&name, &text) {
        Ok(loaded) => {
            let sites = counted(loaded.allowlist.sites().len() as u64, "site");
            let finding = match loaded.warnings.len() {
                0 => Finding::ok(CHECK, format!("{name} permits {sites}")),
                warnings => {
                    let warnings = counted(warnings as u64, "warning");
                    Finding::warning(CHECK, format!("{name} permits {sites}, with {warnings}"), advice)
                }
            };
            (loaded.allowlist, vec![finding])
        }
        Err(_) => (Allowlist::default(), vec![Finding::error(CHECK, format!("{name} is refused"), advice)]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_list_is_usable_refused_or_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.toml");
        assert_eq!(examine(&path).1[0].state, State::Error);
        for (text, is_refused, sites) in [
            ("[[site]]\nname = \"a\"\nhosts = [\"a.kz\"]\n", false, 1),
            ("[[site]]\nname = \"a\"\nhosts = [\"a.kz\"]\nnonsense = 1\n", true, 0),
        ] {
            std::fs::write(&path, text).unwrap();
            let (list, findings) = examine(&path);
            // Whether such a list is also doubtful is the linter's matter.
            let found = (findings[0].state == State::Error, list.sites().len());
            assert_eq!(found, (is_refused, sites), "{findings:?}");
        }
    }
}
