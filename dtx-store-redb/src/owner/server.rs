//! The side of the owner.

use std::{
    fs,
    io::{self, ErrorKind as IoErrorKind},
    os::{
        fd::AsFd,
        unix::{
            fs::{DirBuilderExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

use dtx_core::{
    error::{Effect, StoreError},
    store::{Cursor, RecordKind, RowSet, Scope, ScopeRows, TxWrite},
};
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::{mpsc, oneshot};

use super::wire::{
    Failed, OPERATOR_SCOPES, OwnerInfo, Request, Response, receive, send, socket_of,
};
use crate::{
    apply::Prepared,
    error::{closed, invalid},
    writer::{Answer, Job, Shared, locked},
};

/// How long one side of a connection may say nothing before it is cut.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most requests of one connection.
const REQUESTS_MAX: usize = 1_024;

/// The socket of an owner, and the thread that serves it.
#[derive(Debug)]
pub(crate) struct OwnerSocket {
    path: PathBuf,
    stopping: Arc<AtomicBool>,
    /// Wakes the thread where it waits for the next connection. Not the socket itself: its path
    /// may lead nowhere by now, or to somebody else's.
    wake: UnixStream,
    /// The connection that is being served.
    current: Arc<Mutex<Option<UnixStream>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl OwnerSocket {
    /// Listens beside the file. `None`, and a warning, where that cannot be: the store works
    /// without.
    pub(crate) fn open(
        file: &Path,
        shared: &Arc<Shared>,
        jobs: &mpsc::Sender<Job>,
    ) -> Option<Self> {
        match Self::listen(file, shared, jobs) {
            Ok(socket) => Some(socket),
            Err(error) => {
                let file = file.display();
                tracing::warn!(%file, %error, "no socket for operators of other processes");
                None
            }
        }
    }

    fn listen(file: &Path, shared: &Arc<Shared>, jobs: &mpsc::Sender<Job>) -> io::Result<Self> {
        let path = socket_of(file)?;
        let listener = bind(&path)?;
        // A connection may be gone again when its turn comes; only `poll` waits.
        listener.set_nonblocking(true)?;
        let (wake, woken) = UnixStream::pair()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let current = Arc::new(Mutex::new(None));
        let server = Server {
            shared: shared.clone(),
            // Weak, so that the writer ends when the last handle is dropped.
            jobs: jobs.downgrade(),
            stopping: stopping.clone(),
            woken,
            current: current.clone(),
        };
        let thread = std::thread::Builder::new().name("dtx-redb-owner".into());
        let thread = thread.spawn(move || server.run(&listener))?;
        Ok(Self { path, stopping, wake, current, thread: Mutex::new(Some(thread)) })
    }

    /// Stops listening and takes the socket away. Idempotent.
    pub(crate) fn stop(&self) {
        let Some(thread) = locked(&self.thread).take() else { return };
        self.stopping.store(true, SeqCst);
        if let Some(stream) = &*locked(&self.current) {
            drop(stream.shutdown(std::net::Shutdown::Both));
        }
        drop(self.wake.shutdown(std::net::Shutdown::Both));
        drop(fs::remove_file(&self.path));
        if thread.join().is_err() {
            tracing::error!("the thread of the owner's socket panicked");
        }
    }
}

/// Binds a socket that is never open to others: it is made in a folder for its user alone, and
/// comes to its place with its mode. What lies there is a crashed owner's: the lock of the file
/// is held already.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let mut folder = path.as_os_str().to_owned();
    folder.push(".d");
    let folder = PathBuf::from(folder);
    drop(fs::remove_dir_all(&folder));
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let inside = folder.join("s");
    let bound = UnixListener::bind(&inside).and_then(|listener| {
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o600))?;
        fs::rename(&inside, path)?;
        Ok(listener)
    });
    drop(fs::remove_dir_all(&folder));
    bound
}

struct Server {
    shared: Arc<Shared>,
    jobs: mpsc::WeakSender<Job>,
    stopping: Arc<AtomicBool>,
    /// Readable once there is an end to it.
    woken: UnixStream,
    current: Arc<Mutex<Option<UnixStream>>>,
}

impl Server {
    fn run(self, listener: &UnixListener) {
        loop {
            let waited = self.wait(listener);
            if self.stopping.load(SeqCst) {
                return;
            }
            match waited.and_then(|()| listener.accept()) {
                Ok((stream, _)) => self.serve(stream),
                Err(error) if is_passing(error.kind()) => {}
                Err(error) => {
                    tracing::warn!(%error, "the owner's socket cannot accept");
                    return;
                }
            }
        }
    }

    /// Waits for a connection or for the end.
    fn wait(&self, listener: &UnixListener) -> io::Result<()> {
        let of = |readable| PollFd::from_borrowed_fd(readable, PollFlags::IN);
        poll(&mut [of(listener.as_fd()), of(self.woken.as_fd())], None)?;
        Ok(())
    }

    fn serve(&self, mut stream: UnixStream) {
        *locked(&self.current) = stream.try_clone().ok();
        let set = stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_read_timeout(Some(PATIENCE)))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
        let mut served = 0;
        let ended = set.and_then(|()| {
            while served < REQUESTS_MAX && !self.stopping.load(SeqCst) {
                let Some(request) = receive(&mut stream)? else { break };
                served += 1;
                let response = self
                    .answer(request)
                    .unwrap_or_else(|error| Response::Failed(Failed::from(&error)));
                send(&mut stream, &response)?;
            }
            Ok(())
        });
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection to the owner's socket was cut");
        }
        *locked(&self.current) = None;
    }

    fn answer(&self, request: Request) -> Result<Response, StoreError> {
        let snapshot = |operation| self.shared.snapshot(operation);
        match request {
            Request::Hello => Ok(Response::Hello {
                owner: OwnerInfo { pid: std::process::id(), program: program() },
                limits: self.shared.info.limits.clone(),
                shards: self.shared.info.shards,
                opening: self.shared.info.opening,
            }),
            Request::Now => Ok(Response::Now(self.shared.clock.now())),
            Request::Load(tx) => {
                let record = snapshot("load")?.load(&[tx])?.pop().flatten();
                Ok(Response::Loaded(record.map(Box::new)))
            }
            Request::ByKey(key) => Ok(Response::Key(snapshot("by_key")?.by_key(&key)?)),
            Request::Commit(write) => self.commit(&write),
            Request::ReadRows(read) => {
                check_scope("read", &read.scope)?;
                let now = self.shared.clock.now();
                let rows = snapshot("read")?.read(&[read])?.pop().unwrap_or_default();
                Ok(Response::Rows(ScopeRows { rows, now }))
            }
            Request::WriteRows(set) => self.write(set),
            Request::ScanRows { scope, after, limit } => {
                check_scope("scan", &scope)?;
                let (after, limit) = (after.map(Cursor), usize::try_from(limit).unwrap_or(0));
                let page = snapshot("scan")?.scan(&scope, &[], after.as_ref(), limit)?;
                let next = page.next.map(|cursor| cursor.0);
                Ok(Response::Page { items: page.items, next })
            }
        }
    }

    /// Signals and accepts need no lease (rule 8); everything else is the coordinator's own.
    fn commit(&self, write: &TxWrite) -> Result<Response, StoreError> {
        let is_free = matches!(write.kind, RecordKind::Signal | RecordKind::Accepted);
        if write.fence.is_some() || !is_free {
            return Err(invalid("commit", "the socket takes signals and accepts without a lease"));
        }
        let prepared = Prepared::new(write, &self.shared.info)?;
        let results = self.ask("commit", |answer| Job::Commit(vec![Ok(prepared)], answer))?;
        let result = results.into_iter().next();
        let result = result.ok_or_else(|| invalid("commit", "there is no result"))?;
        Ok(Response::Committed(result.into()))
    }

    fn write(&self, set: RowSet) -> Result<Response, StoreError> {
        check_scope("write", &set.scope)?;
        let results = self.ask("write", |answer| Job::Write(vec![set], answer))?;
        let result = results.into_iter().next();
        let result = result.ok_or_else(|| invalid("write", "there is no result"))?;
        Ok(Response::RowsWritten(result.into()))
    }

    /// Hands a job to the writer and waits for its answer.
    fn ask<T>(
        &self,
        operation: &'static str,
        job: impl FnOnce(Answer<T>) -> Job,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.upgrade().ok_or_else(|| closed(operation, Effect::None))?;
        let sent = jobs.blocking_send(job(answer));
        drop(jobs);
        sent.map_err(|_| closed(operation, Effect::None))?;
        answered.blocking_recv().map_err(|_| closed(operation, Effect::Unknown))?
    }
}

/// Says nothing about the next connection.
fn is_passing(kind: IoErrorKind) -> bool {
    matches!(
        kind,
        IoErrorKind::Interrupted | IoErrorKind::WouldBlock | IoErrorKind::ConnectionAborted
    )
}

fn check_scope(operation: &'static str, scope: &Scope) -> Result<(), StoreError> {
    if scope.as_str().starts_with(OPERATOR_SCOPES) {
        return Ok(());
    }
    Err(invalid(operation, format!("the socket takes rows of {OPERATOR_SCOPES}.. alone")))
}

fn program() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
