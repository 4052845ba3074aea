//! A morning as a plan: who opens what, when, and what a perfect cache would ask the site for.
//!
//! 30 classes of 30 pupils begin one after the other. A lesson has 20 objects: a page that must be checked each time
//! (`no-cache`, with an ETag), an answer for the pupil alone (`no-store`), 14 objects of its own, and 4 that all lessons
//! share, of which one is fresh for a fifth of the morning only. There are 22 lessons: some classes have the same.
//!
//! So a cache that stores all it may, collapses, and does not store what it would have to validate, asks
//! 900 × 2 (page and pupil's own) + 22 × 14 + 4 + 4 (the short-lived one, again) = 2,116 times for 18,000 requests: 0.1176.
//! Whoever stores the page and shares one validation among pupils who ask at the same moment, asks less.

use std::time::Duration;

use crate::content::Places;

pub(super) const CLASSES: u32 = 30;
pub(super) const PUPILS: u32 = 30;

/// Different lessons among the classes'.
const LESSONS: u32 = 22;

/// What a lesson is made of.
pub(super) const OBJECTS: usize = 20;
const OWN: u32 = 14;
const SHARED: u32 = 4;

/// Sizes in bytes. With these, the perfect cache without validation gets 0.0305 of the bytes from the site, and with it
/// 0.0286: pictures are most of a lesson.
const PAGE_BYTES: u32 = 2_048;
const PUPILS_OWN_BYTES: u32 = 6_000;
const SHARED_BYTES: [u32; SHARED as usize] = [6_000, 14_000, 24_000, 16_000];
const OWN_BYTES: [u32; OWN as usize] =
    [2_000, 3_500, 6_000, 9_000, 14_000, 20_000, 28_000, 40_000, 55_000, 75_000, 100_000, 140_000, 220_000, 310_000];

/// Into so many parts the one that is fresh for a short time divides the morning.
const SHORT_LIVES: u32 = 5;

/// How far apart the pupils of a class open the lesson, of the time from one class to the next: most within a breath.
const CLASS_SPREAD: f64 = 1.0;

/// One pupil's opening of one lesson.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    /// Since the beginning.
    pub(super) at: Duration,
    lesson: u32,
    /// Among all pupils.
    pupil: u32,
}

/// A morning.
pub(super) struct Plan {
    /// In the order in which they begin.
    pub(super) visits: Vec<Visit>,
    short_life_s: u64,
    /// Two mornings on one box have nothing in common.
    day: u32,
}

impl Plan {
    /// A morning that takes `length`; the same for each `day`, whoever is measured.
    pub(super) fn new(length: Duration, day: u32) -> Self {
        let mut places = Places::new(0x10_55);
        let between = length / CLASSES;
        let mut visits = Vec::new();
        for class in 0..CLASSES {
            for seat in 0..PUPILS {
                let late = between.mul_f64(CLASS_SPREAD).as_micros();
                let late = places.below(u64::try_from(late).unwrap_or(u64::MAX));
                let at = between * class + Duration::from_micros(late);
                visits.push(Visit { at, lesson: class % LESSONS, pupil: class * PUPILS + seat });
            }
        }
        visits.sort_by_key(|visit| visit.at);
        Self { visits, short_life_s: (length / SHORT_LIVES).as_secs().max(1), day }
    }

    /// The page that a visit asks for first, and the addresses that the page then leads to.
    pub(super) fn paths(&self, visit: &Visit) -> (String, Vec<String>) {
        let (day, lesson, pupil) = (self.day, visit.lesson, visit.pupil);
        let page = format!("/check/{PAGE_BYTES}/day-{day}/lesson-{lesson}");
        let mut parts = vec![format!("/uncacheable/{PUPILS_OWN_BYTES}/day-{day}/pupil-{pupil}")];
        for (number, bytes) in SHARED_BYTES.iter().enumerate() {
            let manner = if number == 0 { format!("fresh-{}", self.short_life_s) } else { "fresh".to_owned() };
            parts.push(format!("/{manner}/{bytes}/day-{day}/shared-{number}"));
        }
        for (number, bytes) in OWN_BYTES.iter().enumerate() {
            parts.push(format!("/fresh/{bytes}/day-{day}/lesson-{lesson}-part-{number}"));
        }
        (page, parts)
    }
}

