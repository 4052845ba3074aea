//! The stand-in portals' content: lessons and words from `proxy/demo/`, rendered to what an origin would serve.
//!
//! Rendering happens once, when the demo starts. Nothing here knows sockets; `portal.rs` serves what this makes.

use std::collections::BTreeMap;

use askama::Template;
use bytes::Bytes;
use include_dir::{Dir, include_dir};
use serde::Deserialize;

static BILIM: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/demo/bilim");
static KITAP: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/demo/kitap");

/// The lesson portal's host. Browsers and curl resolve every name under `localhost` to the loopback address (RFC 6761
/// §6.3), so the demo's links work with nothing installed.
pub(crate) const BILIM_HOST: &str = "bilim.localhost";

/// The small library's host.
pub(crate) const KITAP_HOST: &str = "kitap.localhost";

/// The languages of both sites, in the order of their switches.
pub(crate) const TAGS: [&str; 3] = ["kk", "ru", "en"];

/// The subjects of the lesson portal: the second segment of a lesson's path.
const SUBJECTS: [&str; 4] = ["science", "math", "history", "languages"];

/// Lessons: an hour fresh, and a week on when the portal is down.
const LESSON: &str = "public, max-age=3600, stale-if-error=604800";

/// Front pages change often: fresh for a moment only, so that the morning shows stale content served while the portal
/// is gone (RFC 5861 §4).
const FRONT: &str = "public, max-age=1, stale-if-error=604800";

/// Files with a digest in their name never change (RFC 8246).
const ASSET: &str = "public, max-age=31536000, immutable";

/// What differs from reader to reader.
const PRIVATE: &str = "private, no-store";

/// One site as its origin serves it.
#[derive(Debug)]
pub(crate) struct Site {
    /// The host it answers for.
    pub(crate) host: &'static str,
    /// What it serves, by path.
    pub(crate) resources: BTreeMap<String, Resource>,
}

/// One resource of a site.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    /// Its media type.
    pub(crate) content_type: &'static str,
    /// Its `Cache-Control`.
    pub(crate) cache_control: &'static str,
    /// Its language, for pages.
    pub(crate) language: Option<&'static str>,
    /// Its content.
    pub(crate) body: Bytes,
}

impl Resource {
    /// Whether only its reader may keep it.
    pub(crate) fn is_private(&self) -> bool {
        self.cache_control == PRIVATE
    }

    /// Whether it is a page rather than a page's part.
    pub(crate) fn is_page(&self) -> bool {
        self.content_type.starts_with("text/html")
    }
}

/// Both sites.
pub(crate) fn sites() -> [Site; 2] {
    [bilim(), kitap()]
}

#[derive(Deserialize)]
struct Lesson {
    subject: String,
    slug: String,
    grade: u8,
    figure: String,
    /// The drawing's own letters are the legend's, so the list needs no numbers.
    #[serde(default)]
    is_legend_unnumbered: bool,
    video: Option<String>,
    kk: LessonText,
    ru: LessonText,
    en: LessonText,
}

#[derive(Deserialize)]
struct LessonText {
    title: String,
    summary: String,
    alt: String,
    legend: Vec<String>,
    text: String,
    tasks: Vec<String>,
    answers: Vec<String>,
}

impl Lesson {
    fn text(&self, tag: &str) -> &LessonText {
        match tag {
            "kk" => &self.kk,
            "ru" => &self.ru,
            _ => &self.en,
        }
    }
}

#[derive(Deserialize)]
struct BookPage {
    slug: String,
    kk: BookText,
    ru: BookText,
    en: BookText,
}

#[derive(Deserialize)]
struct BookText {
    title: String,
    text: String,
}

impl BookPage {
    fn text(&self, tag: &str) -> &BookText {
        match tag {
            "kk" => &self.kk,
            "ru" => &self.ru,
            _ => &self.en,
        }
    }
}

