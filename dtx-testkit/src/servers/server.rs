//! A server that we started.

use std::path::Path;

use super::{
    Place, Service, ServiceError,
    process::{PATIENCE, free_port, lives, make_folder, signal, wait},
};

/// A server that was started here. It is stopped when it is dropped, unless it was left running.
#[derive(Debug)]
pub struct Server {
    service: &'static dyn Service,
    place: Place,
    /// `None`: it was killed, or is to be left alone.
    process: Option<u32>,
}

impl Server {
    /// Starts a server with its data in `folder`, which is made if it is not there, on a free
    /// port of the loopback. Blocks until it answers.
    ///
    /// # Errors
    /// [`ServiceError`] when the programs are not here or fail.
    pub fn start(service: &'static dyn Service, folder: &Path) -> Result<Self, ServiceError> {
        let (name, variable, package) = (service.name(), service.variable(), service.package());
        let programs =
            service.programs().ok_or(ServiceError::Missing { name, variable, package })?;
        make_folder(folder)?;
        let folder = folder.canonicalize();
        let folder = folder.map_err(|error| ServiceError::io("cannot find", name, error))?;
        let place = Place { programs, folder, port: free_port()? };
        let process = Some(service.start(&place)?);
        Ok(Self { service, place, process })
    }

    /// Its URL; the same after a restart.
    pub fn url(&self) -> String {
        self.service.url(self.place.port)
    }

    /// Its process id; `None` after [`kill`](Self::kill).
    pub fn process(&self) -> Option<u32> {
        self.process
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
        match self.process.take() {
            Some(process) => end(self.service, process, true),
            None => Ok(()),
        }
    }

    /// Starts it again on its data and its port, after [`kill`](Self::kill). Blocks until it
    /// answers; a server that is there already is left alone.
    ///
    /// # Errors
    /// [`ServiceError`] when its programs fail: what they left behind may need some seconds to
    /// go, which are waited for.
    pub fn restart(&mut self) -> Result<(), ServiceError> {
        if self.process.is_some() {
            return Ok(());
        }
        let mut last = None;
        wait(|| match self.service.start(&self.place) {
            Ok(process) => {
                self.process = Some(process);
                true
            }
            Err(error) => {
                last = Some(error);
                false
            }
        });
        match (self.process, last) {
            (None, Some(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Leaves it running when this value is dropped.
    pub fn leave(mut self) {
        self.process = None;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            // What does not end was told, and a drop has nobody to tell.
            let _ = end(self.service, process, false);
        }
    }
}

/// Ends a server of this service by its process id and blocks until it is gone. A process that
/// runs something else is left alone.
pub(super) fn end(service: &dyn Service, process: u32, at_once: bool) -> Result<(), ServiceError> {
    let lives = || lives(process, service.process_name());
    if !lives() {
        return Ok(());
    }
    signal(process, at_once);
    if wait(|| !lives()) {
        return Ok(());
    }
    Err(ServiceError::Late { name: service.name(), what: "end", seconds: PATIENCE.as_secs() })
}
