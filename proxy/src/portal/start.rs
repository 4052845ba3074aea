//! The start page at the box's own addresses: which lessons are here, by site and language.

use std::collections::BTreeMap;

use askama::Template;
use bytes::Bytes;
use http::header::CONTENT_SECURITY_POLICY;
use http::{Response, StatusCode};

use super::{Language, pages, sheet, words};

/// Most lessons of one site that the page lists; a page of more is no help to anybody.
pub const LESSONS_SHOWN_MAX: usize = 120;

/// Longest title shown, in characters; the rest becomes an ellipsis.
const TITLE_CHARS_MAX: usize = 100;

/// What is stored of one site.
#[derive(Clone, Debug)]
pub struct SiteShelf {
    /// The site's title in Kazakh, Russian and English, as in the allowlist (in [`Language::ALL`]'s order).
    pub titles: [String; 3],
    /// The host under which its lessons are opened.
    pub host: String,
    /// Where its front page opens: `http://host[:port]/`.
    pub front: String,
    /// Its stored pages, in the order in which they are to be listed; only the first [`LESSONS_SHOWN_MAX`] are shown.
    pub lessons: Vec<Lesson>,
    /// How many more stored pages there are that [`SiteShelf::lessons`] does not name.
    pub left_out: usize,
}

/// One stored page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// Its title as the site wrote it: text, not markup; untrusted.
    pub title: String,
    /// Its language, when the page says one of ours.
    pub language: Option<Language>,
    /// Where it opens: `http://host[:port]/path`.
    pub url: String,
}

/// Which start page a path at the box's own address asks for; none when it names no page of ours.
///
/// `/` follows `Accept-Language`; `/kk/`, `/ru/` and `/en/` are for the reader who wants another one.
pub fn page_at(path: &str, accept_language: Option<&str>) -> Option<Language> {
    if path == "/" {
        return Some(Language::choose(accept_language));
    }
    let tag = path.strip_prefix('/')?;
    let tag = tag.strip_suffix('/').unwrap_or(tag);
    Language::ALL.into_iter().find(|language| language.tag() == tag)
}

/// 200: the start page. Lessons in the reader's language come first, then the other languages', then the rest.
pub fn start(shelves: &[SiteShelf], language: Language) -> Response<Bytes> {
    #[derive(Template)]
    #[template(path = "portal/start.html")]
    struct Start<'a> {
        language: Language,
        shelves: Vec<Shelf<'a>>,
    }
    let shelves = shelves.iter().map(|shelf| Shelf::of(shelf, language)).collect();
    let mut response = pages::finish(StatusCode::OK, language, &Start { language, shelves });
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, sheet::policy_asking(&[]));
    response
}

/// A shelf as the template shows it.
struct Shelf<'a> {
    title: &'a str,
    host: &'a str,
    front: &'a str,
    rows: Vec<Row<'a>>,
    left_out: usize,
}

/// The lessons of one language.
struct Row<'a> {
    heading: &'static str,
    tag: Option<&'static str>,
    lessons: Vec<Shown<'a>>,
}

/// A lesson as it is shown.
struct Shown<'a> {
    title: String,
    url: &'a str,
}

impl<'a> Shelf<'a> {
    fn of(shelf: &'a SiteShelf, reader: Language) -> Self {
        let mut order = Language::ALL.map(Some).to_vec();
        order.sort_by_key(|language| *language != Some(reader)); // stable: the others keep their order
        order.push(None);
        let mut room = LESSONS_SHOWN_MAX;
        let rows: Vec<_> =
            order.into_iter().filter_map(|language| Row::of(shelf, language, reader, &mut room)).collect();
        let shown: usize = rows.iter().map(|row| row.lessons.len()).sum();
        let [kk, ru, en] = &shelf.titles;
        let title = match reader {
            Language::Kazakh => kk,
            Language::Russian => ru,
            Language::English => en,
        };
        Self {
            title: if title.is_empty() { &shelf.host } else { title },
            host: &shelf.host,
            front: &shelf.front,
            rows,
            left_out: shelf.left_out + shelf.lessons.len() - shown,
        }
    }
}

impl<'a> Row<'a> {
    fn of(shelf: &'a SiteShelf, language: Option<Language>, reader: Language, room: &mut usize) -> Option<Self> {
        let of_language: Vec<_> =
            shelf.lessons.iter().filter(|lesson| lesson.language == language).take(*room).collect();
        let ending = common_ending(&of_language);
        let lessons: Vec<_> = of_language
            .into_iter()
            .map(|lesson| {
                let title = lesson.title.strip_suffix(ending).filter(|title| !title.is_empty());
                Shown { title: shorten(title.unwrap_or(&lesson.title), &lesson.url), url: &lesson.url }
            })
            .collect();
        *room -= lessons.len();
        let heading = language.map_or(reader.says(words::OTHER_PAGES), Language::own_name);
        (!lessons.is_empty()).then_some(Self { heading, tag: language.map(Language::tag), lessons })
    }
}

