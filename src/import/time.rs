//! Times as logs have them, and the zones that they leave out.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{self, AmbiguousOffset, Offset};

use super::text::{Nanos, SECOND};

pub(super) const DAY: Nanos = 24 * 3_600 * SECOND;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The time zone of times that a log prints without one.
///
/// # Examples
///
/// ```
/// use spanbridge::import::TimeZone;
///
/// for name in ["UTC", "local", "+05:30", "-0800", "Europe/Berlin"] {
///     assert!(name.parse::<TimeZone>().is_ok(), "{name}");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeZone(tz::TimeZone);

impl TimeZone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(tz::TimeZone::UTC);

    /// How far the clocks are ahead of UTC when they show `local`. Where they show that twice, it is
    /// what is less `far` from what else is known, or the first.
    pub(super) fn offset(&self, local: DateTime, far: impl Fn(Nanos) -> Nanos) -> Nanos {
        let nanos = |offset: Offset| Nanos::from(offset.seconds()) * SECOND;
        let ambiguous = self.0.to_ambiguous_timestamp(local);
        if let AmbiguousOffset::Fold { before, after } = ambiguous.offset() {
            let (before, after) = (nanos(before), nanos(after));
            return if far(after) < far(before) { after } else { before };
        }
        nanos(match ambiguous.compatible() {
            Ok(timestamp) => self.0.to_offset(timestamp),
            Err(_) => Offset::UTC,
        })
    }

    /// The first change between two moments, by clocks that are so far ahead of UTC.
    pub(super) fn change(&self, from: Nanos, to: Nanos, offset: Nanos) -> Option<Change> {
        let start = Timestamp::from_nanosecond(from.checked_sub(offset)?.into()).ok()?;
        let next = self.0.following(start).next()?;
        let at = Nanos::try_from(next.timestamp().as_nanosecond()).ok()?.checked_add(offset)?;
        let by = Nanos::from(next.offset().seconds()) * SECOND - offset;
        (at <= to && by != 0).then_some(Change { at, by })
    }
}

/// Clocks are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// When, by the clocks as they were before.
    at: Nanos,
    /// How far forward.
    by: Nanos,
}

impl Change {
    pub(super) fn by(self) -> Nanos {
        self.by
    }
}

impl FromStr for TimeZone {
    type Err = TimeZoneError;

    /// Reads `UTC`, `local` (this machine's), an offset such as `+02:00`, or a name of the IANA
    /// database such as `Europe/Berlin`.
    fn from_str(text: &str) -> Result<Self, TimeZoneError> {
        let zone = match text {
            "UTC" | "utc" | "Z" => Some(tz::TimeZone::UTC),
            "local" => Some(tz::TimeZone::system()),
            _ if text.starts_with(['+', '-']) => offset(text)
                .and_then(|seconds| Offset::from_seconds(seconds).ok())
                .map(tz::TimeZone::fixed),
            _ => tz::TimeZone::get(text).ok(),
        };
        zone.map(Self).ok_or_else(|| TimeZoneError { text: text.to_owned() })
    }
}

/// A time zone that there is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeZoneError {
    text: String,
}

impl fmt::Display for TimeZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a time zone; give UTC, local, an offset such as +02:00, or a name such as \
             Europe/Berlin",
            self.text
        )
    }
}

impl std::error::Error for TimeZoneError {}

/// A time of day in milliseconds, whatever the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeOfDay {
    since_midnight: Nanos,
    has_zero_seconds: bool,
}

