//! Which part of a clip is wanted: times as people write them, and the window that reader and copied streams share.

use std::fmt;
use std::str::FromStr;

/// A time from the first frame on, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Time {
    /// A hundred years: beyond any clip, within any time base.
    const MOST: i64 = 3_200_000_000_000_000;
}

/// Why a text is no time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("time '{0}' is not understood (expected seconds like 12.5, or 1:30, or 0:01:30.25)")]
pub struct ParseTimeError(String);

impl FromStr for Time {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseTimeError(text.to_owned());
        let mut parts = text.rsplit(':');
        let seconds = parts.next().filter(|part| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
        let mut total: f64 = seconds.and_then(|part| part.parse().ok()).ok_or_else(error)?;
        let mut unit = 60.0;
        for part in parts {
            if unit > 3600.0 || total >= unit {
                return Err(error());
            }
            total += f64::from(part.parse::<u32>().map_err(|_| error())?) * unit;
            unit *= 60.0;
        }
        let microseconds = (total * 1e6).round() as i64;
        if microseconds > Self::MOST {
            return Err(error());
        }
        Ok(Self(microseconds))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0 as f64 / 1e6)
    }
}

/// The part of a clip that is wanted; the default is all of it. Times before the first frame mean that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cut {
    /// Frames from here on.
    pub start: Option<Time>,
    /// Frames before this.
    pub end: Option<Time>,
    /// At most so many frames.
    pub frames: Option<u64>,
}

impl Cut {
    /// The same part by times that can be reckoned with.
    pub(super) fn within_reach(self) -> Self {
        let within = |Time(time)| Time(time.clamp(0, Time::MOST));
        Self { start: self.start.map(within), end: self.end.map(within), ..self }
    }
}

/// A cut in the clock of the file, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Window {
    /// Nothing before this.
    pub start: Option<i64>,
    /// Nothing from here on.
    pub end: Option<i64>,
    /// What is taken from every timestamp: the start, as near as the pictures' time base comes to it.
    pub shift: i64,
}

impl Window {
    pub fn contains(&self, time: i64) -> bool {
        self.start.is_none_or(|start| time >= start) && self.end.is_none_or(|end| time < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, microseconds) in
            [("0", 0), ("12.5", 12_500_000), ("1:30", 90_000_000), ("0:01:30.25", 90_250_000), (".5", 500_000)]
        {
            assert_eq!(text.parse(), Ok(Time(microseconds)), "{text}");
        }
        for text in ["", "-1", "1:60", "1:2:3:4", "abc", "1e9", "nan", "1:", ":30", "99999999999"] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_window_holds_its_start_and_not_its_end() {
        let window = Window { start: Some(10), end: Some(20), shift: 10 };
        assert_eq!([9, 10, 19, 20].map(|time| window.contains(time)), [false, true, true, false]);
        assert!(Window::default().contains(i64::MIN));
    }
}
