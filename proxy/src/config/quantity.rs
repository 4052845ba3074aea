//! Sizes, times and rates as an administrator writes them, and as we show them.

use std::fmt;
use std::time::Duration;

/// A number of bytes, written and shown with units of 1024 (`200 GiB`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A length of time, written and shown with one unit (`10 s`, `6 h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A rate on the link in bits a second, written and shown with units of 1000 (`20 Mbit/s`), as operators sell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BitRate(pub u64);

/// The text is not such a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAQuantity {
    /// No number at the beginning, or one with a sign or an exponent.
    #[error("it must begin with a number")]
    Number,
    /// No unit, or one that we do not know.
    #[error("it must end with a unit: {0}")]
    Unit(&'static str),
    /// More than fits.
    #[error("it is too large")]
    TooLarge,
}

/// Bytes by unit. Both families are read, since labels of disks use the decimal one.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Milliseconds by unit.
const TIME_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("days", 86_400_000)];

/// Bits a second by unit.
const RATE_UNITS: &[(&str, u64)] = &[("bit/s", 1), ("kbit/s", 1_000), ("Mbit/s", 1_000_000), ("Gbit/s", 1_000_000_000)];

impl ByteSize {
    /// Reads `200 GiB`, `1.5 TB`, `512MiB`.
    ///
    /// # Errors
    /// [`NotAQuantity`] says what is missing.
    pub fn parse(text: &str) -> Result<Self, NotAQuantity> {
        scaled(text, SIZE_UNITS, "B, KiB, MiB, GiB or TiB").map(Self)
    }
}

impl Period {
    /// Reads `10 s`, `90min`, `6 h`, `2 days`.
    ///
    /// # Errors
    /// [`NotAQuantity`] says what is missing.
    pub fn parse(text: &str) -> Result<Self, NotAQuantity> {
        scaled(text, TIME_UNITS, "ms, s, min, h or d").map(|millis| Self(Duration::from_millis(millis)))
    }
}

impl BitRate {
    /// Reads `20 Mbit/s`.
    ///
    /// # Errors
    /// [`NotAQuantity`] says what is missing.
    pub fn parse(text: &str) -> Result<Self, NotAQuantity> {
        scaled(text, RATE_UNITS, "kbit/s, Mbit/s or Gbit/s").map(Self)
    }

    /// The same rate in bytes a second.
    pub fn bytes_per_s(self) -> u64 {
        self.0 / 8
    }
}

/// The number at the beginning of `text` times the unit at its end, exactly.
fn scaled(text: &str, units: &[(&str, u64)], names: &'static str) -> Result<u64, NotAQuantity> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start();
    let number = number.replace('_', "");
    let (whole, part) = number.split_once('.').unwrap_or((&number, ""));
    let is_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(part) || (number.contains('.') && part.is_empty()) || part.len() > 6 {
        return Err(NotAQuantity::Number);
    }
    let (_, factor) = units
        .iter()
        .find(|(name, _)| *name == unit)
        .or_else(|| units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)))
        .ok_or(NotAQuantity::Unit(names))?;
    let whole: u64 = whole.parse().map_err(|_| NotAQuantity::TooLarge)?;
    let whole = whole.checked_mul(*factor).ok_or(NotAQuantity::TooLarge)?;
    let part_scale = 10u128.pow(u32::try_from(part.len()).unwrap_or(6));
    let part: u128 = if part.is_empty() { 0 } else { part.parse().map_err(|_| NotAQuantity::Number)? };
    let part = u64::try_from(part * u128::from(*factor) / part_scale).map_err(|_| NotAQuantity::TooLarge)?;
    whole.checked_add(part).ok_or(NotAQuantity::TooLarge)
}