impl TimeOfDay {
    /// Reads `15:04:05.000`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let time = clock(text)?;
        (text.len() == 12).then(|| Self {
            since_midnight: since_midnight(time),
            has_zero_seconds: time.second() == 0,
        })
    }

    pub(super) fn has_zero_seconds(self) -> bool {
        self.has_zero_seconds
    }

    /// The first moment not before `from` at which clocks show this. Both moments are local.
    pub(super) fn on_or_after(self, from: Nanos) -> Nanos {
        let from = with_days_around(from);
        from + (self.since_midnight - from).rem_euclid(DAY)
    }

    /// The same by clocks that are set in between. The moment is by clocks that are not.
    pub(super) fn on_or_after_with(self, from: Nanos, change: Change) -> Nanos {
        let at = self.on_or_after(from);
        if at < change.at {
            return at;
        }
        let since_midnight = (self.since_midnight - change.by).rem_euclid(DAY);
        Self { since_midnight, ..self }.on_or_after(from.max(change.at))
    }

    /// The same where the seconds were not printed: the first moment at which clocks show these
    /// hours, minutes and milliseconds, or the next midnight's if there is none this hour.
    pub(super) fn with_any_second(self, from: Nanos) -> Nanos {
        const MINUTE: Nanos = 60 * SECOND;
        let from = with_days_around(from);
        let start_of_minute = {
            let same = from.div_euclid(MINUTE) * MINUTE;
            let shown = self.since_midnight.div_euclid(MINUTE) * MINUTE;
            same + (shown - same).rem_euclid(DAY)
        };
        let fraction = self.since_midnight.rem_euclid(SECOND);
        let earliest = from.max(start_of_minute);
        let at = earliest + (fraction - earliest).rem_euclid(SECOND);
        if at < start_of_minute + MINUTE { at } else { start_of_minute + DAY + fraction }
    }
}

/// The nearest moment that others are in range of, to a few days before and after. Only what a
/// damaged log adds up is not such a moment itself.
fn with_days_around(at: Nanos) -> Nanos {
    at.clamp(Nanos::MIN + 4 * DAY, Nanos::MAX - 4 * DAY)
}

/// A local moment as if the clocks showed UTC; none before the year 1700 or after 2240. Nanoseconds
/// go a little further, so that moments around one are in range, too.
pub(super) fn as_if_utc(local: DateTime) -> Option<Nanos> {
    (1700..=2240).contains(&local.year()).then_some(())?;
    let timestamp = Offset::UTC.to_timestamp(local).ok()?;
    Nanos::try_from(timestamp.as_nanosecond()).ok()
}

/// The reverse of [`as_if_utc`].
pub(super) fn to_local(at: Nanos) -> DateTime {
    // Any number of nanoseconds is within the years that jiff knows.
    let timestamp = Timestamp::from_nanosecond(at.into()).unwrap_or(Timestamp::UNIX_EPOCH);
    Offset::UTC.to_datetime(timestamp)
}

fn since_midnight(time: Time) -> Nanos {
    let seconds = Nanos::from(time.hour()) * 3_600
        + Nanos::from(time.minute()) * 60
        + Nanos::from(time.second());
    seconds * SECOND + Nanos::from(time.subsec_nanosecond())
}

/// Reads `15:04:05` with any fraction.
fn clock(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.len() != 8 || fraction.len() > 9 || !text.is_ascii() {
        return None;
    }
    let mut parts = whole.split(':').map(|part| digits(part).and_then(|n| i8::try_from(n).ok()));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let mut nanos = if fraction.is_empty() { 0 } else { digits(fraction)? };
    for _ in fraction.len()..9 {
        nanos *= 10;
    }
    // A leap second, which jiff does not know.
    let second = second.min(59);
    Time::new(hour, minute, second, i32::try_from(nanos).ok()?).ok()
}

fn digits(text: &str) -> Option<i64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Reads `02-Jan-2006 15:04:05.000`.
pub(super) fn date_and_clock(text: &str) -> Option<DateTime> {
    let (date, time) = text.split_once(' ')?;
    let mut parts = date.split('-');
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    let date = Date::new(
        digits(year)?.try_into().ok()?,
        self::month(month)?,
        digits(day)?.try_into().ok()?,
    );
    Some(DateTime::from_parts(date.ok()?, clock(time)?))
}

fn month(name: &str) -> Option<i8> {
    (1..).zip(MONTHS).find(|(_, known)| *known == name).map(|(number, _)| number)
}

pub(super) fn is_month(name: &str) -> bool {
    month(name).is_some()
}

pub(super) fn is_clock(text: &str) -> bool {
    clock(text).is_some()
}

