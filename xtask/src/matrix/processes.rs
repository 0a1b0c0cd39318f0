//! Processes of the program `dtx` that are watched, and killed.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// A process whose lines are read. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// What it wrote to stderr that was no progress, for the report of a failure.
    said: Vec<String>,
    end: Instant,
}

/// What became of a process.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) success: bool,
    /// The last line of its standard output.
    pub(crate) last_line: String,
    pub(crate) said: String,
}

/// How many lines of stderr a failure shows.
const SAID_MAX: usize = 20;

/// How long the last lines of a process that has ended may take.
const LAST_LINES: Duration = Duration::from_secs(1);

impl Process {
    /// Starts a process that may take so long.
    pub(crate) fn start(command: &mut Command, within: Duration) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|error| format!("cannot run {command:?}: {error}"))?;
        let stdout = lines(child.stdout.take().expect("it was piped just above"));
        let stderr = lines(child.stderr.take().expect("it was piped just above"));
        Ok(Self { child, stdout, stderr, said: Vec::new(), end: Instant::now() + within })
    }

    /// Waits for the first line of its standard output.
    pub(crate) fn first_line(&mut self) -> Result<String, String> {
        let left = self.end.saturating_duration_since(Instant::now());
        self.stdout.recv_timeout(left).map_err(|_| self.silent("its first line"))
    }

    /// Waits until its progress is so far, of 1. False if it ended before.
    pub(crate) fn reaches(&mut self, share: f64) -> Result<bool, String> {
        loop {
            let left = self.end.saturating_duration_since(Instant::now());
            match self.stderr.recv_timeout(left) {
                Ok(line) => match progress(&line) {
                    Some(reached) if reached >= 1.0 => return Ok(false),
                    Some(reached) if reached >= share => return Ok(true),
                    Some(_) => {}
                    None => self.said.push(line),
                },
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
                Err(RecvTimeoutError::Timeout) => return Err(self.silent("its progress")),
            }
        }
    }

    /// Kills it at once, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself meanwhile.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Result<Ended, String> {
        let mut last_line = String::new();
        loop {
            let left = self.end.saturating_duration_since(Instant::now());
            match self.stdout.recv_timeout(left) {
                Ok(line) => last_line = line,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(self.silent("its end")),
            }
        }
        let status = self.child.wait().map_err(|error| error.to_string())?;
        // The last lines say why it ended, and may still be on their way here.
        while let Ok(line) = self.stderr.recv_timeout(LAST_LINES) {
            self.keep(line);
        }
        self.said.push(format!("({status})"));
        Ok(Ended { success: status.success(), last_line, said: self.said() })
    }

    fn keep(&mut self, line: String) {
        if progress(&line).is_none() {
            self.said.push(line);
        }
    }

    fn said(&mut self) -> String {
        while let Ok(line) = self.stderr.try_recv() {
            self.keep(line);
        }
        let from = self.said.len().saturating_sub(SAID_MAX);
        self.said[from..].join("\n")
    }

    fn silent(&mut self, what: &str) -> String {
        format!("a process did not come to {what} in time; it said: {}", self.said())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// How far a line says that a run is, of 1.
fn progress(line: &str) -> Option<f64> {
    let line: Value = serde_json::from_str(line).ok()?;
    Some(line["progress"].as_f64()? / line["of"].as_f64()?.max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, within: Duration) -> Process {
        Process::start(Command::new("sh").args(["-c", script]), within).expect("it starts")
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn progress_is_followed_and_the_rest_is_kept() {
        let script = r#"echo '{"progress":1,"of":4}' >&2; echo warned >&2
            echo '{"progress":2,"of":4}' >&2; echo '{"sum":1}'; exit 3"#;
        let mut process = shell(script, LONG);
        assert_eq!(process.reaches(0.5), Ok(true));
        let ended = process.end().expect("it ends");
        assert!(!ended.success);
        assert_eq!(
            (ended.last_line.as_str(), ended.said.as_str()),
            (r#"{"sum":1}"#, "warned\n(exit status: 3)")
        );
    }

    #[test]
    fn who_is_silent_for_too_long_is_told_apart_from_who_has_ended() {
        assert_eq!(shell("true", LONG).reaches(0.5), Ok(false));
        let mut silent = shell("echo why >&2; exec sleep 600", Duration::from_millis(200));
        let error = silent.reaches(0.5).expect_err("it is silent");
        assert!(error.contains("why"), "{error}");
        let error = shell("exec sleep 600", Duration::ZERO).end().expect_err("it does not end");
        assert!(error.contains("its end"), "{error}");
    }
}