#[derive(Deserialize)]
struct Words {
    name: String,
    tagline: String,
    welcome: String,
    subjects: String,
    lessons: String,
    grade: String,
    tasks: String,
    answers: String,
    legend: String,
    next: String,
    sign_in: String,
    user: String,
    password: String,
    sign_in_note: String,
    account: String,
    teachers: String,
    teachers_note: String,
    skip: String,
    languages: String,
    hero: String,
    about: String,
    titles: BTreeMap<String, String>,
    notes: BTreeMap<String, String>,
}

impl Words {
    fn title(&self, subject: &str) -> &str {
        self.titles.get(subject).map_or("", String::as_str)
    }

    /// The name of a grade; `#` stands for its number.
    fn grade(&self, number: &u8) -> String {
        self.grade.replace('#', &number.to_string())
    }

    fn note(&self, subject: &str) -> &str {
        self.notes.get(subject).map_or("", String::as_str)
    }
}

#[derive(Deserialize)]
struct BookWords {
    name: String,
    tagline: String,
    welcome: String,
    contents: String,
    skip: String,
    languages: String,
}

/// Where a page stands: its language, its subject (or nothing) and its path without the language.
struct Page<'a> {
    tag: &'static str,
    subject: &'a str,
    rest: &'a str,
}

impl Page<'_> {
    fn tags(&self) -> &'static [&'static str] {
        &TAGS
    }
}

#[derive(Template)]
#[template(path = "demo/home.html")]
struct HomePage<'a> {
    page: Page<'a>,
    words: &'a Words,
    assets: &'a Assets,
    subjects: &'a [&'a str],
    lessons: &'a [Lesson],
}

#[derive(Template)]
#[template(path = "demo/subject.html")]
struct SubjectPage<'a> {
    page: Page<'a>,
    words: &'a Words,
    assets: &'a Assets,
    subjects: &'a [&'a str],
    lessons: Vec<&'a Lesson>,
}

#[derive(Template)]
#[template(path = "demo/lesson.html")]
struct LessonPage<'a> {
    page: Page<'a>,
    words: &'a Words,
    assets: &'a Assets,
    subjects: &'a [&'a str],
    lesson: &'a Lesson,
    text: &'a LessonText,
    figure_height: String,
    next: Option<&'a Lesson>,
}

impl LessonPage<'_> {
    /// The path of the film's subtitles: its name with the language in it.
    fn track(&self, tag: &str) -> String {
        let film = self.lesson.video.as_deref().unwrap_or_default();
        self.assets.path(&format!("{}.{tag}.vtt", film.trim_end_matches(".webm"))).to_owned()
    }
}

#[derive(Template)]
#[template(path = "demo/note.html")]
struct NotePage<'a> {
    page: Page<'a>,
    words: &'a Words,
    assets: &'a Assets,
    subjects: &'a [&'a str],
    title: &'a str,
    note: &'a str,
    is_sign_in: bool,
}

#[derive(Template)]
#[template(path = "demo/front.html")]
struct FrontPage<'a> {
    name: &'a str,
    sheet: &'a str,
    assets: &'a Assets,
}

#[derive(Template)]
#[template(path = "demo/kitap.html")]
struct BookPageView<'a> {
    page: Page<'a>,
    words: &'a BookWords,
    assets: &'a Assets,
    title: &'a str,
    text: Option<&'a str>,
    pages: &'a [BookPage],
}

#[derive(Template)]
#[template(path = "demo/sitemap.xml", escape = "html")]
struct Sitemap<'a> {
    host: &'a str,
    paths: &'a [String],
}