/// What all visits ask for, and what reaches the site with a perfect cache that does not validate.
#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// A cache that takes no time, stores all that it may reuse without asking, and validates what has expired; if
    /// `is_validating`, it stores what must be validated each time too.
    fn perfect(plan: &Plan, is_validating: bool) -> (u32, f64, f64) {
        let mut stored: HashMap<String, Duration> = HashMap::new();
        let (mut requests, mut site_bytes, mut all_bytes) = (0, 0.0, 0.0);
        for visit in &plan.visits {
            let (page, parts) = plan.paths(visit);
            for path in std::iter::once(page).chain(parts) {
                let mut words = path.split('/').skip(1);
                let (manner, bytes) = (words.next().unwrap().to_owned(), words.next().unwrap().parse::<f64>().unwrap());
                all_bytes += bytes;
                let life = match manner.split_once('-') {
                    Some((_, s)) => Duration::from_secs(s.parse().unwrap()),
                    None if manner == "fresh" => Duration::MAX,
                    None => Duration::ZERO,
                };
                let known = stored.get(&path).copied();
                if known.is_some_and(|at| visit.at - at < life) {
                    continue;
                }
                requests += 1;
                let may_validate = manner != "uncacheable" && (is_validating || manner != "check");
                if !(may_validate && known.is_some()) {
                    site_bytes += bytes;
                }
                stored.insert(path, visit.at);
            }
        }
        (requests, site_bytes, all_bytes)
    }

    #[test]
    fn a_perfect_cache_without_validation_asks_for_0_1176() {
        let plan = Plan::new(Duration::from_secs(60), 1);
        let count = plan.visits.len() * OBJECTS;
        assert_eq!(count, 18_000);
        let (requests, site_bytes, all_bytes) = perfect(&plan, false);
        assert_eq!(requests, 1_800 + 22 * 14 + 4 + 4);
        assert_eq!((f64::from(requests) / count as f64 * 10_000.0).round(), 1176.0);
        // As much of the bytes as the peers that don't store the page, and those that do.
        let share = site_bytes / all_bytes;
        assert!((0.0300..0.0310).contains(&share), "{share}");
        let (same_requests, site_bytes, _) = perfect(&plan, true);
        assert_eq!(same_requests, requests, "a validation is a request, too");
        let share = site_bytes / all_bytes;
        assert!((0.0281..0.0291).contains(&share), "{share}");
    }

    #[test]
    fn a_short_morning_is_the_same_morning() {
        let (long, short) = (Plan::new(Duration::from_secs(60), 1), Plan::new(Duration::from_secs(15), 1));
        assert_eq!(perfect(&short, false).0, perfect(&long, false).0);
        assert!(short.visits.iter().all(|visit| visit.at <= Duration::from_secs(15)));
        assert!(short.visits.is_sorted_by_key(|visit| visit.at));
    }

    #[test]
    fn every_pupil_has_an_answer_of_its_own() {
        let plan = Plan::new(Duration::from_secs(60), 1);
        let own: std::collections::HashSet<_> =
            plan.visits.iter().map(|visit| plan.paths(visit).1.swap_remove(0)).collect();
        assert_eq!(own.len(), 900);
        assert!(plan.visits.iter().all(|visit| plan.paths(visit).1.len() + 1 == OBJECTS));
        let other = Plan::new(Duration::from_secs(60), 2);
        assert_ne!(other.paths(&other.visits[0]).0, plan.paths(&plan.visits[0]).0, "another day is cold again");
    }
}