/// The ending that a site gives to its titles (` · Site`, ` | Site`), so that a list need not repeat it. Two thirds of the
/// titles must share it: a front page often has the site's name alone.
fn common_ending<'a>(lessons: &[&'a Lesson]) -> &'a str {
    const SEPARATORS: [&str; 5] = [" · ", " | ", " — ", " – ", " - "];
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for title in lessons.iter().map(|lesson| lesson.title.as_str()) {
        if let Some(at) = SEPARATORS.iter().filter_map(|separator| title.rfind(separator)).max() {
            *counts.entry(&title[at..]).or_default() += 1;
        }
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.filter(|(_, count)| *count > 1 && count * 3 >= lessons.len() * 2).map_or("", |(ending, _)| ending)
}

/// A title with its white space collapsed, no longer than [`TITLE_CHARS_MAX`]; the address stands in for an empty one.
fn shorten(title: &str, url: &str) -> String {
    let mut words = title.split_whitespace().take(TITLE_CHARS_MAX).collect::<Vec<_>>().join(" ");
    if words.is_empty() {
        words = url.to_owned();
    }
    if let Some((end, _)) = words.char_indices().nth(TITLE_CHARS_MAX) {
        words.truncate(end);
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lesson(title: &str, language: Option<Language>, path: &str) -> Lesson {
        Lesson { title: title.into(), language, url: format!("http://bilim.localhost:8000{path}") }
    }

    fn shelf(lessons: Vec<Lesson>) -> SiteShelf {
        SiteShelf {
            titles: ["Білім".into(), "Знание".into(), "Knowledge".into()],
            host: "bilim.localhost".into(),
            front: "http://bilim.localhost:8000/".into(),
            lessons,
            left_out: 0,
        }
    }

    fn text(shelves: &[SiteShelf], language: Language) -> String {
        String::from_utf8(start(shelves, language).into_body().to_vec()).unwrap()
    }

    #[test]
    fn the_path_or_the_browser_chooses_the_language() {
        assert_eq!(page_at("/", Some("ru")), Some(Language::Russian));
        assert_eq!(page_at("/", None), Some(Language::Kazakh));
        assert_eq!(page_at("/en/", Some("ru")), Some(Language::English));
        assert_eq!(page_at("/en", None), Some(Language::English));
        for elsewhere in ["/de/", "/en/x", "", "//", "/EN/"] {
            assert_eq!(page_at(elsewhere, None), None, "{elsewhere}");
        }
    }

    #[test]
    fn lessons_in_the_readers_language_come_first() {
        let shelves = [shelf(vec![
            lesson("Plain", None, "/plain"),
            lesson("The water cycle", Some(Language::English), "/en/water"),
            lesson("Су айналымы", Some(Language::Kazakh), "/kk/water"),
            lesson("Круговорот воды", Some(Language::Russian), "/ru/water"),
        ])];
        let page = text(&shelves, Language::Russian);
        let at = |needle: &str| page.find(needle).unwrap_or_else(|| panic!("{needle} is missing"));
        assert!(at("Знание") < at("Круговорот воды"));
        assert!(at("Круговорот воды") < at("Су айналымы"));
        assert!(at("Су айналымы") < at("The water cycle"));
        assert!(at("The water cycle") < at("Другие страницы"));
        assert!(page.contains("<a href=\"http://bilim.localhost:8000/kk/water\">"));
    }

    #[test]
    fn an_empty_store_says_so() {
        assert!(text(&[], Language::English).contains("Nothing is stored yet"));
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let many = (0..500).map(|n| lesson(&format!("T{n}"), None, &format!("/{n}"))).collect();
        let mut shelf = shelf(many);
        shelf.left_out = 1000;
        let page = text(&[shelf], Language::English);
        assert_eq!(page.matches("<li><a href=\"http://bilim").count(), LESSONS_SHOWN_MAX);
        assert!(page.contains(&format!("this list: {}", 1500 - LESSONS_SHOWN_MAX)));
    }

    #[test]
    fn what_most_titles_end_with_is_said_once() {
        let shown = |titles: &[&str]| {
            let lessons = titles.iter().map(|title| lesson(title, Some(Language::English), "/x")).collect();
            text(&[shelf(lessons)], Language::English)
        };
        let page = shown(&["Bilim", "Water - more · Bilim", "Fractions · Bilim"]);
        assert!(page.contains(">Bilim</a>") && page.contains(">Water - more</a>") && page.contains(">Fractions</a>"));
        assert!(shown(&["Water · Bilim", "Fractions · Kitap"]).contains(">Water · Bilim</a>"));
        assert!(shown(&["Water · Bilim"]).contains(">Water · Bilim</a>"));
        assert!(shown(&["a", "b", "Water · Bilim", "Fractions · Bilim"]).contains(">Water · Bilim</a>"));
    }

    #[test]
    fn a_hostile_title_stays_text_and_short() {
        let hostile = format!("</a><script>x</script> {}", "ж".repeat(5000));
        let page = text(&[shelf(vec![lesson(&hostile, None, "/\"onmouseover=\"x")])], Language::Kazakh);
        assert!(!page.contains("<script>"));
        assert!(!page.contains("\"onmouseover"));
        assert!(!page.contains(&"ж".repeat(TITLE_CHARS_MAX + 1)));
    }
}
