//! Totals as an aligned table for a terminal.

use std::fmt;

use super::counts::SiteCounts;
use super::totals::{RowName, Totals};
use crate::config::quantity::{ByteSize, grouped};

/// Widest first column, in characters; a longer site name is cut.
const NAME_WIDTH_MAX: usize = 32;

const HEADINGS: [&str; 7] = ["site", "requests", "kept local", "LAN", "WAN by day", "WAN by night", "link saved"];

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<[String; 7]> = vec![HEADINGS.map(str::to_owned)];
        rows.extend(self.sites.iter().map(|row| cells(name(&row.site), &row.counts)));
        rows.push(cells("total".to_owned(), &self.all));
        let mut widths = [0; 7];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        writeln!(f, "{}", self.period)?;
        for (index, row) in rows.iter().enumerate() {
            if index == 1 || index == rows.len() - 1 {
                let line: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
                writeln!(f, "{}", line.join("  "))?;
            }
            write_row(f, row, &widths)?;
        }
        write!(
            f,
            "\nOver the link: {} zero-rated, {} metered.",
            ByteSize(self.zero_rated_wan_bytes),
            ByteSize(self.metered_wan_bytes)
        )?;
        writeln!(f, " Link saved = (LAN - WAN by day and by night) / LAN.")
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, row: &[String; 7], widths: &[usize; 7]) -> fmt::Result {
    write!(f, "{:<width$}", row[0], width = widths[0])?;
    for (cell, width) in row.iter().zip(widths).skip(1) {
        write!(f, "  {cell:>width$}")?;
    }
    writeln!(f)
}

fn name(site: &RowName) -> String {
    let name = site.to_string();
    if name.chars().count() <= NAME_WIDTH_MAX {
        return name;
    }
    name.chars().take(NAME_WIDTH_MAX - 1).chain(['…']).collect()
}

fn cells(name: String, counts: &SiteCounts) -> [String; 7] {
    let requests = counts.requests();
    let kept_local = match requests {
        0 => "-".to_owned(),
        #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
        _ => percent(counts.requests_kept_local() as f64 / requests as f64 * 100.0),
    };
    [
        name,
        grouped(requests),
        kept_local,
        ByteSize(counts.lan_bytes()).to_string(),
        ByteSize(counts.wan_bytes_by_day()).to_string(),
        ByteSize(counts.wan_bytes_by_night()).to_string(),
        counts.saved_percent().map_or_else(|| "-".to_owned(), percent),
    ]
}

/// One decimal, rounded towards zero, so that 99.99 % never reads as all.
fn percent(value: f64) -> String {
    format!("{:.1} %", (value * 10.0).trunc() / 10.0)
}
