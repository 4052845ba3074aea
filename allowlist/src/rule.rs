//! One rule of a site: which requests it is for, and what it says about them.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::Method;

use crate::glob::Glob;
use crate::site::Position;

/// What a site's file says about some of its paths. Plain values: `cache-policy` decides with them.
#[derive(Debug, Clone)]
pub struct Rule {
    pub(crate) path: Glob,
    pub(crate) query: Option<Glob>,
    pub(crate) methods: Vec<Method>,
    pub(crate) at: Position,
    pub(crate) ignore_query: Vec<Glob>,
    pub(crate) select_query: Option<Vec<Glob>>,
    pub(crate) languages: Vec<Box<str>>,

    /// Refuse such requests; the origin is not asked.
    pub refuse: bool,
    /// Never keep a response, whatever the origin says.
    pub never_store: bool,
    /// Everybody gets the same: drop cookies on the way to the origin and on the way back.
    pub anonymous: bool,
    /// A response is fresh for at least this long.
    pub fresh_min: Option<Duration>,
    /// A response is fresh for at most this long.
    pub fresh_max: Option<Duration>,
}

impl Rule {
    /// A rule for every request of a site, which says nothing.
    pub(crate) fn silent(at: Position) -> Rule {
        Rule {
            path: Glob::everything(),
            query: None,
            methods: Vec::new(),
            at,
            ignore_query: Vec::new(),
            select_query: None,
            languages: Vec::new(),
            refuse: false,
            never_store: false,
            anonymous: false,
            fresh_min: None,
            fresh_max: None,
        }
    }

    /// The pattern of its paths.
    pub fn path(&self) -> &Glob {
        &self.path
    }

    /// The pattern of its queries; None means any, and no query at all.
    pub fn query(&self) -> Option<&Glob> {
        self.query.as_ref()
    }

    /// Its methods; none means every method.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The names (patterns) of query parameters that don't select content.
    pub fn ignore_query(&self) -> &[Glob] {
        &self.ignore_query
    }

    /// The names (patterns) of the only query parameters that select content; `None` when no such list is written.
    pub fn select_query(&self) -> Option<&[Glob]> {
        self.select_query.as_deref()
    }

    /// The languages that its pages come in, the one for everybody else first. A request's `Accept-Language` becomes the
    /// one of them that it prefers; with none it stays as it is.
    pub fn languages(&self) -> &[Box<str>] {
        &self.languages
    }

    /// Where it was written.
    pub fn at(&self) -> Position {
        self.at
    }

    /// Whether the rule lets nothing be kept longer or shorter, or by more people, than the origin says.
    pub fn is_silent(&self) -> bool {
        !self.refuse && !self.never_store && !self.lets_store()
    }

    /// Whether the rule makes caching easier or longer, so that it has no meaning where nothing is cached.
    pub(crate) fn lets_store(&self) -> bool {
        self.anonymous || self.fresh_min.is_some() || self.fresh_max.is_some() || self.narrows_requests()
    }

    /// Whether the rule makes requests alike that a site may tell apart.
    pub(crate) fn narrows_requests(&self) -> bool {
        !self.ignore_query.is_empty() || self.select_query.is_some() || !self.languages.is_empty()
    }

    /// Whether the rule is for this request; `path` is normalised ([`crate::path::normalised`]).
    pub(crate) fn is_for(&self, method: &Method, path: &str, query: Option<&str>) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && self.path.matches(path)
            && self.query.as_ref().is_none_or(|glob| query.is_some_and(|query| glob.matches(query)))
    }

    /// Whether no request that is for `later` gets past this rule. May miss a case; never claims a wrong one.
    pub(crate) fn covers(&self, later: &Rule) -> bool {
        let methods = self.methods.is_empty()
            || (!later.methods.is_empty() && later.methods.iter().all(|method| self.methods.contains(method)));
        let query = match (&self.query, &later.query) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(earlier), Some(later)) => earlier.covers(later),
        };
        methods && query && self.path.covers(&later.path)
    }

    /// The query without the parameters that don't select content, in the order they came. Borrowed when nothing goes.
    ///
    /// The text is what stands behind `?`. A parameter is what stands between two `&`; its name ends at `=`. Names are
    /// compared as they are written: one with an escape in it is none that a list of ignored ones names, and may be any that
    /// a list of selecting ones does. So may one with a `;`, which some servers take for `&`.
    pub fn drop_ignored<'q>(&self, query: &'q str) -> Cow<'q, str> {
        let is_ignored = |parameter: &str| {
            let name = parameter.split('=').next().unwrap_or(parameter);
            let is_any = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(name));
            let may_select = |globs: &[Glob]| is_any(globs) || name.contains(['%', '+']) || parameter.contains(';');
            is_any(&self.ignore_query) || self.select_query.as_deref().is_some_and(|globs| !may_select(globs))
        };
        let is_silent = self.ignore_query.is_empty() && self.select_query.is_none();
        if is_silent || !query.split('&').any(is_ignored) {
            return Cow::Borrowed(query);
        }
        let mut kept = String::with_capacity(query.len());
        for parameter in query.split('&').filter(|parameter| !is_ignored(parameter)) {
            if !kept.is_empty() {
                kept.push('&');
            }
            kept.push_str(parameter);
        }
        Cow::Owned(kept)
    }
}

