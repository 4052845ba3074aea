//! `[gateway]`: the domain below which every site has a name for devices without the CA.

use bulaq_allowlist::HostName;

use super::Section;

/// Longest domain, in bytes: a label of 63 and a dot must fit before it (RFC 1035 §2.3.4).
const DOMAIN_BYTES_MAX: usize = 253 - 64;

/// Reads `gateway.domain`; none when it is `"off"` or not written.
pub(super) fn domain(section: &Section<'_, '_>) -> Option<HostName> {
    let domain = match section.text("domain") {
        None | Some(("off", _)) => None,
        Some(_) => section.parsed("domain", parse),
    };
    section.done();
    domain
}

fn parse(text: &str) -> Result<HostName, String> {
    let domain = HostName::parse(text).map_err(|error| error.to_string())?;
    if domain.is_public_suffix() && !domain.is_local() {
        return Err(format!("others can register names below {domain}; take one of the school's own"));
    }
    if domain.as_str().len() > DOMAIN_BYTES_MAX {
        return Err(format!("it is longer than {DOMAIN_BYTES_MAX} bytes, so that no site's label fits before it"));
    }
    Ok(domain)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_domain_is_the_schools_own_and_has_room_for_labels() {
        for (text, is_taken) in [
            ("lessons.school.example", true),
            ("Lessons.School.KZ.", true),
            ("lessons.internal", true),
            ("edu.kz", false),
            ("kz", false),
            ("10.0.0.1", false),
            ("a_b.kz", false),
            ("*.school.kz", false),
        ] {
            assert_eq!(parse(text).is_ok(), is_taken, "{text}");
        }
        let long = format!("{}.kz", ["abcdefghi"; 19].join("."));
        assert!(parse(&long).unwrap_err().contains("189 bytes"));
    }
}
