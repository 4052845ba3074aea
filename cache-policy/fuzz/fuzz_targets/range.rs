#![no_main]

use bulaq_cache_policy::{RangeSpec, fuzzing, parse_range};
use http_range_header::parse_range_header;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzing::range(data);
    let asked = data.split(|&byte| byte == b'\n').next().unwrap_or_default();
    if let Ok(text) = std::str::from_utf8(asked) {
        against_another_reader(text);
    }
});

/// One range that both readers take must mean the same bytes. Of several the other one refuses those that overlap; we
/// join them.
fn against_another_reader(text: &str) {
    const LENGTH: u64 = 10_000;
    let (Some(ours), Ok(theirs)) = (parse_range(text.as_bytes()), parse_range_header(text)) else { return };
    let ours: Vec<_> = ours.into_iter().filter_map(|spec: RangeSpec| spec.resolve(LENGTH)).collect();
    let Ok(theirs) = theirs.validate(LENGTH) else { return };
    let ours: Vec<_> = ours.into_iter().map(|range| range.first..=range.last).collect();
    assert_eq!(ours, theirs, "{text}");
}