/// Reads a `time.Time` as `%v` prints it: `2016-03-31 10:42:16.7 +0200 CEST m=+1.5`.
pub(super) fn go_string(text: &str) -> Option<Nanos> {
    let mut parts = text.split(' ');
    let (date, time, zone) = (parts.next()?, parts.next()?, parts.next()?);
    absolute(date, time, zone)
}

/// Whether the text is such a time, be it in a year that can be told or not.
pub(super) fn is_go_string(text: &str) -> bool {
    let (Some(year), Some(rest)) = (text.get(..4), text.get(4..)) else { return false };
    digits(year).is_some() && go_string(&format!("2000{rest}")).is_some()
}

/// Reads `2006-01-02T15:04:05.999999999Z` and the like, with any offset.
pub(super) fn rfc3339(text: &str) -> Option<Nanos> {
    let (date, rest) = text.split_once(['T', ' '])?;
    let zone = rest.find(['Z', '+', '-'])?;
    absolute(date, &rest[..zone], &rest[zone..])
}

fn absolute(date: &str, time: &str, zone: &str) -> Option<Nanos> {
    let mut parts = date.split('-').map(digits);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let date =
        Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()?;
    let local = as_if_utc(DateTime::from_parts(date, clock(&time.replace(',', "."))?))?;
    let offset = if zone == "Z" { 0 } else { offset(zone)? };
    local.checked_sub(Nanos::from(offset) * SECOND)
}

/// Reads `+0200`, `+02:00` or `+02`, in seconds.
fn offset(text: &str) -> Option<i32> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    let number: i32 = self::digits(&digits)?.try_into().ok()?;
    let (hours, minutes) = match digits.len() {
        2 => (number, 0),
        4 => (number / 100, number % 100),
        _ => return None,
    };
    (hours < 26 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// The time in klog's header, which has no year: `0322 23:02:24.357225`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeaderTime {
    month: i8,
    day: i8,
    time: Time,
}

impl HeaderTime {
    pub(super) fn parse(date: &str, time: &str) -> Option<Self> {
        let (month, day) = (date.get(..2)?, date.get(2..)?);
        let (month, day) = (digits(month)?.try_into().ok()?, digits(day)?.try_into().ok()?);
        let is_date = date.len() == 4 && Date::new(2_000, month, day).is_ok();
        is_date.then_some(())?;
        Some(Self { month, day, time: clock(time)? })
    }

    /// Both this and [`near`](Self::near) are as if the clocks showed UTC.
    pub(super) fn in_year(self, year: i16) -> Option<Nanos> {
        let date = Date::new(year, self.month, self.day).ok()?;
        as_if_utc(DateTime::from_parts(date, self.time))
    }

    /// The one nearest to `local`.
    pub(super) fn near(self, local: Nanos) -> Option<Nanos> {
        let year = to_local(local).year();
        (year - 1..=year + 1)
            .filter_map(|year| self.in_year(year))
            .min_by_key(|at| at.abs_diff(local))
    }
}