/// The lesson portal.
fn bilim() -> Site {
    let words: BTreeMap<String, Words> = read(&BILIM, "site.toml");
    let lessons: Vec<Lesson> = read_all(&BILIM, "lessons");
    let mut site = Builder::new(BILIM_HOST, &BILIM);
    for tag in TAGS {
        let words = &words[tag];
        let at = |rest| Page { tag, subject: "", rest };
        let assets = &site.assets;
        let mut pages = vec![(
            format!("/{tag}/"),
            FRONT,
            HomePage { page: at("/"), words, assets, subjects: &SUBJECTS, lessons: &lessons }.render(),
        )];
        for subject in SUBJECTS {
            let rest = format!("/{subject}/");
            let lessons = lessons.iter().filter(|lesson| lesson.subject == subject).collect();
            let page = Page { tag, subject, rest: &rest };
            pages.push((
                format!("/{tag}{rest}"),
                LESSON,
                SubjectPage { page, words, assets, subjects: &SUBJECTS, lessons }.render(),
            ));
        }
        for (number, lesson) in lessons.iter().enumerate() {
            let rest = format!("/{}/{}/", lesson.subject, lesson.slug);
            let view = LessonPage {
                page: Page { tag, subject: &lesson.subject, rest: &rest },
                words,
                assets,
                subjects: &SUBJECTS,
                lesson,
                text: lesson.text(tag),
                figure_height: height(&lesson.figure),
                next: lessons.get(number + 1),
            };
            pages.push((format!("/{tag}{rest}"), LESSON, view.render()));
        }
        for (rest, cache_control, title, note, is_sign_in) in [
            ("/account/", PRIVATE, &words.account, &words.sign_in_note, true),
            ("/teachers/", LESSON, &words.teachers, &words.teachers_note, false),
        ] {
            let view = NotePage { page: at(rest), words, assets, subjects: &SUBJECTS, title, note, is_sign_in };
            pages.push((format!("/{tag}{rest}"), cache_control, view.render()));
        }
        site.add_pages(tag, pages);
    }
    site.finish(&words["kk"].name, "site.css")
}

/// The small library.
fn kitap() -> Site {
    let words: BTreeMap<String, BookWords> = read(&KITAP, "site.toml");
    let pages: Vec<BookPage> = read_all(&KITAP, "pages");
    let mut site = Builder::new(KITAP_HOST, &KITAP);
    for tag in TAGS {
        let words = &words[tag];
        let assets = &site.assets;
        let page = Page { tag, subject: "", rest: "/" };
        let contents = BookPageView { page, words, assets, title: &words.tagline, text: None, pages: &pages }.render();
        let mut rendered = vec![(format!("/{tag}/"), FRONT, contents)];
        for page in &pages {
            let rest = format!("/{}/", page.slug);
            let text = page.text(tag);
            let view = BookPageView {
                page: Page { tag, subject: "", rest: &rest },
                words,
                assets,
                title: &text.title,
                text: Some(&text.text),
                pages: &pages,
            };
            rendered.push((format!("/{tag}{rest}"), LESSON, view.render()));
        }
        site.add_pages(tag, rendered);
    }
    site.finish(&words["kk"].name, "book.css")
}

