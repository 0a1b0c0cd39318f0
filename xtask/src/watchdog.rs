//! What hangs ends with its name: a child that says nothing for too long is shown and killed.
//!
//! A hung test would otherwise take the whole run with it, and leave nothing that says which.

use std::{
    fs,
    process::Command,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long a child may print nothing. The longest silence of a sound test program is a tenth of
/// it on two idle cores, and the test runner itself speaks up after a minute.
pub(crate) const SILENCE: Duration = Duration::from_secs(300);

/// How many calls of our own code are shown for one thread.
const CALLS: usize = 8;

/// Watches one child until it is dropped.
#[derive(Debug)]
pub(crate) struct Watchdog {
    signs: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Watches the process `id`. When no sign of life comes for `silence`, what it has started is
    /// described and killed (itself, if it has started nothing), and the wait begins anew.
    pub(crate) fn watch(id: u32, silence: Duration) -> Self {
        let (signs, life) = mpsc::channel();
        let thread = thread::spawn(move || {
            loop {
                match life.recv_timeout(silence) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Timeout) => end(id, silence),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        Self { signs: Some(signs), thread: Some(thread) }
    }

    /// The child has printed something.
    pub(crate) fn alive(&self) {
        if let Some(signs) = &self.signs {
            // It ends only with us.
            let _ = signs.send(());
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.signs = None;
        if let Some(thread) = self.thread.take() {
            // Nothing in it panics; and a panic there must not become one in a drop.
            let _ = thread.join();
        }
    }
}

fn end(id: u32, silence: Duration) {
    let table = table();
    let mut hung = descendants(id, &table);
    if hung.is_empty() {
        hung.push(id);
    }
    for process in &hung {
        let line = table.iter().find(|(own, ..)| own == process).map_or("", |(.., line)| line);
        println!("HUNG: nothing printed for {} s; killing {line}", silence.as_secs());
        describe(*process);
    }
    let ids: Vec<_> = hung.iter().map(u32::to_string).collect();
    if let Err(error) = Command::new("kill").arg("-9").args(ids).status() {
        println!("cannot run `kill`: {error}");
    }
}

/// Every process: its id, its parent's, its command line.
fn table() -> Vec<(u32, u32, String)> {
    let output = Command::new("ps").args(["-axo", "pid=,ppid=,args="]).output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<(u32, u32, String)> {
    let (id, rest) = line.trim_start().split_once(char::is_whitespace)?;
    let (parent, line) = rest.trim_start().split_once(char::is_whitespace)?;
    Some((id.parse().ok()?, parent.parse().ok()?, line.trim().to_owned()))
}

/// What the process `id` has started, and what those have started, nearest first.
fn descendants(id: u32, table: &[(u32, u32, String)]) -> Vec<u32> {
    let mut found = vec![id];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(table.iter().filter(|(_, of, _)| *of == parent).map(|(own, ..)| *own));
        next += 1;
    }
    found.remove(0);
    found
}

/// The threads, which carry the names of their tests, and where they are if a debugger is there.
fn describe(id: u32) {
    for task in fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten() {
        let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        println!("HUNG: thread {} waits in {}", read("comm").trim(), read("wchan"));
    }
    let arguments = ["-batch", "-ex", "thread apply all backtrace 60", "-p"];
    let Ok(output) = Command::new("gdb").args(arguments).arg(id.to_string()).output() else {
        println!("HUNG: no debugger here, so no calls are shown");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    calls(&text).iter().for_each(|line| println!("HUNG: {line}"));
}

/// Of each thread the innermost calls into the workspace's crates.
fn calls(backtraces: &str) -> Vec<&str> {
    let mut calls = Vec::new();
    let mut left = 0;
    for line in backtraces.lines() {
        if line.starts_with("Thread ") {
            left = CALLS;
        } else if line.starts_with('#') && line.contains(" dtx") && left > 0 {
            left -= 1;
            calls.push(line);
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_through_their_parents() {
        let table: Vec<_> =
            ["  7 1 cargo test", "8 7 one", " 9   8 two --flag", "10 1 other"].map(row).into();
        let table: Vec<_> = table.into_iter().flatten().collect();
        assert_eq!(table.len(), 4);
        assert_eq!(descendants(7, &table), [8, 9]);
        assert_eq!(descendants(10, &table), [0; 0]);
        assert_eq!(row("PID PPID ARGS"), None);
    }

    #[test]
    fn the_innermost_calls_of_each_thread_are_shown() {
        let text = "Thread 2 (LWP 3):\n#0  syscall ()\n#1  dtx_core::a ()\nThread 1 (LWP 2):\n\
                    #0  dtx::b ()\n#1  std::c ()";
        assert_eq!(calls(text), ["#1  dtx_core::a ()", "#0  dtx::b ()"]);
        let deep: String =
            (0..20).map(|n| format!("#{n}  dtx::f ()\n")).fold("Thread 1\n".into(), |a, b| a + &b);
        assert_eq!(calls(&deep).len(), CALLS);
    }

    #[test]
    fn what_says_nothing_is_killed_and_what_speaks_is_not() {
        let mut silent = Command::new("sleep").arg("600").spawn().expect("sleep starts");
        let watchdog = Watchdog::watch(silent.id(), Duration::from_millis(50));
        assert!(!silent.wait().expect("it ends").success());
        drop(watchdog);

        let mut patient = Command::new("sleep").arg("600").spawn().expect("sleep starts");
        let watchdog = Watchdog::watch(patient.id(), Duration::from_secs(600));
        watchdog.alive();
        drop(watchdog);
        assert!(patient.try_wait().expect("it is ours").is_none());
        patient.kill().and_then(|()| patient.wait()).expect("it is ours");
    }
}
