//! Waiting without sleep: to wake a sleeping thread takes longer than a fast environment works.
//!
//! A thread that looks again and again keeps a processor busy. It does so only where each process, and each thread that waits for
//! one, has a processor; only as long as answers come soon; and not for a while after others took its processor.

use std::time::{Duration, Instant};

/// The time after which a thread sleeps instead; environments are told it, too.
pub(super) const LONGEST: Duration = Duration::from_micros(500);

/// A time between two looks that tells that others took the processor.
const INTERRUPTED: Duration = Duration::from_micros(100);

/// The answers that are waited for asleep after that.
const REST: u32 = 200;

/// Says for how long a thread watches for what one of so many processes does.
pub(super) fn longest(processes: usize) -> Duration {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    match 2 * processes <= processors {
        true => LONGEST,
        false => Duration::ZERO,
    }
}

/// The watch for the answers of a process.
#[derive(Debug)]
pub(super) struct Watch {
    longest: Duration,
    /// When the answer was asked for, and when it was looked for last.
    times: [Instant; 2],
    /// The time that the answer before took.
    last: Duration,
    rest: u32,
}

impl Watch {
    /// A watch of at most so long.
    pub fn new(longest: Duration) -> Watch {
        Watch {
            longest,
            times: [Instant::now(); 2],
            last: Duration::ZERO,
            rest: 0,
        }
    }

    /// Begins: something was asked for. Returns the time.
    pub fn begin(&mut self) -> Instant {
        let now = Instant::now();
        self.times = [now; 2];
        now
    }

    /// True if the answer is looked for again, and not waited for asleep.
    pub fn goes_on(&mut self) -> bool {
        if self.rest > 0 || self.last > self.longest {
            return false;
        }
        let now = Instant::now();
        let [began, looked] = self.times;
        if now - looked > INTERRUPTED {
            self.rest = REST;
        }
        self.times[1] = now;
        let goes_on = self.rest == 0 && now - began < self.longest;
        if goes_on {
            // Whoever else wants this processor has it first.
            std::thread::yield_now();
        }
        goes_on
    }

    /// Ends: the answer is there.
    pub fn end(&mut self) {
        self.last = self.times[0].elapsed();
        self.rest = self.rest.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::{longest, Watch, LONGEST, REST};
    use std::time::Duration;

    #[test]
    fn a_watch_ends_with_slow_answers_and_where_others_take_the_processor() {
        assert_eq!(longest(1 << 20), Duration::ZERO);
        assert!(!Watch::new(Duration::ZERO).goes_on());
        let mut watch = Watch::new(Duration::from_secs(1000));
        watch.begin();
        // Another thread may take the processor in any test.
        assert!(watch.goes_on() || watch.rest == REST);
        watch.rest = 0;
        std::thread::sleep(2 * LONGEST);
        assert!(!watch.goes_on());
        for _ in 0..REST {
            assert!(!watch.goes_on());
            watch.end();
        }
        watch.begin();
        assert!(watch.goes_on() || watch.rest == REST);
        (watch.rest, watch.longest, watch.last) = (0, LONGEST, 2 * LONGEST);
        watch.begin();
        assert!(!watch.goes_on());
    }
}
