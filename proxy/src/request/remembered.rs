//! Of which keys something was true a moment ago: a table of fixed size, without locks and without the keys.
//!
//! Every answer that may not be stored is noted here, so noting must cost next to nothing. Only a part of a key's hash is
//! kept. What is remembered may be forgotten early, when another key comes to the same place; and one key in some hundred
//! thousand may be taken for another. Both must be harmless to those who ask: here they cost, or save, one request to an
//! origin.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::Clock;

/// Places, of eight bytes each: more than a school opens different pages within the longest time that anything is remembered.
const PLACES: usize = 32 * 1024;

/// Of a place's bits so many hold the time, in milliseconds; the others are of the hash. It comes round after 34 years.
const TIME_BITS: u32 = 40;

const TIME_MASK: u64 = (1 << TIME_BITS) - 1;

/// Keys of which something was true a moment ago.
pub struct Remembered {
    /// A mark of the hash above, the time below; zero is nobody.
    places: Box<[AtomicU64]>,
    /// Its seed is the process's own, so that nobody outside can aim at a place.
    hasher: RandomState,
    lasts: Duration,
    clock: Clock,
}

impl Remembered {
    /// A memory that lasts so long, by this clock.
    pub fn new(lasts: Duration, clock: Clock) -> Self {
        let places = std::iter::repeat_with(AtomicU64::default).take(PLACES).collect();
        Self { places, hasher: RandomState::new(), lasts, clock }
    }

    /// Remembers a key from now on.
    pub fn remember(&self, key: &impl Hash) {
        let (place, mark) = self.place(key);
        place.store(mark | ms(self.clock.now()), Ordering::Relaxed);
    }

    /// Forgets a key.
    pub fn forget(&self, key: &impl Hash) {
        let (place, mark) = self.place(key);
        let known = place.load(Ordering::Relaxed);
        if known & !TIME_MASK == mark {
            // If it was changed meanwhile, that is newer.
            let _newer = place.compare_exchange(known, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether a key is remembered. A clock that stepped back ends it: to ask once too often is harmless.
    pub fn holds(&self, key: &impl Hash) -> bool {
        let (place, mark) = self.place(key);
        let known = place.load(Ordering::Relaxed);
        if known & !TIME_MASK != mark {
            return false;
        }
        let passed = ms(self.clock.now()).wrapping_sub(known) & TIME_MASK;
        Duration::from_millis(passed) < self.lasts
    }

    fn place(&self, key: &impl Hash) -> (&AtomicU64, u64) {
        let hash = self.hasher.hash_one(key);
        let at = usize::try_from(hash % PLACES as u64).expect("a place's number fits");
        // Never zero, so that nobody is not taken for somebody.
        (&self.places[at], hash & !TIME_MASK | 1 << TIME_BITS)
    }
}

fn ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0) & TIME_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        Clock::held(UNIX_EPOCH + Duration::from_secs(1_800_000_000))
    }

    #[test]
    fn a_key_is_remembered_for_a_while() {
        let clock = clock();
        let remembered = Remembered::new(Duration::from_secs(60), clock.clone());
        assert!(!remembered.holds(&"a"));
        remembered.remember(&"a");
        assert!(remembered.holds(&"a") && !remembered.holds(&"b"));
        clock.advance(Duration::from_millis(59_999));
        assert!(remembered.holds(&"a"));
        clock.advance(Duration::from_millis(1));
        assert!(!remembered.holds(&"a"));
        remembered.remember(&"a");
        remembered.forget(&"b");
        assert!(remembered.holds(&"a"));
        remembered.forget(&"a");
        assert!(!remembered.holds(&"a"));
    }

    #[test]
    fn a_clock_that_steps_back_ends_it() {
        let clock = clock();
        let remembered = Remembered::new(Duration::from_secs(60), clock.clone());
        clock.advance(Duration::from_secs(10));
        remembered.remember(&"a");
        let earlier = Remembered { clock: self::clock(), ..remembered };
        assert!(!earlier.holds(&"a"));
    }

    #[test]
    fn most_of_some_thousand_keys_are_remembered_and_hardly_any_other() {
        let remembered = Remembered::new(Duration::from_secs(60), clock());
        (0..4_000).for_each(|key| remembered.remember(&key));
        assert!((0..4_000).filter(|key| remembered.holds(key)).count() > 3_000);
        assert!((4_000..8_000).filter(|key| remembered.holds(key)).count() < 10);
    }
}
