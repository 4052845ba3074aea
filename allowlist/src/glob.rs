//! Patterns of paths, queries and parameter names.
//!
//! `*` is any run within a segment, `**` any run at all, `?` one character; `/**/` also matches a single slash.
//! Queries and names have no segments: there `*` is any run at all.
//!
//! Matching never goes back. The usual shapes (a literal, a literal and `**`, a wildcard between two literals)
//! are compared directly; all others run as a set of states over the bytes, so that the time is the length of
//! the path times the length of the pattern at worst, whatever anybody writes.

use std::fmt;

/// Longest pattern in bytes, after characters beyond ASCII are percent-encoded.
///
/// Long enough for any path that a person writes; short enough that all states of a pattern fit on the stack.
pub const PATTERN_BYTES_MAX: usize = 500;

/// Words of a state set: one bit for each token of the longest pattern, of which no byte makes two, and the end.
const WORDS: usize = (PATTERN_BYTES_MAX + 1).div_ceil(64);

/// A compiled pattern.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob {
    written: Box<str>,
    tokens: Box<[Token]>,
    /// What stands before the first wildcard; as many tokens as it has bytes.
    prefix: Box<str>,
    shape: Shape,
    /// For each place in a pattern that fits into one word: the places that need no byte to reach from it. Only
    /// where `shape` is `Other`; empty for longer patterns, which are rare and slower.
    reached: Box<[u64]>,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// There is nothing.
    #[error("the pattern is empty")]
    Empty,
    /// Longer than [`PATTERN_BYTES_MAX`].
    #[error("the pattern is longer than {PATTERN_BYTES_MAX} bytes")]
    TooLong,
    /// A path pattern that begins neither with `/` nor with `**`, so that no path matches it.
    #[error("a path begins with \"/\"")]
    NoSlash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// One byte that is not a slash.
    OneInSegment,
    /// One byte.
    One,
    /// Any run without a slash.
    RunInSegment,
    /// Any run.
    Run,
    /// The two tokens that follow, `Run` and a slash, may be left out.
    MaySkipTwo,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Literal,
    /// Prefix, any run, this suffix.
    RunThen(Box<str>),
    /// Prefix, any run without a slash, this suffix.
    RunInSegmentThen(Box<str>),
    Other,
}

/// What looking ahead has shown.
enum Wait<'t> {
    /// The last run takes all that is left.
    Matches,
    /// What is waited for does not come.
    Fails,
    /// The next byte that matters is the first of these.
    For(&'t [u8]),
}

/// What the next byte of an input is known to be.
#[derive(Debug, Clone, Copy)]
enum Symbol {
    Byte(u8),
    NotSlash,
    Any,
}

impl Glob {
    /// Compiles a pattern of paths.
    ///
    /// # Errors
    /// [`GlobError`] when it is empty, too long, or can match no path.
    pub(crate) fn path(written: &str) -> Result<Glob, GlobError> {
        if !written.is_empty() && !written.starts_with('/') && !written.starts_with("**") {
            return Err(GlobError::NoSlash);
        }
        Self::compile(written, &crate::path::escapes(written), true)
    }

    /// Compiles a pattern of queries or of parameter names.
    ///
    /// # Errors
    /// [`GlobError`] when it is empty or too long.
    pub(crate) fn text(written: &str) -> Result<Glob, GlobError> {
        Self::compile(written, written, false)
    }

    /// The pattern of every path.
    pub(crate) fn everything() -> Glob {
        Glob {
            written: "/**".into(),
            tokens: [Token::Byte(b'/'), Token::Run].into(),
            prefix: "/".into(),
            shape: Shape::RunThen("".into()),
            reached: Box::default(),
        }
    }

