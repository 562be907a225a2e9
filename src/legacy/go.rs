//! Numbers and times as Go's `fmt` and `time` packages print them, because the text form is Go's.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A length of time in nanoseconds as `time.Duration` prints it: `1m1.5s`, `3.5ms`, `400ns`.
pub(crate) struct Nanoseconds(pub(crate) i128);

impl fmt::Display for Nanoseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_char('-')?;
        }
        let (unit, name) = match nanos {
            0 => return f.write_str("0s"),
            1..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        let mut whole = nanos / unit;
        if name == "s" {
            let (hours, minutes) = (whole / 3_600, whole / 60 % 60);
            if hours > 0 {
                write!(f, "{hours}h")?;
            }
            if whole >= 60 {
                write!(f, "{minutes}m")?;
            }
            whole %= 60;
        }
        write!(f, "{whole}")?;
        let mut rest = nanos % unit;
        if rest > 0 {
            let mut digits = unit.ilog10() as usize;
            while rest.is_multiple_of(10) {
                rest /= 10;
                digits -= 1;
            }
            write!(f, ".{rest:0digits$}")?;
        }
        f.write_str(name)
    }
}

/// A floating-point number as `%v` prints it: the shortest digits that are this number, with an
/// exponent from `1e+06` on and below `0.0001`.
pub(crate) struct Float(pub(crate) f64);

impl fmt::Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_nan() {
            return f.write_str("NaN");
        }
        if self.0.is_infinite() {
            return f.write_str(if self.0 < 0.0 { "-Inf" } else { "+Inf" });
        }
        let scientific = format!("{:e}", self.0);
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        match exponent.parse::<i32>() {
            Ok(exponent) if !(-4..6).contains(&exponent) => {
                let sign = if exponent < 0 { '-' } else { '+' };
                write!(f, "{digits}e{sign}{:02}", exponent.unsigned_abs())
            }
            _ => write!(f, "{}", self.0),
        }
    }
}

/// Where the clocks are that printed times are read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Zone {
    /// The system's time zone, or the one in `TZ`.
    #[default]
    Local,
    Utc,
}

impl Zone {
    /// The time as a calendar and a clock show it. A time outside of the years that have four
    /// digits becomes the nearest within.
    pub(crate) fn read(self, time: SystemTime) -> DateTime {
        let timestamp = Timestamp::try_from(time).unwrap_or(if time < SystemTime::UNIX_EPOCH {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        });
        match self {
            Self::Local => TimeZone::system().to_datetime(timestamp),
            Self::Utc => TimeZone::UTC.to_datetime(timestamp),
        }
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A time in the layout `02-Jan-2006 15:04:05.000`, cut to the millisecond.
pub(crate) struct DateAndClock(pub(crate) DateTime);

impl fmt::Display for DateAndClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let month = MONTHS[usize::from(self.0.month().unsigned_abs() - 1) % MONTHS.len()];
        write!(f, "{:02}-{month}-{:04} {}", self.0.day(), self.0.year(), Clock(self.0))
    }
}

/// A time in the layout `15:04:05.000`, cut to the millisecond.
pub(crate) struct Clock(pub(crate) DateTime);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.0.time();
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        write!(f, "{hour:02}:{minute:02}:{second:02}.{:03}", time.millisecond())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn durations_as_go_prints_them() {
        let cases = [
            (0, "0s"),
            (1, "1ns"),
            (400, "400ns"),
            (1_000, "1µs"),
            (1_100, "1.1µs"),
            (3_500_000, "3.5ms"),
            (500_000_000, "500ms"),
            (1_000_000_000, "1s"),
            (1_020_000_000, "1.02s"),
            (60_000_000_000, "1m0s"),
            (61_001_250_000, "1m1.00125s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_601_000_000_001, "1h0m1.000000001s"),
            (-1_500, "-1.5µs"),
        ];
        for (nanos, expected) in cases {
            assert_eq!(Nanoseconds(nanos).to_string(), expected, "{nanos}");
        }
    }

    #[test]
    fn floating_point_numbers_as_go_prints_them() {
        let cases = [
            (0.0, "0"),
            (1.5, "1.5"),
            (3.0, "3"),
            (100_000.0, "100000"),
            (123_456.789, "123456.789"),
            (1_000_000.0, "1e+06"),
            (12_345_678.9, "1.23456789e+07"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-2.5e-9, "-2.5e-09"),
            (1e-100, "1e-100"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (number, expected) in cases {
            assert_eq!(Float(number).to_string(), expected, "{number:?}");
        }
    }

    #[test]
    fn times_are_cut_to_the_millisecond() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_763_796_600_123_999_999);
        let read = Zone::Utc.read(time);
        assert_eq!(DateAndClock(read).to_string(), "22-Nov-2025 07:30:00.123");
        assert_eq!(Clock(read).to_string(), "07:30:00.123");
    }

    #[test]
    fn a_time_before_1970_is_cut_downwards() {
        let time = SystemTime::UNIX_EPOCH - Duration::from_micros(500);
        assert_eq!(DateAndClock(Zone::Utc.read(time)).to_string(), "31-Dec-1969 23:59:59.999");
    }
}
