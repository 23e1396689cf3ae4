//! When the pictures of a file are due, if it is played as if it were a camera.

use std::time::{Duration, Instant};

/// Turns the timestamps of a clip that plays over and over into moments. Time is given, not asked for.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the clip's time 0 is.
    origin: Option<Instant>,
    /// Where the first picture of a round starts in the clip, in seconds; `None`: it is to come.
    start: Option<f64>,
    /// Where the last picture ends in the clip, in seconds.
    end: f64,
}

/// A player that is later than this does not hurry to catch up, but goes on from where it is.
const MOST_DELAY: Duration = Duration::from_millis(500);

impl Pace {
    /// When to show the picture that lasts from `start` to `end` (seconds of the clip) and is ready at `now`.
    pub fn due(&mut self, start: f64, end: f64, now: Instant) -> Instant {
        self.start.get_or_insert(start);
        self.end = end.max(start);
        let offset = Duration::try_from_secs_f64(start).unwrap_or_default();
        let due = self.origin.map(|origin| origin + offset);
        match due {
            Some(due) if now.saturating_duration_since(due) <= MOST_DELAY => due,
            _ => {
                // Subtraction can leave the clock's range only right after a machine's start.
                self.origin = now.checked_sub(offset);
                now
            }
        }
    }

    /// The clip begins anew where it ended.
    pub fn start_over(&mut self) {
        let length = self.end - self.start.take().unwrap_or(0.0);
        let length = Duration::try_from_secs_f64(length).unwrap_or_default();
        self.origin = self.origin.map(|origin| origin + length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn pictures_are_due_by_their_timestamps_round_after_round() {
        let begin = Instant::now() + START;
        let mut pace = Pace::default();
        assert_eq!(pace.due(0.0, 0.04, begin), begin);
        assert_eq!(pace.due(0.04, 0.1, begin + millis(5)), begin + millis(40));
        assert_eq!(pace.due(0.1, 0.2, begin + millis(120)), begin + millis(100));
        pace.start_over();
        assert_eq!(pace.due(0.0, 0.04, begin + millis(190)), begin + millis(200));
        assert_eq!(pace.due(0.04, 0.1, begin + millis(190)), begin + millis(240));
    }

    #[test]
    fn a_clip_that_starts_late_is_not_waited_for() {
        let begin = Instant::now() + START;
        let mut pace = Pace::default();
        for round in 0..3 {
            let now = begin + millis(80 * round);
            assert_eq!(pace.due(6.0, 6.04, now), now);
            assert_eq!(pace.due(6.04, 6.08, now), now + millis(40));
            pace.start_over();
        }
    }

    #[test]
    fn a_player_that_is_late_does_not_hurry() {
        let begin = Instant::now() + START;
        let mut pace = Pace::default();
        pace.due(0.0, 0.04, begin);
        let late = begin + millis(900);
        assert_eq!(pace.due(0.04, 0.08, late), late);
        assert_eq!(pace.due(0.08, 0.12, late), late + millis(40));
    }
}
