//! Commands to a box that serves, and its answers.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ledger::{HourRow, Period, Totals};
use crate::operate::{Failure, Purge, PurgeDone, ReloadDone, Status, VerifyDone, VerifyStep};
use crate::prefetch::progress::Snapshot;
use crate::prefetch::report::NightReport;

/// A message in JSON: whatever is read is written and read again as the same.
pub fn control(data: &[u8]) {
    same_again::<Purge>(data);
    same_again::<PurgeDone>(data);
    same_again::<VerifyStep>(data);
    same_again::<VerifyDone>(data);
    same_again::<ReloadDone>(data);
    same_again::<Status>(data);
    same_again::<Failure>(data);
    same_again::<Snapshot>(data);
    same_again::<NightReport>(data);
    same_again::<Totals>(data);
    same_again::<Vec<HourRow>>(data);
    same_again::<Vec<String>>(data);
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(period) = Period::try_from(text.to_owned())
    {
        assert!(period.first() <= period.last() && period.contains(period.first()));
        assert_eq!(Period::try_from(period.to_string()), Ok(period));
    }
}

fn same_again<T: Serialize + DeserializeOwned>(data: &[u8]) {
    let Ok(message) = serde_json::from_slice::<T>(data) else { return };
    let text = serde_json::to_vec(&message).expect("messages have only strings, numbers and lists of them");
    let again: T = serde_json::from_slice(&text).expect("what was written is read");
    let text_again = serde_json::to_vec(&again).expect("as above");
    assert!(text == text_again, "another message than was written");
}
