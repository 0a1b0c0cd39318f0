//! Clients in processes of their own. A process asks the recorder before and after each call over
//! a connection of the machine, so that all have one order and no clock is trusted.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Call, Judgement, Log, Outcome, Recorder, Target, Work, check, work};

/// The variable that tells a child where its recorder is and which client it is.
pub const CHILD: &str = "DTX_KIT_CHILD";

/// How long a child may take to begin, and to say its next word.
const CHILD_WAIT: Duration = Duration::from_secs(60);

/// A history of several processes. The backend's test names the test of the same program that is
/// the child, and what the child needs to know to open the store.
#[derive(Clone, Debug)]
pub struct Processes {
    /// The name of the test that calls [`child`].
    pub test: &'static str,
    /// What is set in the environment of a child.
    pub environment: Vec<(String, String)>,
    /// How many children.
    pub children: u64,
    /// How many clients run in this process.
    pub here: u64,
    /// How many calls each client makes.
    pub calls: u64,
    /// On how many keys.
    pub keys: u64,
}

impl Processes {
    fn spawn(&self, address: &str, client: u64) -> Child {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.args(["--exact", self.test, "--nocapture"]).stdout(Stdio::null());
        command.envs(self.environment.iter().cloned());
        let what = format!("{address} {client} {} {}", self.calls, self.keys);
        command.env(CHILD, what).spawn().expect("a child starts")
    }

    /// Runs all clients and judges what they recorded. `target` is what the clients of this
    /// process use.
    ///
    /// # Panics
    /// When the history is not linearizable, when a child fails, and when too few calls met
    /// others for it to mean anything.
    pub fn check(&self, target: &Target) {
        let recorder = Arc::new(Recorder::default());
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("an address");
        listener.set_nonblocking(true).expect("it can be asked");
        let address = listener.local_addr().expect("an address").to_string();
        let mut children: Vec<_> =
            (0..self.children).map(|n| self.spawn(&address, self.here + n + 1)).collect();
        // All are there before anyone begins, so that they meet.
        let connections: Vec<_> = children.iter().map(|_| accept(&listener)).collect();
        std::thread::scope(|scope| {
            for connection in connections {
                let recorder = recorder.clone();
                scope.spawn(move || serve(connection, &recorder));
            }
            self.run_here(&recorder, target);
        });
        for child in &mut children {
            assert!(child.wait().expect("it ends").success(), "a child failed");
        }
        self.judge(&recorder);
    }

    /// Runs the clients of this process on two threads, each of them taking turns call by call.
    /// On threads of their own those of a fast store would hardly meet.
    fn run_here(&self, recorder: &Arc<Recorder>, target: &Target) {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime starts");
        let clients: Vec<_> = (1..=self.here)
            .map(|client| {
                let (recorder, target) = (recorder.clone(), target.clone());
                let it = Work { client, calls: self.calls, keys: self.keys };
                runtime.spawn(async move { work(&target, it, &mut &*recorder).await })
            })
            .collect();
        for client in clients {
            runtime.block_on(client).expect("a client did its work");
        }
    }

    fn judge(&self, recorder: &Recorder) {
        let history = recorder.history();
        let count = |is: fn(&Outcome) -> bool| history.iter().filter(|o| is(&o.outcome)).count();
        let written = count(|outcome| matches!(outcome, Outcome::Written(_)));
        let conflicts = count(|outcome| matches!(outcome, Outcome::Conflict(_)));
        let unknown = count(|outcome| matches!(outcome, Outcome::Unknown));
        let expected = (self.here + self.children) * self.calls;
        assert_eq!(history.len() as u64, expected, "a client did not do its work");
        let counts = [written, conflicts, unknown];
        assert!(counts.iter().all(|n| *n > 0), "written, conflicts, unknown: {counts:?}");
        assert!(2 * unknown < history.len(), "written, conflicts, unknown: {counts:?}");
        assert_eq!(check(&history), Judgement::Linearizable);
    }
}

fn block_on(future: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime starts").block_on(future);
}

