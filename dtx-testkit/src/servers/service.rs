//! What a service is.

use std::{fmt::Debug, path::PathBuf};

use super::{Kafka, Nats, Postgres, Redis, RedisCluster, ServiceError};

/// Every service that can be started.
pub const SERVICES: &[&'static dyn Service] = &[&Postgres, &Redis, &RedisCluster, &Kafka, &Nats];

/// The service of this name.
pub fn named(name: &str) -> Option<&'static dyn Service> {
    SERVICES.iter().copied().find(|service| service.name() == name)
}

/// Where a server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where its programs are.
    pub programs: PathBuf,
    /// Where its data are, absolute.
    pub folder: PathBuf,
    /// The port on the loopback.
    pub port: u16,
}

/// What a container of a service is made of, beside its image.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The port that the server listens on inside.
    pub port: u16,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// What the image is told to run; empty: what it runs by itself.
    pub command: Vec<String>,
    /// Files that are put into it before it starts: the path and the text.
    pub files: Vec<(String, String)>,
    /// Whether a server answers on this port of the loopback. That the port can be connected to
    /// says nothing: the engine takes connections before the server does.
    pub answers: fn(u16) -> bool,
}

/// A product that tests need a server of.
pub trait Service: Debug + Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// The environment variable that holds the URL of a server.
    fn variable(&self) -> &'static str;

    /// The package of Debian that has its programs.
    fn package(&self) -> &'static str;

    /// The folder that has its programs, if they are on this machine.
    fn programs(&self) -> Option<PathBuf>;

    /// The URL of a server on this port of the loopback.
    fn url(&self, port: u16) -> String;

    /// Starts a server in the background, with settings that lose nothing when power is lost, and
    /// returns the ids of its processes once it answers. Data that are in the folder already are
    /// kept.
    ///
    /// # Errors
    /// [`ServiceError`] when a program fails or nothing answers in time.
    fn start(&self, place: &Place) -> Result<Vec<u32>, ServiceError>;

    /// The name of the program that the process of a server runs.
    fn process_name(&self) -> &'static str;

    /// What a container is made of that runs it from this image, with the same settings, and is
    /// reached at this port of the loopback. `None`: it is only started natively.
    fn recipe(&self, image: &str, port: u16) -> Option<Recipe> {
        let _ = (image, port);
        None
    }
}