    fn compile(written: &str, text: &str, has_segments: bool) -> Result<Glob, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(GlobError::TooLong);
        }
        let tokens = tokens(text.as_bytes(), has_segments);
        let is_byte = |token: &Token| matches!(token, Token::Byte(_));
        let literals = tokens.iter().take_while(|token| is_byte(token)).count();
        let rest = tokens.get(literals..).unwrap_or_default();
        let shape = match rest.split_first() {
            None => Shape::Literal,
            Some((Token::Run, rest)) if rest.iter().all(is_byte) => Shape::RunThen(bytes(rest)),
            Some((Token::RunInSegment, rest)) if rest.iter().all(is_byte) => Shape::RunInSegmentThen(bytes(rest)),
            Some(_) => Shape::Other,
        };
        let prefix = bytes(tokens.get(..literals).unwrap_or_default());
        let mut glob = Glob { written: written.into(), tokens: tokens.into(), prefix, shape, reached: Box::default() };
        if glob.shape == Shape::Other && glob.tokens.len() < 64 {
            glob.reached = (0..=glob.tokens.len()).map(|at| glob.start(at).first_word()).collect();
        }
        Ok(glob)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether the pattern is for the whole text.
    pub fn matches(&self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix(&*self.prefix) else { return false };
        match &self.shape {
            Shape::Literal => rest.is_empty(),
            Shape::RunThen(suffix) => rest.ends_with(&**suffix),
            Shape::RunInSegmentThen(suffix) => rest.strip_suffix(&**suffix).is_some_and(|run| !run.contains('/')),
            Shape::Other if self.reached.is_empty() => self.runs_through(rest.as_bytes()),
            Shape::Other => self.runs_through_in_a_word(rest.as_bytes()),
        }
    }

    /// Whether every text that `other` matches is matched by this pattern too. May say no where the answer is yes.
    pub(crate) fn covers(&self, other: &Glob) -> bool {
        let mut states = self.start(0);
        let mut symbols = other.tokens.iter();
        while let Some(token) = symbols.next() {
            states = match token {
                Token::MaySkipTwo => {
                    symbols.next();
                    symbols.next();
                    let through = self.step(&self.kept(&states, Token::Run), Symbol::Byte(b'/'));
                    states.and(&through)
                }
                Token::Byte(byte) => self.step(&states, Symbol::Byte(*byte)),
                Token::OneInSegment => self.step(&states, Symbol::NotSlash),
                Token::One => self.step(&states, Symbol::Any),
                Token::RunInSegment | Token::Run => self.kept(&states, *token),
            };
        }
        states.has(self.tokens.len())
    }

    /// Whether the pattern has a `?` with a `=` behind it: most likely a query in a path's place.
    pub(crate) fn looks_like_a_query(written: &str) -> bool {
        written.split_once('?').is_some_and(|(_, rest)| rest.contains('='))
    }

    /// Runs the tokens behind the literal prefix over a text.
    fn runs_through(&self, text: &[u8]) -> bool {
        let mut states = self.start(self.prefix.len());
        for &byte in text {
            states = self.step(&states, Symbol::Byte(byte));
            if states.is_empty() {
                return false;
            }
        }
        states.has(self.tokens.len())
    }

    /// The same as [`Glob::runs_through`] for patterns whose places fit into one word.
    fn runs_through_in_a_word(&self, text: &[u8]) -> bool {
        let reached = |at: usize| self.reached.get(at).copied().unwrap_or_default();
        let mut states = reached(self.prefix.len());
        let mut rest = text;
        loop {
            rest = match self.wait(states, rest) {
                Wait::Matches => return true,
                Wait::Fails => return false,
                Wait::For(rest) => rest,
            };
            let Some((&byte, behind)) = rest.split_first() else { break };
            let mut next = 0;
            let mut todo = states;
            while todo != 0 {
                let at = todo.trailing_zeros() as usize;
                todo &= todo - 1;
                next |= match self.tokens.get(at) {
                    Some(Token::Byte(expected)) if *expected == byte => reached(at + 1),
                    Some(Token::One) => reached(at + 1),
                    Some(Token::OneInSegment) if byte != b'/' => reached(at + 1),
                    Some(Token::Run) => reached(at),
                    Some(Token::RunInSegment) if byte != b'/' => reached(at),
                    _ => 0,
                };
            }
            states = next;
            rest = behind;
        }
        states & (1 << self.tokens.len()) != 0
    }

    /// Looks ahead where one run waits for one byte, which is most of the time in most patterns.
    fn wait<'t>(&self, states: u64, rest: &'t [u8]) -> Wait<'t> {
        if states == 0 {
            return Wait::Fails;
        }
        let first = states.trailing_zeros() as usize;
        let (run, awaited) = (self.tokens.get(first), self.tokens.get(first + 1));
        if states == 0b11 << first
            && let Some(Token::Byte(byte)) = awaited
        {
            let is_end = |b: &u8| b == byte || (run == Some(&Token::RunInSegment) && *b == b'/');
            if matches!(run, Some(Token::Run | Token::RunInSegment)) {
                return match rest.iter().position(is_end).map(|at| rest.split_at(at).1) {
                    Some(found) if found.first() == Some(byte) => Wait::For(found),
                    _ => Wait::Fails,
                };
            }
        }
        let last = self.tokens.len().saturating_sub(1);
        if self.tokens.last() == Some(&Token::Run) && states & (1 << last) != 0 {
            return Wait::Matches;
        }
        Wait::For(rest)
    }

    fn start(&self, at: usize) -> States {
        let mut states = States::default();
        self.add(&mut states, at);
        states
    }

    /// Adds a state and those that need no byte to reach from it.
    fn add(&self, states: &mut States, at: usize) {
        if states.has(at) {
            return;
        }
        states.set(at);
        match self.tokens.get(at) {
            Some(Token::Run | Token::RunInSegment) => self.add(states, at + 1),
            Some(Token::MaySkipTwo) => {
                self.add(states, at + 1);
                self.add(states, at + 3);
            }
            _ => {}
        }
    }

    /// The states after one more byte of this kind, whichever byte of the kind it is.
    fn step(&self, states: &States, symbol: Symbol) -> States {
        let mut next = States::default();
        states.each(|at| {
            let Some(token) = self.tokens.get(at) else { return };
            let is_in_segment = !matches!(symbol, Symbol::Byte(b'/') | Symbol::Any);
            match (token, symbol) {
                (Token::Byte(expected), Symbol::Byte(byte)) if *expected == byte => self.add(&mut next, at + 1),
                (Token::One, _) => self.add(&mut next, at + 1),
                (Token::OneInSegment, _) if is_in_segment => self.add(&mut next, at + 1),
                (Token::Run, _) => self.add(&mut next, at),
                (Token::RunInSegment, _) if is_in_segment => self.add(&mut next, at),
                _ => {}
            }
        });
        next
    }

    /// The states that surely hold after any number of bytes of a run: those that such a run does not leave.
    fn kept(&self, states: &States, run: Token) -> States {
        let mut kept = States::default();
        states.each(|at| match self.tokens.get(at) {
            Some(Token::Run) => self.add(&mut kept, at),
            Some(Token::RunInSegment) if run == Token::RunInSegment => self.add(&mut kept, at),
            _ => {}
        });
        kept
    }
}

