//! Processes that are killed when they take too long.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// How long one process may take before it counts as stuck.
const DEADLINE: Duration = Duration::from_secs(240);

/// The signal of kill -9.
const SIGKILL: i32 = 9;

/// A process whose output is read to its end.
pub(crate) struct Watched {
    child: Arc<Mutex<Child>>,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<Vec<String>>,
    /// Dropped at the end, which ends the watch.
    _end: mpsc::Sender<()>,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    /// The lines on stderr.
    pub(crate) stderr: Vec<String>,
}

impl Ended {
    pub(crate) fn was_killed(&self) -> bool {
        self.status.signal() == Some(SIGKILL)
    }
}

impl Watched {
    /// Starts it. `each` is given every line on stderr when it comes.
    pub(crate) fn start(
        command: &mut Command,
        mut each: impl FnMut(&str) + Send + 'static,
    ) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().expect("the program starts");
        let mut stdout = child.stdout.take().expect("it is piped");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let stdout = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).expect("the program writes UTF-8");
            text
        });
        let stderr = thread::spawn(move || {
            let read = |line: Result<String, _>| line.expect("the program writes UTF-8");
            stderr.lines().map(read).inspect(|line| each(line)).collect()
        });
        let child = Arc::new(Mutex::new(child));
        let (end, ended) = mpsc::channel();
        let watched = child.clone();
        thread::spawn(move || {
            if ended.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout) {
                eprintln!("a process took longer than {DEADLINE:?} and is killed");
                // It may have ended by itself at the last moment.
                let _ = lock(&watched).kill();
            }
        });
        Self { child, stdout, stderr, _end: end }
    }

    /// kill -9.
    pub(crate) fn kill(&self) {
        lock(&self.child).kill().expect("a running process can be killed");
    }

    /// Any other signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).expect("it is a child of this process");
    }

    /// Stops it, and returns when it stands still.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status =
            waitid(WaitId::Pid(self.id()), options).expect("it is a child of this process");
        assert!(status.is_some_and(|status| status.stopped()), "it has ended before");
    }

    fn id(&self) -> Pid {
        let id = i32::try_from(lock(&self.child).id()).expect("ids are small");
        Pid::from_raw(id).expect("a child has an id")
    }

    pub(crate) fn wait(self) -> Ended {
        // Both pipes end when the process does, so nothing holds its lock for long after them.
        let stdout = self.stdout.join().expect("reading does not panic");
        let stderr = self.stderr.join().expect("reading does not panic");
        let status = lock(&self.child).wait().expect("it is a child of this process");
        Ended { status, stdout, stderr }
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}
