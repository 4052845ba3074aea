//! Where findings are gathered while a file is read, so that all of them can be told at once.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use super::limits::DIAGNOSTICS_MAX;
use crate::diagnostic::{Diagnostic, Severity, excerpt};
use crate::site::{Position, Source};

/// A value, and where it was written.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    /// What a finding about it underlines in the file that is read.
    pub(super) span: Range<usize>,
    /// Where it was really written, which may be the catalogue.
    pub(super) position: Position,
}

impl<T> At<T> {
    pub(super) fn map<U>(self, with: impl FnOnce(T) -> U) -> At<U> {
        At { value: with(self.value), span: self.span, position: self.position }
    }
}

/// The findings of one text.
pub(super) struct Report<'t> {
    file: Arc<str>,
    text: &'t str,
    source: Source,
    line_starts: Vec<usize>,
    /// The last position told: (offset, line index, column), to count on from when a line is very long.
    last: Cell<(usize, usize, usize)>,
    diagnostics: Vec<Diagnostic>,
    untold: usize,
}

impl<'t> Report<'t> {
    pub(super) fn new(file: &str, source: Source, text: &'t str) -> Report<'t> {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Report {
            file: file.into(),
            text,
            source,
            line_starts,
            last: Cell::new((0, 0, 0)),
            diagnostics: Vec::new(),
            untold: 0,
        }
    }

    pub(super) fn file(&self) -> &Arc<str> {
        &self.file
    }

    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    pub(super) fn at<T>(&self, value: T, span: Range<usize>) -> At<T> {
        let position = self.position(span.start);
        At { value, span, position }
    }

    pub(super) fn position(&self, offset: usize) -> Position {
        let line = self.line_starts.partition_point(|&start| start <= offset).saturating_sub(1);
        let line_start = self.line_starts.get(line).copied().unwrap_or_default();
        let (known, known_line, known_column) = self.last.get();
        let (from, before) = if known_line == line && known <= offset && known >= line_start {
            (known, known_column)
        } else {
            (line_start, 0)
        };
        let column = before + self.text.get(from..offset).map_or(0, |text| text.chars().count());
        self.last.set((offset, line, column));
        let counted = |index: usize| u32::try_from(index + 1).unwrap_or(u32::MAX);
        Position { source: self.source, line: counted(line), column: counted(column) }
    }

    pub(super) fn error(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        label: &str,
        help: impl Into<String>,
    ) {
        self.push(Severity::Error, span, message.into(), label, help.into());
    }

    pub(super) fn warning(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        label: &str,
        help: impl Into<String>,
    ) {
        self.push(Severity::Warning, span, message.into(), label, help.into());
    }

    fn push(&mut self, severity: Severity, span: &Range<usize>, message: String, label: &str, help: String) {
        // Warnings give way, so that an error is never among those that are not told.
        if self.diagnostics.len() >= DIAGNOSTICS_MAX {
            self.untold += 1;
            let warning = self.diagnostics.iter().rposition(|told| told.severity == Severity::Warning);
            match warning {
                Some(index) if severity == Severity::Error => {
                    self.diagnostics.swap_remove(index);
                }
                _ => return,
            }
        }
        let position = self.position(span.start);
        let (excerpt, underlined) = excerpt(self.text, span);
        self.diagnostics.push(Diagnostic {
            severity,
            file: Arc::clone(&self.file),
            line: position.line,
            column: position.column,
            span: span.clone(),
            message,
            label: label.to_owned(),
            help: Some(help).filter(|help| !help.is_empty()),
            excerpt,
            underlined,
        });
    }

    pub(super) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// All findings in the order of the file, and how many more there were.
    pub(super) fn finish(mut self) -> (Vec<Diagnostic>, usize) {
        self.diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
        (self.diagnostics, self.untold)
    }
}
