//! A leaf: rows whose keys stand side by side, in one row of the engine.
//!
//! The engine keeps some hundreds of bytes for each of its own rows, most of them outside its cache, whatever the row holds.
//! So its rows hold many of ours: from the leaf's own key on, up to the next leaf's, which each leaf names.
//!
//! ```text
//! 0    version
//! 1    length of what the keys of all rows begin with (p)
//! 2    whether another leaf follows
//! 3    the next leaf's key, or zeros
//! 35   what all keys begin with, p bytes
//!      for each row: the rest of its key, 32 - p bytes; the length of its value, one byte; its value
//! ```

use crate::store::name::{IndexKey, KEY_BYTES};

const VERSION: u8 = 1;

/// What comes before the rows' keys.
const FIXED_BYTES: usize = 3 + KEY_BYTES;

/// The most rows of a leaf: a change of one writes all of them anew.
pub(super) const ROWS_MAX: usize = 64;

/// A leaf with fewer rows is joined to the one before it, if both together have room to grow.
pub(super) const ROWS_MIN: usize = 12;

/// The most rows of a leaf that is made of others.
pub(super) const ROWS_MADE: usize = 48;

/// A leaf as the engine holds it.
pub(super) struct Leaf<'a> {
    /// The key of the next leaf; all rows are before it. None of the last one.
    pub(super) next: Option<IndexKey>,
    prefix: &'a [u8],
    rows: &'a [u8],
}

impl<'a> Leaf<'a> {
    /// What the engine holds under a leaf's key; `None` when it is no leaf.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_at_checked(FIXED_BYTES)?;
        let next = IndexKey(fixed[3..].try_into().ok()?);
        let has_next = match fixed[2] {
            0 => false,
            1 => true,
            _ => return None,
        };
        let prefix_bytes = usize::from(fixed[1]);
        if fixed[0] != VERSION || prefix_bytes > KEY_BYTES {
            return None;
        }
        let (prefix, rows) = rest.split_at_checked(prefix_bytes)?;
        Some(Self { next: has_next.then_some(next), prefix, rows })
    }

    /// The rows in order. A `None` is where they end before their time.
    pub(super) fn rows(&self) -> impl Iterator<Item = Option<(IndexKey, &'a [u8])>> {
        let (prefix, mut left) = (self.prefix, self.rows);
        let mut key = IndexKey([0; KEY_BYTES]);
        key.0[..prefix.len()].copy_from_slice(prefix);
        std::iter::from_fn(move || {
            if left.is_empty() {
                return None;
            }
            let mut row = || {
                let (rest, after) = left.split_at_checked(KEY_BYTES - prefix.len())?;
                let (&length, after) = after.split_first()?;
                let (value, after) = after.split_at_checked(usize::from(length))?;
                key.0[prefix.len()..].copy_from_slice(rest);
                left = after;
                Some((key, value))
            };
            let row = row();
            if row.is_none() {
                left = &[];
            }
            Some(row)
        })
    }
}

/// A leaf of these rows, in order, as the engine is to hold it. Values are at most 255 bytes long.
pub(super) fn encode(rows: &[(IndexKey, &[u8])], next: Option<IndexKey>) -> Vec<u8> {
    let prefix = match rows {
        [] => 0,
        [(first, _), .., (last, _)] => first.0.iter().zip(&last.0).take_while(|(a, b)| a == b).count(),
        [_] => KEY_BYTES,
    };
    let values: usize = rows.iter().map(|(_, value)| value.len() + 1).sum();
    let mut bytes = Vec::with_capacity(FIXED_BYTES + prefix + rows.len() * (KEY_BYTES - prefix) + values);
    bytes.extend_from_slice(&[VERSION, u8::try_from(prefix).expect("a key is 32 bytes"), u8::from(next.is_some())]);
    bytes.extend_from_slice(&next.map_or([0; KEY_BYTES], |next| next.0));
    bytes.extend_from_slice(rows.first().map_or(&[], |(first, _)| &first.0[..prefix]));
    for (key, value) in rows {
        bytes.extend_from_slice(&key.0[prefix..]);
        bytes.push(u8::try_from(value.len()).expect("values are short"));
        bytes.extend_from_slice(value);
    }
    bytes
}

