//! What is wrong with a file, where, and what to write instead.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// How much of a line is shown behind the underlined text, in bytes: a list of hosts may be one endless line.
const LINE_TAIL_BYTES_MAX: usize = 120;

/// Whether a file can be used in spite of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is used, but something in it has no effect or not the one that it seems to have.
    Warning,
    /// The file is refused.
    Error,
}

/// One finding in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub(crate) severity: Severity,
    pub(crate) file: Arc<str>,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) label: String,
    pub(crate) help: Option<String>,
    /// The line of the span, up to a little behind it.
    pub(crate) excerpt: String,
    /// The span within the excerpt.
    pub(crate) underlined: Range<usize>,
}

impl Diagnostic {
    /// A finding about `span` (in bytes) of `text`, for other files that people edit. `label` stands under the
    /// underlined text, `help` says what to write instead.
    pub fn new(
        severity: Severity,
        (file, text): (&str, &str),
        span: Range<usize>,
        message: impl Into<String>,
        label: &str,
        help: Option<String>,
    ) -> Self {
        let start = floor(text, span.start.min(text.len()));
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let counted = |count: usize| u32::try_from(count + 1).unwrap_or(u32::MAX);
        let (excerpt, underlined) = excerpt(text, &span);
        Self {
            severity,
            file: file.into(),
            line: counted(before.matches('\n').count()),
            column: counted(before.get(line_start..).unwrap_or_default().chars().count()),
            span,
            message: message.into(),
            label: label.to_owned(),
            help,
            excerpt,
            underlined,
        }
    }

    /// Whether the file is refused for it.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The file's name, as it was given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, counted from 1.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The column, counted from 1, in characters.
    pub fn column(&self) -> u32 {
        self.column
    }

    /// The offending text, in bytes of the file.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// What is wrong, in one sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to write instead.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The finding as several lines of text, with the offending text underlined.
    pub fn render(&self, colour: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let primary = AnnotationKind::Primary.span(self.underlined.clone()).label(&self.label);
        let snippet = Snippet::source(&self.excerpt)
            .line_start(usize::try_from(self.line).unwrap_or(usize::MAX))
            .path(&*self.file)
            .annotation(primary);
        let mut group: Group<'_> = level.primary_title(&self.message).element(snippet);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.decor_style(DecorStyle::Ascii).render(&[group])
    }
}

/// One line: `file:line:column: message`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

/// The line around the start of a span, and the span within it. A span of several lines is shown to the first's end.
pub(crate) fn excerpt(text: &str, span: &Range<usize>) -> (String, Range<usize>) {
    let start = floor(text, span.start.min(text.len()));
    let end = floor(text, span.end.clamp(start, text.len()));
    let (before, behind) = text.split_at(start);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = behind.find(['\n', '\r']).map_or(text.len(), |newline| start + newline);
    let end = end.min(line_end);
    let line_end = floor(text, line_end.min(end + LINE_TAIL_BYTES_MAX)).max(end);
    let line = text.get(line_start..line_end).unwrap_or_default();
    (line.to_owned(), start - line_start..end - line_start)
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A text from outside as it may stand in a message: short, and without control characters.
pub(crate) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut out: String = text.chars().take(CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_knows_its_line_and_column_in_characters() {
        let text = "a = 1\nәріп = \"қате\"\n";
        let start = text.find("\"қате").unwrap();
        let found = Diagnostic::new(Severity::Error, ("f.toml", text), start..start + 10, "wrong", "here", None);
        assert_eq!((found.line(), found.column()), (2, 8));
        assert_eq!(found.to_string(), "f.toml:2:8: wrong");
        assert!(found.render(false).contains("^^^^^^ here"), "{}", found.render(false));
    }

    #[test]
    fn a_span_past_the_text_is_no_panic() {
        let found = Diagnostic::new(Severity::Warning, ("f", "қ"), 1..99, "m", "", None);
        assert_eq!((found.line(), found.column()), (1, 1));
        let _ = found.render(true);
    }
}
