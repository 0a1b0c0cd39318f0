//! A server that we started.

use std::{
    net::{Ipv4Addr, TcpStream},
    path::Path,
};

use super::{
    Place, Service, ServiceError,
    process::{PATIENCE, free_port, lives, make_folder, signal, wait},
};

/// A server that was started here. It is stopped when it is dropped, unless it was left running.
#[derive(Debug)]
pub struct Server {
    service: &'static dyn Service,
    place: Place,
    /// Empty: it was killed, or is to be left alone.
    processes: Vec<u32>,
}

impl Server {
    /// Starts a server with its data in `folder`, which is made if it is not there, on a free
    /// port of the loopback. Blocks until it answers.
    ///
    /// # Errors
    /// [`ServiceError`] when the programs are not here or fail.
    pub fn start(service: &'static dyn Service, folder: &Path) -> Result<Self, ServiceError> {
        Self::start_on(service, folder, None)
    }

    /// As [`start`](Self::start), on this port if there is one.
    pub(super) fn start_on(
        service: &'static dyn Service,
        folder: &Path,
        port: Option<u16>,
    ) -> Result<Self, ServiceError> {
        let (name, variable, package) = (service.name(), service.variable(), service.package());
        let programs =
            service.programs().ok_or(ServiceError::Missing { name, variable, package })?;
        make_folder(folder)?;
        let folder = folder.canonicalize();
        let folder = folder.map_err(|error| ServiceError::io("cannot find", name, error))?;
        let port = port.map_or_else(free_port, Ok)?;
        let place = Place { programs, folder, port };
        let processes = service.start(&place)?;
        Ok(Self { service, place, processes })
    }

    /// Its URL; the same after a restart.
    pub fn url(&self) -> String {
        self.service.url(self.place.port)
    }

    /// The ids of its processes; none after [`kill`](Self::kill).
    pub fn processes(&self) -> &[u32] {
        &self.processes
    }

    /// Its port on the loopback; the same after a restart.
    pub fn port(&self) -> u16 {
        self.place.port
    }

    /// Ends it at once, as a crash does, and blocks until it is gone.
    ///
    /// # Errors
    /// [`ServiceError::Late`] when it does not end.
    pub fn kill(&mut self) -> Result<(), ServiceError> {
        let processes = std::mem::take(&mut self.processes);
        self.end(&processes, true)
    }

    /// Ends its processes. The port of one that was killed is open for as long as one of its
    /// threads is still on its way out, which no look at the process shows.
    fn end(&self, processes: &[u32], at_once: bool) -> Result<(), ServiceError> {
        end(self.service, processes, at_once)?;
        let port = self.place.port;
        let is_closed = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err();
        if processes.is_empty() || wait(is_closed) {
            return Ok(());
        }
        let (name, seconds) = (self.service.name(), PATIENCE.as_secs());
        Err(ServiceError::Late { name, what: "close its port", seconds })
    }

    /// Starts it again on its data and its port, after [`kill`](Self::kill). Blocks until it
    /// answers; a server that is there already is left alone.
    ///
    /// # Errors
    /// [`ServiceError`] when its programs fail: what they left behind may need some seconds to
    /// go, which are waited for.
    pub fn restart(&mut self) -> Result<(), ServiceError> {
        if !self.processes.is_empty() {
            return Ok(());
        }
        let mut last = None;
        wait(|| match self.service.start(&self.place) {
            Ok(processes) => {
                self.processes = processes;
                true
            }
            Err(error) => {
                last = Some(error);
                false
            }
        });
        match last {
            Some(error) if self.processes.is_empty() => Err(error),
            _ => Ok(()),
        }
    }

    /// Leaves it running when this value is dropped.
    pub fn leave(mut self) {
        self.processes = Vec::new();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What does not end was told, and a drop has nobody to tell.
        let _ = self.end(&self.processes, false);
    }
}

/// Ends a server of this service by its process ids and blocks until it is gone. A process that
/// runs something else is left alone.
pub(super) fn end(
    service: &dyn Service,
    processes: &[u32],
    at_once: bool,
) -> Result<(), ServiceError> {
    let lives = |&&process: &&u32| lives(process, service.process_name());
    processes.iter().filter(lives).for_each(|&process| signal(process, at_once));
    let is_gone = || wait(|| !processes.iter().any(|process| lives(&process)));
    if is_gone() {
        return Ok(());
    }
    // It has more to tidy up than there is time for; what it acknowledged is on the disk.
    processes.iter().filter(lives).for_each(|&process| signal(process, true));
    if is_gone() {
        return Ok(());
    }
    Err(ServiceError::Late { name: service.name(), what: "end", seconds: PATIENCE.as_secs() })
}
