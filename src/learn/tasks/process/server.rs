//! A process that serves lanes: started with the first lines, asked step by step, ended at its first fault.

use super::child::Child;
use super::protocol::{hello, Description};
use super::watch::longest;
use super::words::words;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The command that starts an environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Start {
    pub command: String,
    pub folder: std::path::PathBuf,
    /// For its first line, and for each answer.
    pub timeouts: [Duration; 2],
}

/// The data that the processes of a task have in common.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// The mark of a fault in one of them: the others need not go on.
    failed: AtomicBool,
    /// The first fault.
    fault: Mutex<Option<String>>,
}

/// A fault of a command: the sentence, and its last words on standard error.
#[derive(Debug)]
pub(super) struct StartFault {
    pub message: String,
    pub last_words: String,
}

/// A process with its lanes.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    command: String,
    timeout: Duration,
    /// The number of the process from 1, and of how many.
    number: [usize; 2],
    common: Arc<Common>,
}

impl Start {
    fn child(&self, watch: Duration) -> Result<Child, StartFault> {
        let folder: &Path = &self.folder;
        let child = words(&self.command).and_then(|words| {
            Child::start(&words, folder, watch)
                .map_err(|clause| format!("the environment `{}` {clause}", self.command))
        });
        child.map_err(|message| StartFault {
            message,
            last_words: String::new(),
        })
    }

    fn described(
        &self,
        child: &mut Child,
        lanes: usize,
        watch: Duration,
    ) -> Result<Description, StartFault> {
        let line = child.greet(&hello(lanes, watch), self.timeouts[0]);
        // What stands on a line that is no JSON tells more than what follows it.
        let found = line.and_then(|line| {
            let description = Description::read(&line)?;
            child.nothing_left()?;
            Ok(description)
        });
        found.map_err(|clause| {
            child.end();
            StartFault {
                message: format!("the environment `{}` {clause}", self.command),
                last_words: child.last_words(),
            }
        })
    }

    /// Starts the environment for one lane, asks what it is, and ends it.
    pub fn describe(&self) -> Result<Description, StartFault> {
        let mut child = self.child(Duration::ZERO)?;
        self.described(&mut child, 1, Duration::ZERO)
    }

    /// Starts processes for so many lanes each.
    pub fn serve(
        &self,
        lanes: &[usize],
        expected: &Description,
    ) -> Result<Vec<Arc<Mutex<Server>>>, StartFault> {
        let common = Arc::new(Common::default());
        let watch = longest(lanes.len());
        // All of them load at once.
        let children: Vec<Child> = lanes
            .iter()
            .map(|_| self.child(watch))
            .collect::<Result<_, _>>()?;
        let mut all = Vec::new();
        for (k, (mut child, lanes)) in children.into_iter().zip(lanes).enumerate() {
            let found = self.described(&mut child, *lanes, watch)?;
            if found != *expected {
                return Err(StartFault {
                    message: format!(
                        "the environment `{}` describes itself for {lanes} lanes otherwise than when the spec was read",
                        self.command
                    ),
                    last_words: String::new(),
                });
            }
            all.push(Arc::new(Mutex::new(Server {
                child,
                command: self.command.clone(),
                timeout: self.timeouts[1],
                number: [k + 1, 0],
                common: Arc::clone(&common),
            })));
        }
        let count = all.len();
        for server in &all {
            let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
            server.number[1] = count;
        }
        Ok(all)
    }
}

impl Server {
    /// Sends a frame and returns the one that comes back.
    ///
    /// # Errors
    /// The fault, as a clause whose subject is the environment.
    pub fn exchange(&mut self, frame: &[u8], wanted: usize) -> Result<&[u8], String> {
        if self.common.failed.load(Ordering::Relaxed) {
            return Err("was ended, because another process failed".to_owned());
        }
        self.child.exchange(frame, wanted, self.timeout)
    }

    /// Ends the process after a fault; returns the sentence about the first fault of all processes.
    pub fn fault(&mut self, place: &str, clause: &str) -> String {
        let mut fault = self
            .common
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = fault.as_ref() {
            return first.clone();
        }
        self.common.failed.store(true, Ordering::Relaxed);
        self.child.end();
        let last_words = self.child.last_words();
        let number = match self.number {
            [_, 1] => String::new(),
            [k, all] => format!(" (process {k} of {all})"),
        };
        let mut text = format!(
            "{place}: the environment `{}`{number} {clause}",
            self.command
        );
        if !last_words.is_empty() {
            text += &format!("; its last words on standard error:{last_words}");
        }
        text.clone_into(fault.get_or_insert_default());
        text
    }
}