impl fmt::Display for ByteSize {
    /// Whole units where they are exact, else one decimal, rounded down.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = SIZE_UNITS[..5].iter().rev();
        let (name, factor) = units.clone().find(|(_, factor)| self.0 >= *factor).unwrap_or(&SIZE_UNITS[0]);
        let tenths = u128::from(self.0) * 10 / u128::from(*factor);
        let text = if self.0.is_multiple_of(*factor) {
            format!("{} {name}", self.0 / factor)
        } else {
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        };
        f.pad(&text)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        f.pad(&exact(millis, &TIME_UNITS[..5]))
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&exact(self.0, RATE_UNITS))
    }
}

/// In the largest unit that divides it.
fn exact(value: u64, units: &[(&str, u64)]) -> String {
    let (name, factor) =
        units.iter().rev().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor)).unwrap_or(&units[0]);
    format!("{} {name}", value / factor)
}

/// A count with a space between thousands: `1 234 567`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A count with its word, `s` added unless it is one: `1 site`, `1 200 sites`.
pub fn counted(count: u64, word: &str) -> String {
    format!("{} {word}{}", grouped(count), if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_with_either_family_of_units() {
        let read = |text: &str| ByteSize::parse(text).map(|size| size.0);
        assert_eq!(read("200 GiB"), Ok(200 << 30));
        assert_eq!(read("512MiB"), Ok(512 << 20));
        assert_eq!(read("1.5 KiB"), Ok(1536));
        assert_eq!(read("2 TB"), Ok(2_000_000_000_000));
        assert_eq!(read("10_000 b"), Ok(10_000));
        assert_eq!(read("200"), Err(NotAQuantity::Unit("B, KiB, MiB, GiB or TiB")));
        assert_eq!(read("200 G"), Err(NotAQuantity::Unit("B, KiB, MiB, GiB or TiB")));
        for wrong in ["", "GiB", "-1 GiB", "1. GiB", ".5 GiB", "1.2.3 GiB", "1.0000001 GiB"] {
            assert_eq!(read(wrong), Err(NotAQuantity::Number), "{wrong:?}");
        }
        assert_eq!(read("99999999999 TiB"), Err(NotAQuantity::TooLarge));
    }

    #[test]
    fn times_and_rates_are_read() {
        assert_eq!(Period::parse("10s").unwrap().0, Duration::from_secs(10));
        assert_eq!(Period::parse("1.5 h").unwrap().0, Duration::from_secs(5_400));
        assert_eq!(Period::parse("2 days").unwrap().0, Duration::from_secs(172_800));
        assert_eq!(BitRate::parse("20 Mbit/s").unwrap().bytes_per_s(), 2_500_000);
        assert!(Period::parse("10").is_err());
        assert!(BitRate::parse("20 MB/s").is_err());
    }

    #[test]
    fn quantities_are_shown_as_they_are_written() {
        for text in ["0 B", "1023 B", "1 KiB", "200 GiB", "2 TiB"] {
            assert_eq!(ByteSize::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(ByteSize(1_999_999).to_string(), "1.9 MiB");
        for text in ["0 ms", "1500 ms", "10 s", "90 min", "6 h", "7 d"] {
            assert_eq!(Period::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(BitRate(2_500_000).to_string(), "2500 kbit/s");
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1 000", "1 234 567"]);
        assert_eq!([counted(1, "site"), counted(1_200, "site")], ["1 site", "1 200 sites"]);
    }

    proptest! {
        #[test]
        fn any_text_is_a_quantity_or_an_error(text in "[0-9._ a-zA-Z/-]{0,24}|.{0,16}") {
            let _ = (ByteSize::parse(&text), Period::parse(&text), BitRate::parse(&text));
        }

        #[test]
        fn times_and_rates_survive_being_shown(value in 0u64..u64::MAX / 2) {
            let period = Period(Duration::from_millis(value));
            prop_assert_eq!(Period::parse(&period.to_string()), Ok(period));
            prop_assert_eq!(BitRate::parse(&BitRate(value).to_string()), Ok(BitRate(value)));
        }
    }
}