/// Splits a pattern into tokens; runs beside runs become one, so that patterns with the same meaning look the same.
fn tokens(text: &[u8], has_segments: bool) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let stars = text.iter().skip(at).take_while(|&&byte| byte == b'*').count();
        match (byte, stars) {
            (b'*', 1) if has_segments => push_run(&mut tokens, Token::RunInSegment),
            (b'*', _) => {
                let begins_segment = at == 0 || text.get(at - 1) == Some(&b'/');
                if has_segments && begins_segment && text.get(at + stars) == Some(&b'/') {
                    // `**/`: any number of whole segments, none included.
                    tokens.extend([Token::MaySkipTwo, Token::Run, Token::Byte(b'/')]);
                    at += 1;
                } else {
                    push_run(&mut tokens, Token::Run);
                }
            }
            (b'?', _) if has_segments => tokens.push(Token::OneInSegment),
            (b'?', _) => tokens.push(Token::One),
            (byte, _) => tokens.push(Token::Byte(byte)),
        }
        at += stars.max(1);
    }
    tokens
}

fn push_run(tokens: &mut Vec<Token>, run: Token) {
    match (tokens.last(), run) {
        (Some(Token::Run), _) | (Some(Token::RunInSegment), Token::RunInSegment) => {}
        (Some(Token::RunInSegment), _) => {
            tokens.pop();
            push_run(tokens, Token::Run);
        }
        _ if tokens.ends_with(&[Token::MaySkipTwo, Token::Run, Token::Byte(b'/')]) => {
            // Any segments and then any run is any run: `/**/*.mp4` is a literal, a run and a literal.
            tokens.truncate(tokens.len() - 3);
            push_run(tokens, Token::Run);
        }
        _ => tokens.push(run),
    }
}

/// The literal that such tokens spell. Patterns are ASCII or cut at wildcards, which are, so it is valid text.
fn bytes(tokens: &[Token]) -> Box<str> {
    let bytes: Vec<u8> = tokens
        .iter()
        .filter_map(|token| match token {
            Token::Byte(byte) => Some(*byte),
            _ => None,
        })
        .collect();
    String::from_utf8(bytes).expect("a pattern is text, cut only beside ASCII characters").into()
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({})", self.written)
    }
}

/// A set of places in a pattern.
#[derive(Clone, Default)]
struct States([u64; WORDS]);