/// The rows of a leaf as changes leave them, both in order; `None` when the leaf is damaged.
pub(super) fn changed<'a>(
    leaf: &Leaf<'a>,
    changes: &'a [(IndexKey, Option<Vec<u8>>)],
) -> Option<Vec<(IndexKey, &'a [u8])>> {
    let mut rows = Vec::with_capacity(ROWS_MAX + changes.len());
    let mut changes = changes.iter().peekable();
    for row in leaf.rows() {
        let (key, value) = row?;
        while let Some((new, value)) = changes.next_if(|(new, _)| *new < key) {
            rows.extend(value.as_ref().map(|value| (*new, &value[..])));
        }
        match changes.next_if(|(new, _)| *new == key) {
            Some((_, value)) => rows.extend(value.as_ref().map(|value| (key, &value[..]))),
            None => rows.push((key, value)),
        }
    }
    rows.extend(changes.filter_map(|(key, value)| Some((*key, &value.as_ref()?[..]))));
    Some(rows)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Keys that share much and little with each other.
    fn key() -> impl Strategy<Value = IndexKey> {
        (0u8..3, 0u8..3, any::<u8>()).prop_map(|(host, url, variant)| {
            let mut key = [7; KEY_BYTES];
            (key[0], key[8], key[31]) = (host, url, variant);
            IndexKey(key)
        })
    }

    fn all<'a>(leaf: &Leaf<'a>) -> Vec<(IndexKey, &'a [u8])> {
        leaf.rows().map(Option::unwrap).collect()
    }

    proptest! {
        #[test]
        fn rows_read_back_and_changes_are_made(
            rows in proptest::collection::btree_map(key(), proptest::collection::vec(any::<u8>(), 0..50), 0..40),
            changes in proptest::collection::btree_map(key(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50)), 0..40),
            next in proptest::option::of(key()),
        ) {
            let listed: Vec<_> = rows.iter().map(|(key, value)| (*key, &value[..])).collect();
            let bytes = encode(&listed, next);
            let leaf = Leaf::read(&bytes).unwrap();
            prop_assert_eq!(all(&leaf), listed);
            prop_assert_eq!(leaf.next, next);
            let mut expected: BTreeMap<_, _> = rows.clone();
            for (key, value) in &changes {
                match value {
                    Some(value) => drop(expected.insert(*key, value.clone())),
                    None => drop(expected.remove(key)),
                }
            }
            let changes: Vec<_> = changes.into_iter().collect();
            let changed: Vec<_> = changed(&leaf, &changes).unwrap();
            prop_assert_eq!(changed, expected.iter().map(|(key, value)| (*key, &value[..])).collect::<Vec<_>>());
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), prefix in 0u8..40, is_ours: bool) {
            if is_ours && bytes.len() > 3 {
                (bytes[0], bytes[1], bytes[2]) = (VERSION, prefix, 0);
            }
            let _ = Leaf::read(&bytes).map(|leaf| leaf.rows().count());
        }
    }

    #[test]
    fn a_leaf_that_is_cut_is_known_to_be() {
        let row = |last: u8| {
            let mut key = [9; KEY_BYTES];
            key[31] = last;
            (IndexKey(key), &b"value"[..])
        };
        let bytes = encode(&[row(1), row(2)], None);
        for cut in 0..bytes.len() {
            let whole = Leaf::read(&bytes[..cut]).and_then(|leaf| leaf.rows().collect::<Option<Vec<_>>>());
            let rows = whole.map(|rows| rows.len());
            assert!(rows.is_none_or(|rows| rows < 2 && [66, 73].contains(&cut)), "{cut}: {rows:?}");
        }
        assert_eq!(all(&Leaf::read(&bytes).unwrap()).len(), 2);
        assert!(Leaf::read(&encode(&[], None)).unwrap().rows().next().is_none());
    }
}