/// What the rule says, in the words of the file: `anonymous, fresh-min = "30d"`. Empty when it says nothing.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = Vec::new();
        let flags = [(self.refuse, "refuse"), (self.never_store, "never-store"), (self.anonymous, "anonymous")];
        said.extend(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| word.to_owned()));
        for (word, duration) in [("fresh-min", self.fresh_min), ("fresh-max", self.fresh_max)] {
            said.extend(duration.map(|duration| format!("{word} = \"{}\"", duration_words(duration))));
        }
        let names = |globs: &[Glob]| globs.iter().map(|glob| glob.as_str().to_owned()).collect::<Vec<_>>();
        if !self.ignore_query.is_empty() {
            said.push(format!("ignore-query = {:?}", names(&self.ignore_query)));
        }
        if let Some(globs) = &self.select_query {
            said.push(format!("select-query = {:?}", names(globs)));
        }
        if !self.languages.is_empty() {
            said.push(format!("languages = {:?}", self.languages));
        }
        f.write_str(&said.join(", "))
    }
}

/// A duration as a file says it, in the largest unit that it is whole in.
fn duration_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (size, unit) = [(86_400, "d"), (3_600, "h"), (60, "min")]
        .into_iter()
        .find(|(size, _)| seconds != 0 && seconds.is_multiple_of(*size))
        .unwrap_or((1, "s"));
    format!("{}{unit}", seconds / size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::Source;

    fn rule(ignore: &[&str]) -> Rule {
        let mut rule = Rule::silent(Position { source: Source::File, line: 1, column: 1 });
        rule.ignore_query = ignore.iter().map(|text| Glob::text(text).unwrap()).collect();
        rule
    }

    #[test]
    fn a_rule_is_told_in_the_words_of_the_file() {
        assert_eq!(rule(&[]).to_string(), "");
        let mut rule = rule(&["utm_*"]);
        rule.anonymous = true;
        rule.fresh_min = Some(Duration::from_secs(90));
        rule.fresh_max = Some(Duration::from_secs(14 * 86_400));
        let told = "anonymous, fresh-min = \"90s\", fresh-max = \"14d\", ignore-query = [\"utm_*\"]";
        assert_eq!(rule.to_string(), told);
        rule.select_query = Some(vec![Glob::text("id").unwrap()]);
        rule.languages = vec!["kk".into(), "ru".into()];
        assert_eq!(rule.to_string(), format!("{told}, select-query = [\"id\"], languages = [\"kk\", \"ru\"]"));
        assert_eq!(duration_words(Duration::ZERO), "0s");
        assert_eq!(duration_words(Duration::from_secs(7200)), "2h");
    }

    #[test]
    fn parameters_that_select_nothing_are_dropped() {
        let rule = rule(&["utm_*", "fbclid"]);
        for (query, kept) in [
            ("", ""),
            ("id=1", "id=1"),
            ("utm_source=a", ""),
            ("id=1&utm_source=a", "id=1"),
            ("utm_source=a&id=1&fbclid=x&lang=kk", "id=1&lang=kk"),
            ("fbclid&id", "id"),
            ("fbclids=1", "fbclids=1"),
            ("a=utm_x", "a=utm_x"),
        ] {
            assert_eq!(rule.drop_ignored(query), kept, "{query}");
        }
        assert!(matches!(rule.drop_ignored("id=1&&b"), Cow::Borrowed("id=1&&b")));
        assert_eq!(rule.drop_ignored("%75tm_source=a"), "%75tm_source=a", "what is written otherwise may be another");
    }

    #[test]
    fn parameters_that_alone_select_are_kept() {
        let mut rule = rule(&[]);
        rule.select_query = Some(["id", "page*"].map(|text| Glob::text(text).unwrap()).into());
        for (query, kept) in [
            ("", ""),
            ("id=1", "id=1"),
            ("b=2&id=1&a=3&page_2=x", "id=1&page_2=x"),
            ("a=1", ""),
            ("ID=1", ""),
            ("id=1&&id=2&", "id=1&id=2"),
            ("%69d=1&i+d=2", "%69d=1&i+d=2"),
            ("a=1;id=2", "a=1;id=2"),
        ] {
            assert_eq!(rule.drop_ignored(query), kept, "{query}");
        }
        rule.select_query = Some(Vec::new());
        assert_eq!(rule.drop_ignored("id=1"), "", "an empty list: no parameter selects");
        rule.select_query = None;
        assert_eq!(rule.drop_ignored("id=1"), "id=1", "no list: all do");
    }
}
