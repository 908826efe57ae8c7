//! Time a test has had.

use std::time::{Duration, Instant};

/// Measures the processor time of this thread where the system tells it, so that other tests do not count; elsewhere, all time.
pub struct Stopwatch {
    started: Instant,
    had: Option<Duration>,
}

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch {
            started: Instant::now(),
            had: thread_time(),
        }
    }

    pub fn elapsed(&self) -> Duration {
        match (self.had, thread_time()) {
            (Some(had), Some(has)) => has.saturating_sub(had),
            _ => self.started.elapsed(),
        }
    }
}

fn thread_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}