fn accept(listener: &TcpListener) -> TcpStream {
    let begun = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).expect("it can wait");
                stream.set_read_timeout(Some(CHILD_WAIT)).expect("a time-out");
                return stream;
            }
            Err(error) => {
                assert!(begun.elapsed() < CHILD_WAIT, "a child does not come: {error}");
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

/// Records what one child says, line by line, and answers each line with the number of its call.
fn serve(stream: TcpStream, mut recorder: &Recorder) {
    stream.set_nodelay(true).expect("it sends at once");
    let mut answers = stream.try_clone().expect("a second handle");
    writeln!(answers, "go").expect("it listens");
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let words: Vec<u64> = line.split(' ').map(|word| word.parse().expect("a number")).collect();
        let number = match words[..] {
            [0, key, is_write, id, expect] => {
                let expect = expect.checked_sub(1);
                let write = Call::Write { id, expect };
                recorder.begin(key, if is_write == 1 { write } else { Call::Read })
            }
            [1, number, kind, a, b] => {
                recorder.end(number as usize, decode(kind, a, b));
                number as usize
            }
            _ => panic!("a child said {line:?}"),
        };
        if writeln!(answers, "{number}").is_err() {
            return;
        }
    }
}

fn encode(outcome: Outcome) -> (u64, u64, u64) {
    match outcome {
        Outcome::Value(None) => (0, 0, 0),
        Outcome::Value(Some((version, id))) => (1, version, id),
        Outcome::Written(version) => (2, version, 0),
        Outcome::Conflict(None) => (3, 0, 0),
        Outcome::Conflict(Some(found)) => (4, found.map_or(0, |version| version + 1), 0),
        Outcome::Unknown => (5, 0, 0),
    }
}

fn decode(kind: u64, a: u64, b: u64) -> Outcome {
    match kind {
        0 => Outcome::Value(None),
        1 => Outcome::Value(Some((a, b))),
        2 => Outcome::Written(a),
        3 => Outcome::Conflict(None),
        4 => Outcome::Conflict(Some(a.checked_sub(1))),
        _ => Outcome::Unknown,
    }
}

/// The recorder, from a child.
#[derive(Debug)]
struct Remote {
    asks: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Remote {
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the recorder answers");
        line.trim().to_owned()
    }

    fn ask(&mut self, line: &str) -> usize {
        writeln!(self.asks, "{line}").expect("the recorder listens");
        self.answer().parse().expect("a number")
    }
}

impl Log for Remote {
    fn begin(&mut self, key: u64, call: Call) -> usize {
        let line = match call {
            Call::Read => format!("0 {key} 0 0 0"),
            Call::Write { id, expect } => {
                format!("0 {key} 1 {id} {}", expect.map_or(0, |version| version + 1))
            }
        };
        self.ask(&line)
    }

    fn end(&mut self, number: usize, outcome: Outcome) {
        let (kind, a, b) = encode(outcome);
        self.ask(&format!("1 {number} {kind} {a} {b}"));
    }
}

/// What the child's test does: nothing when it is run as a test, and one client's work when
/// [`Processes`] started it. `open` opens the store in this process.
///
/// # Panics
/// When the store or the recorder fails.
pub fn child(open: impl AsyncFnOnce() -> Target) {
    let Ok(what) = std::env::var(CHILD) else { return };
    let words: Vec<_> = what.split(' ').collect();
    let [address, client, calls, keys] = words[..] else { panic!("{CHILD} is {what:?}") };
    let number = |word: &str| word.parse::<u64>().expect("a number");
    let it = Work { client: number(client), calls: number(calls), keys: number(keys) };
    let address = address.to_owned();
    block_on(async {
        let asks = TcpStream::connect(address).expect("the recorder is there");
        asks.set_nodelay(true).expect("it sends at once");
        let answers = BufReader::new(asks.try_clone().expect("a second handle"));
        let mut remote = Remote { asks, answers };
        assert_eq!(remote.answer(), "go");
        let target = open().await;
        work(&target, it, &mut remote).await;
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_travel() {
        for outcome in [
            Outcome::Value(None),
            Outcome::Value(Some((3, 9))),
            Outcome::Written(4),
            Outcome::Conflict(None),
            Outcome::Conflict(Some(None)),
            Outcome::Conflict(Some(Some(5))),
            Outcome::Unknown,
        ] {
            let (kind, a, b) = encode(outcome);
            assert_eq!(decode(kind, a, b), outcome);
        }
    }
}