/// A rendered page: its path, its `Cache-Control`, its markup.
type Rendered = (String, &'static str, askama::Result<String>);

/// Collects one site.
struct Builder {
    host: &'static str,
    folder: &'static Dir<'static>,
    assets: Assets,
    resources: BTreeMap<String, Resource>,
}

impl Builder {
    fn new(host: &'static str, folder: &'static Dir<'static>) -> Self {
        let assets = Assets::of(folder);
        let resources = assets.files.values().map(|(path, resource)| (path.clone(), resource.clone())).collect();
        Self { host, folder, assets, resources }
    }

    fn add_pages(&mut self, tag: &'static str, pages: Vec<Rendered>) {
        for (path, cache_control, markup) in pages {
            let body = Bytes::from(markup.expect("our templates write to memory and call nothing that can fail"));
            let page = Resource { content_type: "text/html; charset=utf-8", cache_control, language: Some(tag), body };
            self.resources.insert(path, page);
        }
    }

    /// Adds the front page, `robots.txt` and the sitemap of every page that is for everybody.
    fn finish(mut self, name: &str, sheet: &str) -> Site {
        let front = FrontPage { name, sheet, assets: &self.assets }.render();
        self.add_pages("kk", vec![("/".to_owned(), FRONT, front)]);
        let paths: Vec<String> = self
            .resources
            .iter()
            .filter(|(path, page)| page.is_page() && !page.is_private() && !path.contains("/teachers/"))
            .map(|(path, _)| path.clone())
            .collect();
        let sitemap = Sitemap { host: self.host, paths: &paths }.render();
        let sitemap = Bytes::from(sitemap.expect("our templates write to memory and call nothing that can fail"));
        let robots = self.folder.get_file("robots.txt").map(include_dir::File::contents).unwrap_or_default();
        for (path, content_type, body) in [
            ("/sitemap.xml", "application/xml", sitemap),
            ("/robots.txt", "text/plain; charset=utf-8", Bytes::from_static(robots)),
        ] {
            let resource = Resource { content_type, cache_control: LESSON, language: None, body };
            self.resources.insert(path.to_owned(), resource);
        }
        Site { host: self.host, resources: self.resources }
    }
}

/// The parts of pages, under names that carry a digest of their content.
struct Assets {
    /// By the name in the folder: the path it is served under, and what.
    files: BTreeMap<&'static str, (String, Resource)>,
}

impl Assets {
    fn of(folder: &'static Dir<'static>) -> Self {
        let mut files: Vec<_> = folder
            .get_dir("assets")
            .into_iter()
            .flat_map(Dir::files)
            .filter_map(|file| Some((file.path().file_name()?.to_str()?, file.contents())))
            .collect();
        // Style sheets name other files, and the sheet that imports comes after the one that is imported.
        files.sort_by_key(|(name, _)| match *name {
            "site.css" => 2,
            name if name.ends_with(".css") => 1,
            _ => 0,
        });
        let mut assets = Self { files: BTreeMap::new() };
        for (name, content) in files {
            assets.add(name, content);
        }
        assets
    }

    fn add(&mut self, name: &'static str, content: &'static [u8]) {
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let body = if extension == "css" { self.with_served_names(content) } else { Bytes::from_static(content) };
        let digest = blake3::hash(&body).to_hex();
        let path = format!("/assets/{stem}.{}.{extension}", &digest[..8]);
        let resource = Resource { content_type: media_type(extension), cache_control: ASSET, language: None, body };
        self.files.insert(name, (path, resource));
    }

    /// A style sheet with the files that it names replaced by those that are served.
    fn with_served_names(&self, content: &[u8]) -> Bytes {
        let mut sheet = String::from_utf8_lossy(content).into_owned();
        for (name, (path, _)) in &self.files {
            let served = path.trim_start_matches("/assets/");
            sheet = sheet.replace(&format!("url(\"{name}\")"), &format!("url(\"{served}\")"));
        }
        Bytes::from(sheet)
    }

    /// The path of a file of the `assets` folder; an unknown name stays as it is, and a test finds it.
    fn path<'a>(&'a self, name: &'a str) -> &'a str {
        self.files.get(name).map_or(name, |(path, _)| path)
    }
}

fn media_type(extension: &str) -> &'static str {
    match extension {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        "webm" => "video/webm",
        "vtt" => "text/vtt; charset=utf-8",
        "woff" => "font/woff",
        _ => "application/octet-stream",
    }
}

/// The height that a drawing says itself, so that the page keeps its place while it loads.
fn height(figure: &str) -> String {
    BILIM
        .get_file(format!("assets/{figure}"))
        .and_then(include_dir::File::contents_utf8)
        .and_then(|drawing| drawing.split_once(" height=\"")?.1.split_once('"'))
        .map_or_else(String::new, |(height, _)| height.to_owned())
}

/// Reads one embedded file. What is embedded was read by the tests, so failing here is a fault of the build.
fn read<T: serde::de::DeserializeOwned>(folder: &Dir<'_>, path: &str) -> T {
    let text = folder.get_file(path).and_then(include_dir::File::contents_utf8).expect("the demo's files are embedded");
    toml::from_str(text).expect("the demo's files were read by the tests")
}

