//! Typed values out of a TOML tree; each says what it expected when it finds something else.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::limits::{LIST_MAX, TEXT_CHARS_MAX};
use super::report::{At, Report};
use crate::diagnostic::shown;

/// Refuses keys that are not among the known ones, with the one that was probably meant.
pub(super) fn check_keys(report: &mut Report<'_>, table: &DeTable<'_>, known: &[&str], what: &str) {
    for key in table.keys() {
        let name: &str = key.get_ref();
        if known.contains(&name) {
            continue;
        }
        let help = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("{what} can have: {}", known.join(", ")),
        };
        report.error(&key.span(), format!("unknown key `{}` in {what}", shown(name)), "not known", help);
    }
}

/// The known word that differs by a slip of the hand, if there is one.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.replace('_', "-").to_ascii_lowercase();
    let slips_max = (word.chars().count() / 3).clamp(1, 3);
    known
        .iter()
        .map(|candidate| (edits(&word, candidate), *candidate))
        .filter(|(edits, _)| *edits <= slips_max)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, left out, changed or swapped with a neighbour to make one word of the other.
pub(crate) fn edits(a: &str, b: &str) -> usize {
    /// Longer texts are no slip of the hand.
    const CHARS_MAX: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > CHARS_MAX || b.len() > CHARS_MAX {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

/// The value of a key, if it is there.
fn value<'a, 'i>(table: &'a DeTable<'i>, key: &str) -> Option<&'a Spanned<DeValue<'i>>> {
    table.get(key)
}

fn wrong_type(report: &mut Report<'_>, key: &str, value: &Spanned<DeValue<'_>>, expected: &str, example: &str) {
    let message = format!("`{key}` must be {expected}");
    let label = format!("this is {}", described(value.get_ref()));
    report.error(&value.span(), message, &label, format!("write for example: {key} = {example}"));
}

fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A text; `example` shows one in a message, with its quotes.
pub(super) fn text(report: &mut Report<'_>, table: &DeTable<'_>, key: &str, example: &str) -> Option<At<String>> {
    let value = value(table, key)?;
    match value.get_ref().as_str() {
        Some(text) => Some(report.at(text.to_owned(), value.span())),
        None => {
            wrong_type(report, key, value, "a text in quotes", example);
            None
        }
    }
}

/// A text that people read: not empty, not too long, on one line.
pub(super) fn title(report: &mut Report<'_>, text: At<String>) -> Option<At<String>> {
    let trimmed = text.value.trim();
    if trimmed.is_empty() || trimmed.chars().any(char::is_control) || trimmed.chars().count() > TEXT_CHARS_MAX {
        let message = format!("this text must be one line of 1 to {TEXT_CHARS_MAX} characters");
        report.error(&text.span, message, "empty, too long, or with control characters", "write a short text");
        return None;
    }
    let trimmed = trimmed.to_owned();
    Some(text.map(|_| trimmed))
}

/// `true` or `false`.
pub(super) fn boolean(report: &mut Report<'_>, table: &DeTable<'_>, key: &str) -> Option<At<bool>> {
    let value = value(table, key)?;
    match value.get_ref().as_bool() {
        Some(boolean) => Some(report.at(boolean, value.span())),
        None => {
            wrong_type(report, key, value, "true or false, without quotes", "true");
            None
        }
    }
}

/// A whole number within bounds.
pub(super) fn whole_number(
    report: &mut Report<'_>,
    table: &DeTable<'_>,
    key: &str,
    bounds: Range<u64>,
) -> Option<At<u64>> {
    let value = value(table, key)?;
    let Some(integer) = value.get_ref().as_integer() else {
        wrong_type(report, key, value, "a whole number, without quotes", &bounds.start.max(1).to_string());
        return None;
    };
    match u64::from_str_radix(integer.as_str(), integer.radix()) {
        Ok(number) if bounds.contains(&number) => Some(report.at(number, value.span())),
        _ => {
            let message = format!("`{key}` must be from {} to {}", bounds.start, bounds.end - 1);
            report.error(&value.span(), message, "out of range", "");
            None
        }
    }
}

/// A number above zero and not above a bound, with or without a point.
pub(super) fn positive(report: &mut Report<'_>, table: &DeTable<'_>, key: &str, max: f64) -> Option<At<f64>> {
    let value = value(table, key)?;
    let number = match value.get_ref() {
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse::<f64>().ok(),
        DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
        _ => {
            wrong_type(report, key, value, "a number, without quotes", "2");
            return None;
        }
    };
    match number {
        Some(number) if number > 0.0 && number <= max => Some(report.at(number, value.span())),
        _ => {
            report.error(&value.span(), format!("`{key}` must be above 0 and at most {max}"), "out of range", "");
            None
        }
    }
}

/// A list of texts; a single text counts as a list of one.
pub(super) fn texts(
    report: &mut Report<'_>,
    table: &DeTable<'_>,
    key: &str,
    example: &str,
    count_max: usize,
) -> Option<At<Vec<At<String>>>> {
    let list = value(table, key)?;
    let items: &[Spanned<DeValue<'_>>] = match list.get_ref() {
        DeValue::Array(items) => items,
        DeValue::String(_) => std::slice::from_ref(list),
        _ => {
            wrong_type(report, key, list, "a list of texts", example);
            return None;
        }
    };
    if items.len() > count_max {
        let message = format!("`{key}` has {} entries; the limit is {count_max}", items.len());
        report.error(&list.span(), message, "too many", "");
        return None;
    }
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        match item.get_ref().as_str() {
            Some(text) => texts.push(report.at(text.to_owned(), item.span())),
            None => wrong_type(report, key, item, "a list of texts in quotes", example),
        }
    }
    Some(report.at(texts, list.span()))
}

/// A short list of texts.
pub(super) fn few_texts(
    report: &mut Report<'_>,
    table: &DeTable<'_>,
    key: &str,
    example: &str,
) -> Option<At<Vec<At<String>>>> {
    texts(report, table, key, example, LIST_MAX)
}

/// A word of a fixed set.
pub(super) fn word<T: Copy>(
    report: &mut Report<'_>,
    table: &DeTable<'_>,
    key: &str,
    words: &[(&'static str, T)],
) -> Option<At<T>> {
    let example = format!("\"{}\"", words.first().map_or("", |(word, _)| word));
    let written = text(report, table, key, &example)?;
    if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == written.value) {
        return Some(written.map(|_| *meaning));
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let help = match nearest(&written.value, &known) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => {
            format!("write one of: {}", known.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", "))
        }
    };
    report.error(&written.span, format!("`{key}` cannot be \"{}\"", shown(&written.value)), "not known", help);
    None
}

/// A table under a key.
pub(super) fn table<'a, 'i>(
    report: &mut Report<'_>,
    table: &'a DeTable<'i>,
    key: &str,
    header: &str,
) -> Option<At<&'a DeTable<'i>>> {
    let value = value(table, key)?;
    match value.get_ref().as_table() {
        Some(inner) => Some(report.at(inner, value.span())),
        None => {
            let label = format!("this is {}", described(value.get_ref()));
            report.error(
                &value.span(),
                format!("`{key}` must be a table"),
                &label,
                format!("write {header} on a line of its own"),
            );
            None
        }
    }
}

/// The tables of an array of tables (`[[site]]`).
pub(super) fn tables<'a, 'i>(
    report: &mut Report<'_>,
    table: &'a DeTable<'i>,
    key: &str,
    header: &str,
) -> Vec<At<&'a DeTable<'i>>> {
    let Some(value) = value(table, key) else { return Vec::new() };
    let Some(items) = value.get_ref().as_array() else {
        let message = format!("every {key} begins with {header}, in two brackets");
        report.error(&value.span(), message, "one pair of brackets, or none", format!("write {header}"));
        return Vec::new();
    };
    let mut tables = Vec::with_capacity(items.len());
    for item in items {
        match item.get_ref().as_table() {
            Some(inner) => tables.push(report.at(inner, item.span())),
            None => report.error(
                &item.span(),
                format!("every {key} must be a table"),
                "not a table",
                format!("write {header}"),
            ),
        }
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_hand_are_recognised() {
        let known = ["hosts", "host-names", "fresh-max", "fresh-min", "title", "tls"];
        for (written, meant) in [
            ("host", Some("hosts")),
            ("hsots", Some("hosts")),
            ("fresh_max", Some("fresh-max")),
            ("Title", Some("title")),
            ("tsl", Some("tls")),
            ("colour", None),
        ] {
            assert_eq!(nearest(written, &known), meant, "{written}");
        }
    }
}
