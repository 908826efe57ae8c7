//! The progress display of a training run.

use super::screen::Screen;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::VecDeque;
use std::time::Duration;

/// The number of iterations averaged for display.
const WINDOW: usize = 100;
/// The time between lines if the output is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// The time between changes of the bar.
const BAR_EVERY: Duration = Duration::from_millis(100);

/// The progress of a run after an iteration.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The number of iterations done, including those before a resumption.
    pub iteration: u64,
    /// The number of all iterations.
    pub total: u64,
    /// The mean reward per episode of this iteration, in reward tasks.
    pub reward: Option<f64>,
    /// The first score of this iteration, with its name.
    pub score: Option<(&'a str, f64)>,
    /// The loss of this iteration.
    pub loss: f64,
    /// The norm of the whole gradient before clipping.
    pub gradient_norm: f64,
    /// The time since the run was started or resumed.
    pub elapsed: Duration,
}

/// A display of [`Progress`] on standard error: a bar on a terminal, else occasional lines, or nothing.
pub struct Display<'a> {
    screen: &'a Screen,
    form: Form,
    meter: Meter,
}

enum Form {
    Bar { bar: ProgressBar, pace: Pace },
    Lines(Pace),
    Quiet,
}

impl<'a> Display<'a> {
    /// A display for a run of `total` iterations, of which `done` were before a resumption.
    pub fn new(screen: &'a Screen, done: u64, total: u64, quiet: bool) -> Display<'a> {
        let form = if quiet {
            Form::Quiet
        } else if screen.is_live() {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{wide_bar} {percent:>3}%\n{msg}")
                .expect("the template is fixed and names known parts")
                .progress_chars("=> ");
            bar.set_style(style);
            let pace = Pace::new(BAR_EVERY);
            Form::Bar { bar, pace }
        } else {
            Form::Lines(Pace::new(LINE_EVERY))
        };
        Display {
            screen,
            form,
            meter: Meter::new(done),
        }
    }

    /// Updates the display; call it after every iteration. The last one is always shown.
    pub fn update(&mut self, progress: &Progress<'_>) {
        self.meter.add(progress);
        match &mut self.form {
            Form::Bar { bar, pace } => {
                if pace.due(progress) {
                    bar.set_position(progress.iteration);
                    bar.set_message(self.meter.line(progress));
                }
            }
            Form::Lines(pace) => {
                if pace.due(progress) {
                    self.screen.say(&self.meter.line(progress));
                }
            }
            Form::Quiet => {}
        }
    }

    /// The mean of the values in [`Progress`] over the last iterations, in words.
    pub fn mean(&self) -> Option<String> {
        let count = self.meter.measure.0.len();
        let mean = self.meter.measure.mean()?;
        let over = if count == 1 {
            "the last iteration".to_owned()
        } else {
            format!("mean of the last {count} iterations")
        };
        Some(format!("{} {mean:.3} ({over})", self.meter.name))
    }
}

impl Drop for Display<'_> {
    /// Ends the line of the bar, so that later output begins on a new line.
    fn drop(&mut self) {
        if let Form::Bar { bar, .. } = &self.form {
            bar.abandon();
        }
    }
}

/// The times at which to show something: first, then at intervals, and last.
struct Pace {
    every: Duration,
    next: Duration,
}

impl Pace {
    fn new(every: Duration) -> Pace {
        Pace {
            every,
            next: Duration::ZERO,
        }
    }

    fn due(&mut self, progress: &Progress<'_>) -> bool {
        let due = progress.elapsed >= self.next || progress.iteration >= progress.total;
        if due {
            self.next = progress.elapsed + self.every;
        }
        due
    }
}

/// A formatter of progress in words.
struct Meter {
    done_before: u64,
    /// The name of the averaged value.
    name: String,
    measure: Window,
    loss: Window,
    gradient: Window,
}

/// The last values of a number, without those that are NaN: a chunk without targets has no loss.
#[derive(Default)]
struct Window(VecDeque<f64>);

impl Window {
    fn add(&mut self, value: f64) {
        if !value.is_nan() {
            if self.0.len() == WINDOW {
                self.0.pop_front();
            }
            self.0.push_back(value);
        }
    }

    fn mean(&self) -> Option<f64> {
        let sum = self.0.iter().sum::<f64>();
        (!self.0.is_empty()).then(|| sum / self.0.len() as f64)
    }
}

impl Meter {
    fn new(done_before: u64) -> Meter {
        Meter {
            done_before,
            name: "reward".to_owned(),
            measure: Window::default(),
            loss: Window::default(),
            gradient: Window::default(),
        }
    }