/// Reads every file of an embedded folder, in the order of their names.
fn read_all<T: serde::de::DeserializeOwned>(folder: &Dir<'_>, path: &str) -> Vec<T> {
    let mut files: Vec<_> =
        folder.get_dir(path).into_iter().flat_map(Dir::files).map(include_dir::File::path).collect();
    files.sort();
    files.into_iter().map(|file| read(folder, &file.to_string_lossy())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every `href`, `src`, `srcset`, `poster` and `url()` in a text.
    fn references(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for mark in ["href=\"", "src=\"", "poster=\"", "srcset=\"", "url(\""] {
            for rest in text.split(mark).skip(1) {
                let value = rest.split('"').next().unwrap_or_default();
                for part in value.split(',') {
                    found.push(part.split_whitespace().next().unwrap_or_default().to_owned());
                }
            }
        }
        found
    }

    #[test]
    fn every_reference_on_every_page_leads_somewhere() {
        for site in sites() {
            for (path, resource) in &site.resources {
                let is_text = resource.is_page() || resource.content_type.starts_with("text/css");
                let text = if is_text { std::str::from_utf8(&resource.body).unwrap() } else { "" };
                for reference in references(text) {
                    let target = match reference.as_str() {
                        fragment if fragment.starts_with('#') => continue,
                        absolute if absolute.starts_with('/') => absolute.to_owned(),
                        relative => format!("/assets/{relative}"),
                    };
                    assert!(site.resources.contains_key(&target), "{}{path} names {reference}", site.host);
                }
            }
        }
    }

    #[test]
    fn there_are_some_sixty_pages_in_three_languages_in_little_space() {
        let all = sites();
        let pages =
            |tag| all.iter().flat_map(|site| site.resources.keys()).filter(|path| path.starts_with(tag)).count();
        assert_eq!(pages("/kk/"), pages("/ru/"));
        assert_eq!(pages("/kk/"), pages("/en/"));
        assert!(pages("/kk/") >= 20, "{}", pages("/kk/"));
        let bytes: usize = all.iter().flat_map(|site| site.resources.values()).map(|part| part.body.len()).sum();
        assert!(bytes < 1_200_000, "{bytes}");
    }

    #[test]
    fn every_page_says_its_language_and_title_and_describes_its_pictures() {
        for site in sites() {
            for (path, page) in site.resources.iter().filter(|(_, resource)| resource.is_page()) {
                let text = std::str::from_utf8(&page.body).unwrap();
                let tag = page.language.unwrap();
                assert!(text.contains(&format!("<html lang=\"{tag}\">")), "{path}");
                assert!(text.contains("<title>") && !text.contains("<title> ·"), "{path}");
                assert_eq!(text.matches("<h1").count(), 1, "{path}");
                for picture in text.split("<img").skip(1) {
                    let tag = picture.split('>').next().unwrap();
                    assert!(tag.contains(" alt=\"") && !tag.contains(" alt=\"\""), "{path}: {tag}");
                    assert!(!tag.contains(" height=\"\""), "{path}: {tag}");
                }
                assert!(!text.contains(" style=\"") && !text.contains("<style"), "{path}");
            }
        }
    }

    #[test]
    fn a_lesson_has_as_many_answers_as_tasks_in_every_language() {
        for lesson in read_all::<Lesson>(&BILIM, "lessons") {
            for tag in TAGS {
                let text = lesson.text(tag);
                assert_eq!(text.tasks.len(), text.answers.len(), "{} {tag}", lesson.slug);
                assert_eq!(text.legend.len(), lesson.kk.legend.len(), "{} {tag}", lesson.slug);
                assert!(text.text.len() > 500, "{} {tag}", lesson.slug);
                assert!(SUBJECTS.contains(&lesson.subject.as_str()));
            }
        }
    }

    #[test]
    fn the_account_is_private_and_the_sitemap_does_not_name_it() {
        let [bilim, _] = sites();
        assert!(bilim.resources["/kk/account/"].is_private());
        let sitemap = std::str::from_utf8(&bilim.resources["/sitemap.xml"].body).unwrap();
        assert!(sitemap.contains("<loc>http://bilim.localhost/ru/science/water-cycle/</loc>"));
        assert!(!sitemap.contains("account") && !sitemap.contains("teachers"));
    }
}
