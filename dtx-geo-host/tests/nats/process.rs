//! The process of a region, as the test sees it.

use std::{
    collections::HashMap,
    env,
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    child::PLAN,
    plan::{Ask, Numbered, Plan, Told},
};

type Question = (Ask, oneshot::Sender<Told>);

/// Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Mutex<Child>,
    questions: mpsc::Sender<Question>,
}

impl Process {
    /// Starts one, and waits until it serves.
    pub(crate) async fn start(plan: &Plan, until: Instant) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let control = listener.local_addr().expect("it is bound").port();
        let plan = Plan { control, ..plan.clone() };
        let child = Command::new(env::current_exe().expect("it has a path"))
            .args(["--exact", "child::child", "--nocapture"])
            .env(PLAN, serde_json::to_string(&plan).expect("it is JSON"))
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let (questions, queue) = mpsc::channel(1_024);
        // Killed from here on, whatever comes.
        let process = Self { child: Mutex::new(child), questions };
        let came = timeout_at(until, listener.accept()).await;
        let (stream, _) = came.expect("it came too late").expect("it listens");
        tokio::spawn(converse(stream, queue));
        process
    }

    /// Its answer; none when it is gone before.
    pub(crate) async fn ask(&self, ask: Ask) -> Option<Told> {
        let (reply, told) = oneshot::channel();
        self.questions.send((ask, reply)).await.ok()?;
        told.await.ok()
    }

    /// Kills it, as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has ended needs no kill.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Carries questions to the process and answers back, until it is gone.
async fn converse(stream: TcpStream, mut questions: mpsc::Receiver<Question>) {
    let (from, mut to) = stream.into_split();
    let mut lines = BufReader::new(from).lines();
    let mut waiting = HashMap::new();
    let mut number = 0;
    loop {
        tokio::select! {
            question = questions.recv() => {
                let Some((body, reply)) = question else { return };
                number += 1;
                let mut line = serde_json::to_vec(&Numbered { number, body }).expect("JSON");
                line.push(b'\n');
                if to.write_all(&line).await.is_err() {
                    return;
                }
                waiting.insert(number, reply);
            }
            line = lines.next_line() => {
                let Ok(Some(line)) = line else { return };
                let Numbered { number, body } = serde_json::from_str(&line).expect("an answer");
                if let Some(reply) = waiting.remove(&number) {
                    // Who asked may not wait any more.
                    let _ = oneshot::Sender::send(reply, body);
                }
            }
        }
    }
}