impl States {
    fn set(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    fn first_word(&self) -> u64 {
        self.0.first().copied().unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    fn and(&self, other: &States) -> States {
        let mut both = States::default();
        for ((both, a), b) in both.0.iter_mut().zip(self.0).zip(other.0) {
            *both = a & b;
        }
        both
    }

    fn each(&self, mut visit: impl FnMut(usize)) {
        for (index, &word) in self.0.iter().enumerate() {
            let mut word = word;
            while word != 0 {
                let bit = word.trailing_zeros() as usize;
                visit(index * 64 + bit);
                word &= word - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_match(pattern: &str, path: &str) -> bool {
        Glob::path(pattern).unwrap().matches(path)
    }

    #[test]
    fn a_pattern_is_for_these_paths_and_not_for_those() {
        for (pattern, yes, no) in [
            ("/", vec!["/"], vec!["/a"]),
            ("/kk/", vec!["/kk/"], vec!["/kk", "/kk/a"]),
            ("/kk/*", vec!["/kk/", "/kk/a"], vec!["/kk/a/", "/kk/a/b", "/kk"]),
            ("/kk/**", vec!["/kk/", "/kk/a", "/kk/a/b/"], vec!["/kk", "/ru/a"]),
            ("/**", vec!["/", "/a/b"], vec![]),
            ("**", vec!["/", "/a/b"], vec![]),
            ("/a?c", vec!["/abc"], vec!["/ac", "/a/c", "/abbc"]),
            ("/**/a.js", vec!["/a.js", "/x/a.js", "/x/y/a.js"], vec!["/xa.js", "/x/ya.js"]),
            ("**/a.js", vec!["/a.js", "/x/a.js"], vec!["/xa.js"]),
            ("/**/*.mp4", vec!["/a.mp4", "/x/y/a.mp4", "/.mp4"], vec!["/a.mp3", "/a.mp4/"]),
            ("/*/lessons/*", vec!["/kk/lessons/1"], vec!["/lessons/1", "/kk/x/lessons/1", "/kk/lessons/1/2"]),
            ("/a/**/b/**/c", vec!["/a/b/c", "/a/x/b/y/z/c", "/a/b/b/c"], vec!["/a/c", "/a/xb/c", "/a/b/xc"]),
            ("/v*/api/**", vec!["/v1/api/", "/v/api/x"], vec!["/v1/x/api/y"]),
            ("/сабақ/*", vec!["/%D1%81%D0%B0%D0%B1%D0%B0%D2%9B/1"], vec!["/сабақ/1"]),
            ("/a b", vec!["/a%20b"], vec![]),
        ] {
            yes.iter().for_each(|path| assert!(is_match(pattern, path), "{pattern} should match {path}"));
            no.iter().for_each(|path| assert!(!is_match(pattern, path), "{pattern} should not match {path}"));
        }
    }

    #[test]
    fn a_query_has_no_segments() {
        let glob = Glob::text("*token=*").unwrap();
        assert!(glob.matches("a=/x/&token=/y"));
        assert!(!glob.matches("a=1"));
        assert!(Glob::text("id=?").unwrap().matches("id=/"));
    }

    #[test]
    fn what_can_match_nothing_is_refused() {
        assert_eq!(Glob::path(""), Err(GlobError::Empty));
        assert_eq!(Glob::path("*.mp4"), Err(GlobError::NoSlash));
        assert_eq!(Glob::path("kk/**"), Err(GlobError::NoSlash));
        assert_eq!(Glob::path(&format!("/{}", "a".repeat(500))), Err(GlobError::TooLong));
        // Six bytes in a path for one letter.
        assert_eq!(Glob::path(&format!("/{}", "қ".repeat(100))), Err(GlobError::TooLong));
        assert!(Glob::path(&format!("/{}", "**/".repeat(166))).is_ok());
    }

    #[test]
    fn a_hostile_pattern_costs_no_more_than_its_length() {
        // Would take longer than the universe with going back: counted in steps, not in time.
        let pattern = format!("/{}b", "*a".repeat(200));
        let glob = Glob::path(&pattern).unwrap();
        assert_eq!(glob.shape, Shape::Other);
        assert!(!glob.matches(&format!("/{}", "a".repeat(8000))));
        let deep = Glob::path(&format!("/{}b", "**/a".repeat(120))).unwrap();
        assert!(!deep.matches(&"/a".repeat(4000)));
    }

    #[test]
    fn the_longest_pattern_still_matches() {
        let pattern = format!("/{}x", "**/".repeat(166));
        assert_eq!(pattern.len(), PATTERN_BYTES_MAX);
        assert!(is_match(&pattern, "/x"));
        assert!(is_match(&pattern, "/a/b/x"));
        assert!(!is_match(&pattern, "/a/b/y"));
    }

    #[test]
    fn an_earlier_pattern_may_leave_nothing_for_a_later_one() {
        for (earlier, later, covers) in [
            ("/**", "/kk/**", true),
            ("/**", "**", false), // `**` alone would match a text that is no path.
            ("**", "/**", true),
            ("/kk/**", "/kk/*/x", true),
            ("/kk/**", "/kk/", true),
            ("/kk/**", "/kk", false),
            ("/kk/*", "/kk/**", false),
            ("/kk/**", "/ru/**", false),
            ("/**/*.mp4", "/video/**/*.mp4", true),
            ("/**/*.mp4", "/video/a.mp4", true),
            ("/**/x", "/a/**/x", true),
            ("/**/x", "/**/y/x", true),
            ("/a/**/x", "/**/x", false),
            ("/a?", "/ab", true),
            ("/a*", "/a?", true),
            ("/a?", "/a*", false),
            ("/v*/api/**", "/v1/api/users", true),
            ("/v1/api/users", "/v1/api/users", true),
        ] {
            let (a, b) = (Glob::path(earlier).unwrap(), Glob::path(later).unwrap());
            assert_eq!(a.covers(&b), covers, "{earlier} before {later}");
        }
    }

    /// The meaning, told in the slowest and plainest way.
    fn naive(pattern: &[u8], text: &[u8], begins_segment: bool) -> bool {
        let any_run = |rest: &[u8], stops_at_slash: bool| {
            (0..=text.len()).any(|n| (!stops_at_slash || !text[..n].contains(&b'/')) && naive(rest, &text[n..], false))
        };
        match pattern {
            [] => text.is_empty(),
            [b'*', b'*', b'/', rest @ ..] if begins_segment => {
                naive(rest, text, true) || (0..text.len()).any(|n| text[n] == b'/' && naive(rest, &text[n + 1..], true))
            }
            [b'*', b'*', ..] => {
                let stars = pattern.iter().take_while(|&&b| b == b'*').count();
                any_run(&pattern[stars..], false)
            }
            [b'*', rest @ ..] => any_run(rest, true),
            [b'?', rest @ ..] => text.first().is_some_and(|&b| b != b'/') && naive(rest, &text[1..], false),
            [byte, rest @ ..] => text.first() == Some(byte) && naive(rest, &text[1..], *byte == b'/'),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn a_pattern_means_what_the_plain_telling_says(pattern in "/(a|b|/|\\*|\\*\\*|\\*\\*/|\\?){0,8}", path in "/[ab/]{0,10}") {
            prop_assume!(!pattern.contains("***"));
            prop_assert_eq!(is_match(&pattern, &path), naive(pattern.as_bytes(), path.as_bytes(), true));
        }

        #[test]
        fn one_word_and_many_say_the_same(pattern in "/(a|b|/|\\*|\\*\\*|\\*\\*/|\\?){0,12}", path in "/[ab/]{0,14}") {
            let glob = Glob::path(&pattern).unwrap();
            if !glob.reached.is_empty() && let Some(rest) = path.strip_prefix(&*glob.prefix) {
                prop_assert_eq!(glob.runs_through_in_a_word(rest.as_bytes()), glob.runs_through(rest.as_bytes()));
            }
        }

        #[test]
        fn what_a_pattern_covers_it_matches(
            earlier in "/(a|b|/|\\*|\\*\\*|\\*\\*/|\\?){0,5}",
            later in "/(a|b|/|\\*|\\*\\*|\\*\\*/|\\?){0,5}",
            path in "/[ab/]{0,8}",
        ) {
            let (earlier, later) = (Glob::path(&earlier).unwrap(), Glob::path(&later).unwrap());
            if earlier.covers(&later) && later.matches(&path) {
                prop_assert!(earlier.matches(&path));
            }
        }

        #[test]
        fn any_text_is_a_pattern_or_an_error(text in "\\PC{0,60}", path in "/\\PC{0,20}") {
            if let Ok(glob) = Glob::path(&text) {
                glob.matches(&path);
                glob.covers(&Glob::everything());
            }
        }
    }
}
