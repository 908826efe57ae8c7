//! The process of an environment: started, asked, and ended at the latest with bpmc.
//!
//! A process never outlives bpmc. It is killed when its [`Child`] is dropped; its standard input ends with bpmc; and on Linux the
//! kernel kills it when bpmc itself is killed.

use super::protocol::{wrong_length, LONGEST_LINE};
use super::watch::Watch;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of standard error that are kept for messages.
const LAST_WORDS: usize = 2000;

/// The time in which a process must end by itself once its standard input ended.
const GRACE: Duration = Duration::from_millis(500);

/// A process that is asked one thing at a time.
#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    error: Option<ChildStderr>,
    /// The bytes that it wrote and nobody has taken yet.
    written: Vec<u8>,
    /// The buffer of one read.
    buffer: Box<[u8]>,
    watch: Watch,
    /// The end of what it wrote to standard error.
    last_words: VecDeque<u8>,
    reaped: Option<ExitStatus>,
}

/// Starts processes. The kernel ends a process when the thread that started it ends, so this thread never does.
type Job = (Command, Sender<std::io::Result<std::process::Child>>);

/// The groups of the processes that are not reaped. They are ended where bpmc exits without dropping anything.
static GROUPS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn groups() -> MutexGuard<'static, Vec<u32>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills a process and all that it started. To be called before the process is reaped, so that the number is still its own.
fn kill(group: u32) {
    // SAFETY: the call reads and writes no memory.
    unsafe {
        libc::kill(-(group as libc::pid_t), libc::SIGKILL);
    }
}

extern "C" fn kill_all() {
    // Whoever holds the list while bpmc exits is starting or ending a process.
    if let Ok(groups) = GROUPS.try_lock() {
        groups.iter().copied().for_each(kill);
    }
}

fn spawn(command: Command) -> std::io::Result<std::process::Child> {
    static STARTER: OnceLock<Sender<Job>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        // SAFETY: the function does not unwind, and is there as long as the program.
        unsafe {
            libc::atexit(kill_all);
        }
        let (sender, jobs) = channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in jobs {
                // Whoever asked waits for the answer.
                let started = command.spawn();
                groups().extend(started.as_ref().map(std::process::Child::id));
                let _ = answer.send(started);
            }
        });
        sender
    });
    let (sender, answer) = channel();
    let gone = |_| std::io::Error::other("the thread that starts processes has ended");
    starter.send((command, sender)).map_err(|_| gone(()))?;
    answer.recv().map_err(|_| gone(()))?
}

