//! The progress display of a sweep.

use super::super::progress::clock;
use super::super::screen::Screen;
use crate::lab::sweep::local::Event;
use crate::lab::sweep::{state, Cell, CellState, Directory, Outcome, State};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// The time between lines about the whole sweep if the output is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// A display of events on standard error: on a terminal a bar for each worker and one for the sweep, else
/// lines.
pub struct Display<'a> {
    screen: &'a Screen,
    directory: &'a Directory,
    form: Form,
    quiet: bool,
    /// The iterations of each worker's cell that `done` includes.
    counted: Vec<u64>,
    /// The number of finished iterations over all cells.
    done: u64,
    /// The value of `done` at the start.
    before: u64,
    started: Instant,
    said: Instant,
    ended: usize,
}

enum Form {
    Bars {
        group: MultiProgress,
        workers: Vec<ProgressBar>,
        whole: ProgressBar,
    },
    Lines,
}

impl<'a> Display<'a> {
    /// A display for a sweep with `workers` workers.
    pub fn new(
        screen: &'a Screen,
        directory: &'a Directory,
        workers: usize,
        quiet: bool,
    ) -> Display<'a> {
        let plan = &directory.plan;
        let (mut before, mut ended) = (0, 0);
        for cell in &plan.cells {
            let now = state(directory, cell);
            before += now.iterations;
            ended += usize::from(now.state == State::Done);
        }
        let form = if screen.is_live() && !quiet {
            let group = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            let style = |template: &str| {
                ProgressStyle::with_template(template)
                    .expect("the template is fixed and names known parts")
                    .progress_chars("=> ")
            };
            let bars = (0..workers).map(|_| {
                let bar = group.add(ProgressBar::new(1));
                bar.set_style(style("{wide_bar} {percent:>3}%  {msg}"));
                bar
            });
            let workers = bars.collect();
            let whole = group.add(ProgressBar::new(plan.iterations()));
            whole.set_style(style("{wide_bar} {percent:>3}%  {msg}"));
            Form::Bars {
                group,
                workers,
                whole,
            }
        } else {
            Form::Lines
        };
        let now = Instant::now();
        Display {
            screen,
            directory,
            form,
            quiet,
            counted: vec![0; workers],
            done: before,
            before,
            started: now,
            said: now,
            ended,
        }
    }

    /// Shows an event.
    pub fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Started { slot, cell, before } => {
                self.counted[*slot] = before.iterations;
                let from = match before.iterations {
                    0 => String::new(),
                    iterations => format!(" after {iterations} iterations"),
                };
                self.bar(*slot, cell, before);
                self.line(&format!("started {}{from}", cell.name));
            }
            Event::Progress { slot, cell, now } => {
                self.count(*slot, now.iterations);
                self.bar(*slot, cell, now);
                if self.said.elapsed() >= LINE_EVERY {
                    self.said = Instant::now();
                    let whole = self.whole();
                    self.line(&whole);
                }
            }
            Event::Ended {
                slot,
                cell,
                outcome,
                took,
            } => {
                let took = clock(took.as_secs_f64());
                let line = match outcome {
                    Outcome::Done => {
                        self.ended += 1;
                        self.count(*slot, self.directory.plan.group(cell).iterations);
                        format!("done {} in {took} ({})", cell.name, self.tally())
                    }
                    Outcome::Interrupted => format!("stopped {}", cell.name),
                    Outcome::Failed(failure) => {
                        format!("FAILED {} after {took}: {}", cell.name, failure.sentence())
                    }
                };
                self.say(&line);
            }
            Event::Elsewhere(cell) => {
                self.say(&format!("left {}: another process trains it", cell.name));
            }
        }
        let whole = self.whole();
        if let Form::Bars { whole: bar, .. } = &self.form {
            bar.set_position(self.done);
            bar.set_message(whole);
        }
    }

    fn count(&mut self, slot: usize, iterations: u64) {
        let new = iterations.saturating_sub(self.counted[slot]);
        self.counted[slot] += new;
        self.done += new;
    }

    fn tally(&self) -> String {
        format!("{} of {} done", self.ended, self.directory.plan.cells.len())
    }

    /// The state of the sweep in a few words.
    fn whole(&self) -> String {
        let mut text = self.tally();
        let seconds = self.started.elapsed().as_secs_f64();
        let now = self.done.saturating_sub(self.before);
        if now > 0 && seconds > 1.0 {
            let left = self.directory.plan.iterations().saturating_sub(self.done);
            let time = clock(left as f64 * seconds / now as f64);
            text.push_str(&format!("  {time} left"));
        }
        text
    }

    fn bar(&self, slot: usize, cell: &Cell, now: &CellState) {
        if let Form::Bars { workers, .. } = &self.form {
            let bar = &workers[slot];
            bar.set_length(self.directory.plan.group(cell).iterations.max(1));
            bar.set_position(now.iterations);
            bar.set_message(cell.name.clone());
        }
    }

    /// Prints a line that bars make unnecessary.
    fn line(&self, text: &str) {
        if matches!(self.form, Form::Lines) && !self.quiet {
            self.screen.say(text);
        }
    }

    /// Prints a line that stays.
    fn say(&self, text: &str) {
        match &self.form {
            // Printing fails only if nobody sees it.
            Form::Bars { group, .. } => drop(group.println(text)),
            Form::Lines if self.quiet => {}
            Form::Lines => self.screen.say(text),
        }
    }
}

impl Drop for Display<'_> {
    fn drop(&mut self) {
        if let Form::Bars { workers, whole, .. } = &self.form {
            for bar in workers {
                bar.finish_and_clear();
            }
            whole.abandon();
        }
    }
}