/// How far clocks that show `local` are ahead of UTC, given when about that was. Zones are whole
/// quarters of an hour; the two may be up to seven minutes apart.
pub(super) fn infer_offset(local: Nanos, about: Nanos) -> Option<Nanos> {
    const QUARTER: Nanos = 900 * SECOND;
    let quarters = local.saturating_sub(about).saturating_add(QUARTER / 2).div_euclid(QUARTER);
    // From Baker Island to Kiribati.
    (-48..=56).contains(&quarters).then_some(quarters * QUARTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME_DAY: Nanos = 1_637_625_600 * SECOND;

    #[test]
    fn zones() {
        let local = date_and_clock("23-Nov-2021 11:36:52.195").unwrap();
        let summer = date_and_clock("23-Jul-2021 11:36:52.195").unwrap();
        for (name, winter_hours, summer_hours) in
            [("UTC", 0, 0), ("+05:30", 5, 5), ("-0800", -8, -8), ("Europe/Berlin", 1, 2)]
        {
            let zone: TimeZone = name.parse().unwrap();
            assert_eq!(zone.offset(local, |_| 0) / (3_600 * SECOND), winter_hours, "{name}");
            assert_eq!(zone.offset(summer, |_| 0) / (3_600 * SECOND), summer_hours, "{name}");
        }
        for name in ["", "Mars/Phobos", "+2", "+99:00", "+02:99", "+0x:00"] {
            let error = name.parse::<TimeZone>().unwrap_err().to_string();
            assert!(error.contains("Europe/Berlin") && error.contains(name), "{error}");
        }
    }

    #[test]
    fn times_with_a_zone() {
        let expected = 1_571_021_102_189_619_028;
        for text in [
            "2019-10-14 02:45:02.189619028 +0000 UTC m=+1711.547581457",
            "2019-10-14 04:45:02.189619028 +0200 CEST",
            "2019-10-13 21:15:02.189619028 -0530",
        ] {
            assert_eq!(go_string(text), Some(expected), "{text}");
        }
        for text in [
            "2019-10-14T02:45:02.189619028Z",
            "2019-10-14T04:45:02.189619028+02:00",
            "2019-10-14T02:45:02.189619028+0000",
        ] {
            assert_eq!(rfc3339(text), Some(expected), "{text}");
        }
        assert_eq!(rfc3339("1970-01-01T00:00:01Z"), Some(SECOND));
        for text in [
            "",
            "2019-10-14",
            "2019-13-14T02:45:02Z",
            "2019-10-14T02:45Z",
            "x 1 2 3",
            "9999-10-14T02:45:02Z",
            "9999-10-14 02:45:02 +0000 UTC",
        ] {
            assert_eq!((rfc3339(text), go_string(text)), (None, None), "{text}");
        }
    }

    #[test]
    fn times_of_day_are_the_next_ones() {
        let at = |text| TimeOfDay::parse(text).unwrap();
        assert_eq!(at("00:00:01.500").on_or_after(SOME_DAY), SOME_DAY + 1_500_000_000);
        assert_eq!(
            at("00:00:01.500").on_or_after(SOME_DAY + 2 * SECOND),
            SOME_DAY + DAY + 1_500_000_000
        );
        let from = SOME_DAY + 52 * SECOND;
        assert_eq!(at("00:00:00.771").with_any_second(from), from + 771_000_000);
        assert_eq!(at("00:01:00.771").with_any_second(from), SOME_DAY + 60_771_000_000);
        // 52.9 s was 900 ms ago, so it is the second after.
        assert_eq!(
            at("00:00:00.100").with_any_second(from + 200_000_000),
            SOME_DAY + 53_100_000_000
        );
        for from in [Nanos::MIN, Nanos::MIN + DAY, Nanos::MAX - DAY, Nanos::MAX] {
            for text in ["00:00:00.000", "12:00:00.771", "23:59:59.999"] {
                let moments = [at(text).on_or_after(from), at(text).with_any_second(from)];
                assert!(moments.iter().all(|at| at.abs_diff(from) < 6 * DAY.unsigned_abs()));
            }
        }
        for text in ["", "1:00:00.000", "24:00:00.000", "00:00:00", "00:00:00.00", "00:61:00.000"] {
            assert_eq!(TimeOfDay::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_header_has_no_year() {
        let header = HeaderTime::parse("0101", "00:00:01.000000").unwrap();
        let last_second = as_if_utc(date_and_clock("31-Dec-2021 23:59:59.900").unwrap()).unwrap();
        assert_eq!(to_local(header.near(last_second).unwrap()).year(), 2022);
        assert_eq!((header.near(Nanos::MIN), header.near(Nanos::MAX)), (None, None));
        assert!(HeaderTime::parse("1301", "00:00:01").is_none());
        assert!(HeaderTime::parse("0101", "00:00").is_none());
    }

    #[test]
    fn offsets_are_inferred_to_the_quarter() {
        let hour = 3_600 * SECOND;
        assert_eq!(infer_offset(SOME_DAY, SOME_DAY - 300 * SECOND), Some(0));
        assert_eq!(
            infer_offset(SOME_DAY + 5 * hour + hour / 2, SOME_DAY + SECOND),
            Some(5 * hour + hour / 2)
        );
        assert_eq!(infer_offset(SOME_DAY - 8 * hour, SOME_DAY), Some(-8 * hour));
        assert_eq!(infer_offset(SOME_DAY + 30 * hour, SOME_DAY), None);
    }
}
