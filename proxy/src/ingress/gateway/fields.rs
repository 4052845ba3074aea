//! Fields with addresses in them: `Link` (RFC 8288) and `Refresh`.

use super::map::{Map, Mapped};

/// Most links of one field; a page's head has some ten.
const LINKS_MAX: usize = 200;

/// What a link leads to: somewhere to go, or something to load with the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A reader follows it; outside he is told that it leads outside.
    Visit,
    /// A browser fetches it by itself; from outside it is left out.
    Load,
}

impl Purpose {
    /// By the words of `rel`.
    pub(super) fn of_rel(rel: &str) -> Self {
        const VISITED: [&str; 15] = [
            "alternate",
            "amphtml",
            "author",
            "bookmark",
            "canonical",
            "contents",
            "first",
            "help",
            "index",
            "last",
            "license",
            "next",
            "prev",
            "shortlink",
            "up",
        ];
        let mut words = rel.split_ascii_whitespace().peekable();
        let is_sheet = rel.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("stylesheet"));
        let is_visited =
            words.peek().is_some() && words.all(|word| VISITED.iter().any(|known| known.eq_ignore_ascii_case(word)));
        if is_visited && !is_sheet { Self::Visit } else { Self::Load }
    }
}

/// A `Link` field's value mapped; None when nothing of it is left.
pub(super) fn link(value: &str, map: &Map) -> Option<String> {
    let links = split(value, ',').take(LINKS_MAX).filter_map(|link| {
        let inner = link.trim().strip_prefix('<')?;
        let (target, parameters) = inner.split_once('>')?;
        let rel = parameter(parameters, "rel").unwrap_or_default();
        let target = match map.reference(target) {
            Mapped::Kept => target.to_owned(),
            Mapped::To(target) => target,
            Mapped::Outside(page) if Purpose::of_rel(&rel) == Purpose::Visit => page,
            Mapped::Outside(_) => return None,
        };
        let is_sheet = ["style", "stylesheet"].iter().any(|word| {
            rel.eq_ignore_ascii_case(word) || parameter(parameters, "as").is_some_and(|kind| kind == *word)
        });
        // What is rewritten has another digest.
        let kept = split(parameters, ';')
            .map(str::trim)
            .filter(|parameter| !(parameter.is_empty() || is_sheet && is_named(parameter, "integrity")));
        Some(kept.fold(format!("<{target}>"), |link, parameter| format!("{link}; {parameter}")))
    });
    let links = links.collect::<Vec<_>>().join(", ");
    (!links.is_empty()).then_some(links)
}

fn is_named(parameter: &str, name: &str) -> bool {
    parameter.split_once('=').is_some_and(|(its, _)| its.trim().eq_ignore_ascii_case(name))
}

fn parameter(parameters: &str, name: &str) -> Option<String> {
    let parameter = split(parameters, ';').map(str::trim).find(|parameter| is_named(parameter, name))?;
    Some(parameter.split_once('=')?.1.trim().trim_matches('"').to_owned())
}

/// The parts between separators outside of `<…>` and quotation marks.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_target, mut is_escaped) = (false, false, false);
    text.split(move |letter: char| {
        if std::mem::take(&mut is_escaped) {
            return false;
        }
        match letter {
            '\\' if is_quoted => is_escaped = true,
            '"' if !is_target => is_quoted = !is_quoted,
            '<' if !is_quoted => is_target = true,
            '>' if !is_quoted => is_target = false,
            _ => return letter == separator && !is_quoted && !is_target,
        }
        false
    })
}

/// A refresh, in a field or a `<meta>`: its time as it stands, its address mapped (HTML, "shared declarative refresh
/// steps"). None when it names no address, or one that stays.
pub(super) fn refresh(content: &str, map: &Map) -> Option<String> {
    let is_space = |c: char| c.is_ascii_whitespace();
    let time_ends = |c: char| c.is_ascii_digit() || c == '.';
    let after_time = content.trim_start_matches(is_space).trim_start_matches(time_ends).trim_start_matches(is_space);
    let rest = after_time.trim_start_matches([';', ',']).trim_start_matches(is_space);
    let value = match rest.get(..3) {
        Some(word) if word.eq_ignore_ascii_case("url") => {
            let after = rest[3..].trim_start_matches(is_space);
            after.strip_prefix('=').map_or(rest, |value| value.trim_start_matches(is_space))
        }
        _ => rest,
    };
    let target = match value.chars().next().filter(|quote| matches!(quote, '"' | '\'')) {
        Some(quote) => value[1..].split(quote).next().unwrap_or_default(),
        None => value,
    };
    let (Mapped::To(mapped) | Mapped::Outside(mapped)) = map.reference(target) else { return None };
    let time = content[..content.len() - after_time.len()].trim();
    Some(format!("{time}; url={mapped}"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::map;
    use super::*;

    #[test]
    fn links_are_mapped_one_by_one() {
        let a = "http://a-kz.lessons.school.example";
        for (value, expected) in [
            ("</x.css>; rel=preload; as=style", Some("</x.css>; rel=preload; as=style".to_owned())),
            ("<https://a.kz/x,y>; rel=\"next\"", Some(format!("<{a}/x,y>; rel=\"next\""))),
            (
                "<https://a.kz/x.css>; rel=stylesheet; integrity=\"sha256-x\", <https://a.kz/x.js>; rel=preload; as=script; integrity=y",
                Some(format!("<{a}/x.css>; rel=stylesheet, <{a}/x.js>; rel=preload; as=script; integrity=y")),
            ),
            ("<https://games.example>; rel=preconnect", None),
            (
                "<https://games.example/x>; rel=canonical",
                Some("<http://games-example.lessons.school.example/>; rel=canonical".to_owned()),
            ),
            (
                "<https://games.example/x>; rel=\"alternate stylesheet\", <y>; title=\"a, <b>; \\\" c\"",
                Some("<y>; title=\"a, <b>; \\\" c\"".to_owned()),
            ),
            ("nonsense", None),
            ("", None),
        ] {
            assert_eq!(link(value, &map()), expected, "{value}");
        }
    }

    #[test]
    fn a_refresh_keeps_its_time() {
        let a = "http://a-kz.lessons.school.example";
        for (content, expected) in [
            ("0; url=https://a.kz/x", Some(format!("0; url={a}/x"))),
            ("5;URL='//a.kz/x y' z", Some(format!("5; url={a}/x y"))),
            ("1.5 , https://a.kz/", Some(format!("1.5; url={a}/"))),
            ("0; url=https://games.example/x", Some("0; url=http://games-example.lessons.school.example/".to_owned())),
            ("0; url=next.html", None),
            ("3", None),
            ("", None),
            ("ж", None),
        ] {
            assert_eq!(refresh(content, &map()), expected, "{content}");
        }
    }
}