fn without_waiting(fd: RawFd) -> std::io::Result<()> {
    // SAFETY: the descriptor is open, and these calls read and write no memory.
    let done = unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK)
    };
    match done {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The result of reading a pipe.
#[derive(PartialEq, Eq)]
enum Pipe {
    Waits,
    Ended,
}

impl Child {
    /// Starts a command in a folder; its answers are watched for at most so long before this thread sleeps.
    ///
    /// # Errors
    /// The fault, as a clause whose subject is the command.
    pub fn start(words: &[String], folder: &Path, watch: Duration) -> Result<Child, String> {
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        // The adapter of this very program, wherever it lies.
        let program = match crate::machine::own::program() {
            Ok(own) if words[0] == "bpmc" && own.file_stem() == Some("bpmc".as_ref()) => own,
            _ => words[0].clone().into(),
        };
        let mut command = Command::new(program);
        command
            .args(&words[1..])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in a terminal is for bpmc, which ends its processes itself.
            .process_group(0);
        let parent = std::process::id();
        // SAFETY: between fork and exec only calls that are safe there are made.
        unsafe {
            command.pre_exec(move || end_with(parent));
        }
        let cannot = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound if !folder.is_dir() => {
                format!("cannot start: there is no folder {}", folder.display())
            }
            ErrorKind::NotFound => format!("cannot start: there is no program `{}`", words[0]),
            _ => format!("cannot start: {error}"),
        };
        let mut process = spawn(command).map_err(cannot)?;
        let pipes = (
            process.stdin.take(),
            process.stdout.take(),
            process.stderr.take(),
        );
        let (Some(input), Some(output), Some(error)) = pipes else {
            unreachable!("all three were asked for");
        };
        for fd in [input.as_raw_fd(), output.as_raw_fd(), error.as_raw_fd()] {
            without_waiting(fd).map_err(cannot)?;
        }
        Ok(Child {
            process,
            input: Some(input),
            output,
            error: Some(error),
            written: Vec::new(),
            buffer: vec![0; 1 << 16].into(),
            watch: Watch::new(watch),
            last_words: VecDeque::new(),
            reaped: None,
        })
    }

    /// Sends a request, and waits until what the process wrote satisfies `whole`.
    fn ask(
        &mut self,
        mut request: &[u8],
        timeout: Duration,
        mut whole: impl FnMut(&[u8]) -> Result<bool, String>,
    ) -> Result<(), String> {
        let deadline = self.watch.begin() + timeout;
        loop {
            let mut ended = false;
            while !request.is_empty() {
                let Some(input) = &mut self.input else { break };
                match input.write(request) {
                    Ok(count) => request = &request[count..],
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // It has ended or closed its input: what it wrote before tells why.
                    Err(_) => {
                        ended = true;
                        break;
                    }
                }
            }
            let mut late = false;
            if !ended && (!request.is_empty() || !self.watch.goes_on()) {
                let left = deadline.saturating_duration_since(Instant::now());
                late = left.is_zero();
                if self.wait(left, !request.is_empty()) {
                    self.listen_to_errors();
                }
            }
            ended |= self.listen(&mut whole)? == Pipe::Ended;
            if request.is_empty() && whole(&self.written)? {
                self.watch.end();
                return Ok(());
            }
            if ended {
                return Err(self.ended(deadline));
            }
            if late {
                let seconds = timeout.as_secs_f64();
                return Err(format!("did not answer within {seconds} s"));
            }
        }
    }

    /// Reads what is there.
    fn listen(
        &mut self,
        whole: &mut impl FnMut(&[u8]) -> Result<bool, String>,
    ) -> Result<Pipe, String> {
        loop {
            match self.output.read(&mut self.buffer) {
                Ok(0) => return Ok(Pipe::Ended),
                Ok(count) => {
                    self.written.extend_from_slice(&self.buffer[..count]);
                    // Whoever writes without end is stopped by what is due.
                    if whole(&self.written)? {
                        return Ok(Pipe::Waits);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Pipe::Waits),
                Err(_) => return Ok(Pipe::Ended),
            }
        }
    }

    fn listen_to_errors(&mut self) {
        let mut buffer = [0; 4096];
        // A process that writes errors without end is heard now and then.
        for _ in 0..64 {
            let Some(error) = &mut self.error else { return };
            match error.read(&mut buffer) {
                Ok(0) => self.error = None,
                Ok(count) => self.last_words.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
            let surplus = self.last_words.len().saturating_sub(LAST_WORDS);
            self.last_words.drain(..surplus);
        }
    }

    /// Waits until there is something to read, or to write where that is wanted; true if there may be something on standard error.
    fn wait(&mut self, longest: Duration, writes: bool) -> bool {
        let mut pipes = [
            (self.output.as_raw_fd(), libc::POLLIN),
            (
                self.error.as_ref().map_or(-1, AsRawFd::as_raw_fd),
                libc::POLLIN,
            ),
            (-1, libc::POLLOUT),
        ];
        if let (Some(input), true) = (&self.input, writes) {
            pipes[2].0 = input.as_raw_fd();
        }
        // Entries of no descriptor are passed over.
        let mut pipes = pipes.map(|(fd, events)| libc::pollfd {
            fd,
            events,
            revents: 0,
        });
        let milliseconds = longest.as_micros().div_ceil(1000).min(1000) as libc::c_int;
        // SAFETY: the array lives through the call and has so many entries.
        unsafe {
            libc::poll(
                pipes.as_mut_ptr(),
                pipes.len() as libc::nfds_t,
                milliseconds,
            );
        }
        pipes[1].revents != 0
    }

    /// The clause for a process that has ended, or has closed its output, before its answer.
    fn ended(&mut self, deadline: Instant) -> String {
        let deadline = deadline.min(Instant::now() + GRACE);
        while !self.has_ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.listen_to_errors();
        if !self.has_ended() {
            return "closed its standard output instead of an answer".to_owned();
        }
        let how = match self.end() {
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!(" with exit status {code}"),
                (None, Some(signal)) => format!(" by signal {signal}"),
                (None, None) => String::new(),
            },
            None => String::new(),
        };
        let after = match self.written.len() {
            0 => String::new(),
            bytes => format!(", {bytes} bytes into it"),
        };
        format!("ended{how} instead of an answer{after}")
    }

    /// Sends a first line and returns that of the process.
    ///
    /// # Errors
    /// The fault, as a clause whose subject is the command.
    pub fn greet(&mut self, line: &str, timeout: Duration) -> Result<Vec<u8>, String> {
        self.ask(line.as_bytes(), timeout, |written| {
            let whole = written.contains(&b'\n');
            if !whole && written.len() > LONGEST_LINE {
                return Err(format!(
                    "wrote {LONGEST_LINE} bytes without the end of its first line"
                ));
            }
            Ok(whole)
        })?;
        let end = self.written.iter().position(|c| *c == b'\n').unwrap_or(0);
        let line = self.written[..end].to_vec();
        self.written.drain(..=end);
        Ok(line)
    }

    /// Sends a frame and returns the one that comes back, of so many bytes without its length.
    ///
    /// # Errors
    /// The fault, as a clause whose subject is the command.
    pub fn exchange(
        &mut self,
        frame: &[u8],
        wanted: usize,
        timeout: Duration,
    ) -> Result<&[u8], String> {
        self.written.clear();
        self.ask(frame, timeout, |written| {
            let Some(length) = written.first_chunk::<4>() else {
                return Ok(false);
            };
            let length = u32::from_le_bytes(*length);
            if length as usize != wanted {
                return Err(wrong_length(u64::from(length), wanted));
            }
            if written.len() > 4 + wanted {
                return Err(format!(
                    "sent {} bytes more than were due",
                    written.len() - 4 - wanted
                ));
            }
            Ok(written.len() == 4 + wanted)
        })?;
        Ok(&self.written[4..])
    }

    /// Checks that nothing follows its first line, since nobody has asked for more.
    ///
    /// # Errors
    /// The fault, as a clause whose subject is the command.
    pub fn nothing_left(&self) -> Result<(), String> {
        match self.written.len() {
            0 => Ok(()),
            more => Err(format!("wrote {more} bytes before it was asked for them")),
        }
    }

    /// Its last lines on standard error, each on a line of its own after two blanks; empty if there are none.
    pub fn last_words(&mut self) -> String {
        self.listen_to_errors();
        let bytes: Vec<u8> = self.last_words.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.trim_end().lines().collect();
        let from = lines.len().saturating_sub(12);
        let shown = lines[from..].iter().map(|line| format!("\n  {line}"));
        shown.collect()
    }

    /// Tells if it has ended. It is not reaped, so its number still belongs to it.
    fn has_ended(&self) -> bool {
        if self.reaped.is_some() {
            return true;
        }
        // SAFETY: a zeroed structure is valid, and the call writes nothing else.
        unsafe {
            let mut found: libc::siginfo_t = std::mem::zeroed();
            let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            let id = self.process.id() as libc::id_t;
            libc::waitid(libc::P_PID, id, &mut found, how) == 0 && found.si_pid() != 0
        }
    }

    /// Ends it and all that it started, and returns how it ended.
    pub fn end(&mut self) -> Option<ExitStatus> {
        if self.reaped.is_none() {
            let mut groups = groups();
            let id = self.process.id();
            kill(id);
            groups.retain(|group| *group != id);
            self.reaped = self.process.wait().ok();
        }
        self.reaped
    }
}

impl Drop for Child {
    /// Its input ends; a process that does not end with it is killed.
    fn drop(&mut self) {
        drop(self.input.take());
        let deadline = Instant::now() + GRACE;
        while !self.has_ended() && Instant::now() < deadline {
            self.listen_to_errors();
            std::thread::sleep(Duration::from_millis(2));
        }
        self.end();
    }
}

/// Has the kernel end this process with its parent.
fn end_with(parent: u32) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    // SAFETY: the calls read and write no memory.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::getppid() as u32 != parent {
            libc::_exit(1);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = parent;
    Ok(())
}
