//! What is asked of a Docker engine.

use std::fmt::Debug;

use super::{Service, ServiceError};

/// A Docker engine. Everything blocks.
pub(super) trait Engine: Debug + Send + Sync {
    /// Whether it is there; if not, why.
    fn answers(&self) -> Result<(), String>;

    /// Starts a container at this port of the loopback, which stays, and returns its id once its
    /// server answers. `owner` is the folder that remembers it: no other takes it down.
    fn start(
        &self,
        service: &'static dyn Service,
        owner: &str,
        port: u16,
    ) -> Result<String, ServiceError>;

    /// Starts a container that has stopped, on its data and its port. Says whether its server
    /// answers.
    fn start_again(&self, id: &str, service: &dyn Service, port: u16) -> bool;

    /// Whether the container with this id runs.
    fn runs(&self, id: &str) -> bool;

    /// Removes all containers of this service and this owner, with their data. Says how many
    /// there were.
    fn remove(&self, service: &dyn Service, owner: &str) -> Result<usize, ServiceError>;
}
