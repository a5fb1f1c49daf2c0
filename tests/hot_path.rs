//! What a message costs on its way into a flush, counted and not timed: nothing is allocated for one whose second, keys
//! and values the flush knows already, unless a text of it is spelled otherwise than it is kept.

mod hot;

use hot::Hot;
use plimsoll::generate::Generated;

/// Values wait to be counted, 128 at most: as many times over, and all that they wait in has its size. A group keeps ten
/// events to show; the largest one, told again and again, is all of them by then.
const TIMES: u64 = 130;

/// Whether no text has escapes or another case than the one it is kept in: such a text is made anew.
fn is_plain(record: &Generated) -> bool {
    let event: serde_json::Value = serde_json::from_slice(&record.payload).unwrap();
    let method = event["method"].as_str().unwrap_or_default();
    !record.payload.contains(&b'\\') && !method.contains(|c: char| c.is_ascii_lowercase())
}

#[test]
fn a_message_allocates_nothing() {
    let (records, spelled): (Vec<Generated>, Vec<Generated>) =
        hot::records(1).into_iter().partition(is_plain);
    assert!(spelled.len() * 20 < records.len(), "{} are spelled otherwise", spelled.len());
    let mut hot = Hot::new();
    let places = hot.places(&records);
    let first = allocation_counter::measure(|| hot.take(&records, &places));
    assert_ne!(first.count_total, 0, "deltas begin with the first event of theirs");
    (2..TIMES).for_each(|_| hot.take(&records, &places));
    let again = allocation_counter::measure(|| hot.take(&records, &places));
    let (deltas, events) = hot.fold.pending();
    assert_eq!(events, TIMES * records.len() as u64);
    assert!(deltas > 50, "{deltas} deltas");
    assert_eq!(again.count_total, 0, "allocations for {} messages", records.len());
}