    fn add(&mut self, progress: &Progress<'_>) {
        let reward = progress.reward.map(|reward| ("reward", reward));
        self.loss.add(progress.loss);
        if !progress.loss.is_nan() {
            self.gradient.add(progress.gradient_norm);
        }
        let value = reward.or(progress.score);
        if let Some((name, value)) = value.filter(|(_, value)| !value.is_nan()) {
            name.clone_into(&mut self.name);
            self.measure.add(value);
        }
    }

    fn line(&self, progress: &Progress<'_>) -> String {
        let Progress {
            iteration, total, ..
        } = progress;
        let mut line = format!("{iteration}/{total}");
        if let Some(mean) = self.measure.mean() {
            line.push_str(&format!("  {} {mean:.3}", self.name));
        }
        // All three are means over the same iterations.
        let [loss, gradient] =
            [&self.loss, &self.gradient].map(|window| window.mean().unwrap_or(f64::NAN));
        line.push_str(&format!("  loss {loss:.4}  gradient {gradient:.3}"));
        let done = iteration.saturating_sub(self.done_before);
        let seconds = progress.elapsed.as_secs_f64();
        if done > 0 && seconds > 0.0 {
            let rate = done as f64 / seconds;
            let left = total.saturating_sub(*iteration) as f64 / rate;
            line.push_str(&format!("  {rate:.2}/s  {} left", clock(left)));
        }
        line
    }
}

/// A duration as `5s`, `3m20s`, `2h05m` or `4d03h`.
pub fn clock(seconds: f64) -> String {
    // A cast from a float saturates, so that even an infinite time can be shown.
    let seconds = seconds.round() as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if days > 0 {
        format!("{days}d{:02}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h{:02}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m{:02}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::ColorChoice;

    fn at(iteration: u64, milliseconds: u64, reward: Option<f64>) -> Progress<'static> {
        Progress {
            iteration,
            total: 1000,
            reward,
            score: None,
            loss: 0.123_45,
            gradient_norm: 2.5,
            elapsed: Duration::from_millis(milliseconds),
        }
    }

    #[test]
    fn a_line_says_everything() {
        let mut meter = Meter::new(0);
        meter.add(&at(1, 500, Some(1.0)));
        meter.add(&at(2, 1000, Some(2.0)));
        assert_eq!(
            meter.line(&at(2, 1000, Some(2.0))),
            "2/1000  reward 1.500  loss 0.1235  gradient 2.500  2.00/s  8m19s left"
        );
    }

    #[test]
    fn without_rewards_or_time_the_line_is_shorter() {
        let mut meter = Meter::new(0);
        meter.add(&at(0, 0, None));
        let line = meter.line(&at(0, 0, None));
        assert_eq!(line, "0/1000  loss 0.1235  gradient 2.500");
    }

    #[test]
    fn the_rate_leaves_out_what_a_resumed_run_did_before() {
        let line = Meter::new(500).line(&at(600, 10_000, None));
        assert!(line.ends_with("10.00/s  40s left"), "{line}");
    }

    #[test]
    fn the_mean_forgets() {
        let mut meter = Meter::new(0);
        for k in 0..300 {
            meter.add(&at(k, k, Some(k as f64)));
        }
        let line = meter.line(&at(300, 300, None));
        assert!(line.contains("reward 249.500"), "{line}");
    }

    #[test]
    fn the_loss_is_a_mean_over_the_iterations_of_the_reward() {
        let mut meter = Meter::new(0);
        for k in 0..300 {
            let loss = k as f64;
            let gradient_norm = 2.0 * loss;
            meter.add(&Progress {
                loss,
                gradient_norm,
                ..at(k, k, Some(loss))
            });
        }
        let line = meter.line(&at(300, 300, None));
        let means = "reward 249.500  loss 249.5000  gradient 499.000";
        assert!(line.contains(means), "{line}");
    }

    #[test]
    fn lines_come_first_then_every_ten_seconds_and_last() {
        let mut pace = Pace::new(LINE_EVERY);
        let shown: Vec<u64> = (1..=1000)
            .filter(|k| pace.due(&at(*k, k * 25, None)))
            .collect();
        assert_eq!(shown, [1, 401, 801, 1000]);
    }

    #[test]
    fn quiet_and_plain_displays_take_every_update() {
        let screen = Screen::new(ColorChoice::Never);
        for quiet in [true, false] {
            let mut display = Display::new(&screen, 0, 1000, quiet);
            display.update(&at(1, 10, Some(0.5)));
            assert_eq!(display.meter.measure.0.len(), 1);
        }
    }

    #[test]
    fn clocks() {
        let texts: Vec<String> = [4.6, 200.0, 7500.0, 356_400.0, f64::INFINITY]
            .iter()
            .map(|seconds| clock(*seconds))
            .collect();
        assert_eq!(texts[..4], ["5s", "3m20s", "2h05m", "4d03h"]);
        assert!(texts[4].ends_with('h'));
    }
}
