//! Servers that outlive the program that started them, remembered in a folder.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Server, Service, ServiceError,
    process::{is_free, is_root, lives, run},
    server::end,
};

/// A server that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its URL.
    pub url: String,
    /// Where it comes from.
    pub from: Source,
}

/// Where a server comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An environment variable names it; it is none of ours.
    Given,
    /// It was running already.
    Running,
    /// It was started just now.
    Started,
}

impl Source {
    /// One word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Running => "running",
            Self::Started => "started",
        }
    }
}

/// The servers whose data are in one folder.
#[derive(Clone, Debug)]
pub struct Services {
    folder: PathBuf,
}

impl Services {
    /// Those in this folder, which need not exist.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The server that the environment names, or that runs in this folder.
    pub fn find(&self, service: &dyn Service) -> Option<Found> {
        let given = env::var(service.variable()).ok().filter(|url| !url.is_empty());
        let given = given.map(|url| Found { url, from: Source::Given });
        given.or_else(|| {
            let (_, port) = self.record(service)?;
            Some(Found { url: service.url(port), from: Source::Running })
        })
    }

    /// Finds a server, or starts one that stays. With `install`, and as root, its package is
    /// installed when its programs are not here. One that was started here and has died comes
    /// back on its data, and on its port if that is still free. Blocks.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none and none can be started.
    pub fn up(&self, service: &'static dyn Service, install: bool) -> Result<Found, ServiceError> {
        if let Some(found) = self.find(service) {
            return Ok(found);
        }
        if install && is_root() && service.programs().is_none() {
            let apt = |arguments: &[&str]| {
                let mut command = Command::new("apt-get");
                run(command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
            };
            apt(&["update"])?;
            apt(&["install", "-y", "--no-install-recommends", service.package()])?;
        }
        fs::create_dir_all(&self.folder)
            .map_err(|error| ServiceError::io("cannot make the folder", &self.folder, error))?;
        let port = self.remembered(service).map(|(_, port)| port).filter(|port| is_free(*port));
        let server = Server::start_on(service, &self.folder.join(service.name()), port)?;
        let processes: Vec<_> = server.processes().iter().map(u32::to_string).collect();
        let record = format!("{} {}\n", processes.join(","), server.port());
        let path = self.path(service);
        fs::write(&path, record).map_err(|error| ServiceError::io("cannot write", &path, error))?;
        let found = Found { url: server.url(), from: Source::Started };
        server.leave();
        Ok(found)
    }

    /// Stops the server that was started in this folder. Its data stay. Says whether there was
    /// one. Blocks until it is gone.
    ///
    /// # Errors
    /// [`ServiceError`] when it does not end.
    pub fn down(&self, service: &dyn Service) -> Result<bool, ServiceError> {
        let Some((processes, _)) = self.record(service) else { return Ok(false) };
        end(service, &processes, false)?;
        let path = self.path(service);
        fs::remove_file(&path).map_err(|error| ServiceError::io("cannot remove", &path, error))?;
        Ok(true)
    }

    /// Process ids and port of a server that was started here and lives.
    fn record(&self, service: &dyn Service) -> Option<(Vec<u32>, u16)> {
        let lives = |&process: &u32| lives(process, service.process_name());
        self.remembered(service).filter(|(processes, _)| processes.iter().any(lives))
    }

    /// Process ids and port of a server that was started here.
    fn remembered(&self, service: &dyn Service) -> Option<(Vec<u32>, u16)> {
        let text = fs::read_to_string(self.path(service)).ok()?;
        let (processes, port) = text.trim().split_once(' ')?;
        let processes: Result<Vec<u32>, _> = processes.split(',').map(str::parse).collect();
        Some((processes.ok()?, port.parse().ok()?))
    }

    fn path(&self, service: &dyn Service) -> PathBuf {
        Path::new(&self.folder).join(format!("{}.running", service.name()))
    }
}
