//! What klog writes before a record.

use std::fmt;
use std::panic::Location;
use std::time::SystemTime;

use crate::legacy::clock;
use crate::legacy::go::Zone;

/// The header of an informational record: `Immdd hh:mm:ss.uuuuuu PID FILE:LINE] `.
pub(super) struct Header<'a> {
    pub(super) time: SystemTime,
    pub(super) zone: Zone,
    pub(super) pid: u32,
    pub(super) file: &'a str,
    pub(super) line: u32,
}

impl<'a> Header<'a> {
    /// Where upstream's records come from, whoever called: the line of its own `klog.Info`.
    const UPSTREAM: (&'static str, u32) = ("trace.go", 236);

    /// The header of a record written now, from `location`, or from where upstream says.
    pub(super) fn now(location: &'a Location<'_>, is_exact: bool, zone: Zone) -> Self {
        let path = location.file();
        let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
        let (file, line) = if is_exact { Self::UPSTREAM } else { (file, location.line()) };
        Self { time: clock::wall(), zone, pid: std::process::id(), file, line }
    }
}

impl fmt::Display for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, zone, pid, file, line } = self;
        let read = zone.read(*time);
        let (month, day) = (read.month(), read.day());
        let (hour, minute, second) = (read.hour(), read.minute(), read.second());
        let micros = read.subsec_nanosecond() / 1_000;
        write!(f, "I{month:02}{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06} ")?;
        write!(f, "{pid:>7} {file}:{line}] ")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_header_is_klogs() {
        let header = Header {
            time: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_763_796_600_000_123_999),
            zone: Zone::Utc,
            pid: 12345,
            file: "trace.go",
            line: 236,
        };
        assert_eq!(header.to_string(), "I1122 07:30:00.000123   12345 trace.go:236] ");
    }

    #[test]
    fn the_file_is_named_without_its_folder() {
        let here = Location::caller();
        let header = Header::now(here, false, Zone::Utc);
        assert_eq!((header.file, header.line), ("klog.rs", here.line()));
        let header = Header::now(here, true, Zone::Utc);
        assert_eq!((header.file, header.line), ("trace.go", 236));
    }
}
