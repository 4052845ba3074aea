//! A web application's manifest: the icons that a pupil's tablet shows, and its start page.

use serde_json::Value;

use super::collector::Collector;

/// Icons and screenshots that are read of one list. A manifest has ten or so.
const ENTRIES_MAX: usize = 200;

/// Puts what the manifest refers to into `found`. A text that is no manifest has nothing.
pub(super) fn references(content: &[u8], found: &mut Collector) {
    let Ok(manifest) = serde_json::from_slice::<Value>(content) else { return };
    if let Some(start) = manifest.get("start_url").and_then(Value::as_str) {
        found.add_page(start, false);
    }
    for list in ["icons", "screenshots"] {
        let entries = manifest.get(list).and_then(Value::as_array).into_iter().flatten().take(ENTRIES_MAX);
        for source in entries.filter_map(|entry| entry.get("src").and_then(Value::as_str)) {
            found.add_requisite(source);
        }
    }
}
