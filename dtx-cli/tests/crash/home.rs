//! Where the work that is crashed keeps its store: in a file, or on a server of the campaign.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use dtx_testkit::servers::{Postgres, Redis, Server, Service};

/// What kind of store it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Redb,
    Postgres,
    Redis,
}

impl Kind {
    /// The kinds that are servers.
    pub(crate) const SERVERS: [Self; 2] = [Self::Postgres, Self::Redis];

    /// What `DTX_CRASH_STORE` says; the embedded one if it says nothing.
    pub(crate) fn of_environment() -> Self {
        match env::var("DTX_CRASH_STORE").as_deref() {
            Err(_) | Ok("" | "redb") => Self::Redb,
            Ok("postgres") => Self::Postgres,
            Ok("redis") => Self::Redis,
            Ok(other) => panic!("DTX_CRASH_STORE is {other:?}; give redb, postgres or redis"),
        }
    }

    /// The servers that `DTX_CRASH_STORE` says; both if it says nothing.
    pub(crate) fn servers_of_environment() -> Vec<Self> {
        match Self::of_environment() {
            Self::Redb => Self::SERVERS.to_vec(),
            server => vec![server],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redb => "redb",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        }
    }

    fn service(self) -> Option<&'static dyn Service> {
        match self {
            Self::Redb => None,
            Self::Postgres => Some(&Postgres),
            Self::Redis => Some(&Redis),
        }
    }

    /// A server with its data in a folder, which may have some already.
    pub(crate) fn start(self, folder: &Path) -> Server {
        let service = self.service().expect("it is a server");
        Server::start(service, folder).expect("the server starts")
    }

    /// The address of one of many stores on a server.
    pub(crate) fn store_on(self, server: &Server, name: &str) -> String {
        let apart = if self == Self::Postgres { "schema" } else { "prefix" };
        format!("{}?{apart}={name}", server.url())
    }
}

/// A folder for the data of a server that only this campaign uses, empty.
pub(crate) fn data_folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("it is of an earlier run");
    }
    folder
}

/// Makes new stores of one kind. A server is stopped with it.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) kind: Kind,
    server: Option<Server>,
    made: AtomicUsize,
}

impl Home {
    /// Of the kind that the environment says.
    pub(crate) fn of_environment() -> Self {
        let kind = Kind::of_environment();
        let folder = data_folder(&format!("crash-{}", kind.name()));
        let server = kind.service().map(|_| kind.start(&folder));
        Self { kind, server, made: AtomicUsize::new(0) }
    }

    /// The address of a new store; one in a file is in that folder.
    pub(crate) fn store(&self, folder: &Path) -> String {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        match &self.server {
            Some(server) => self.kind.store_on(server, &format!("s{number}")),
            None => format!("redb:{}", folder.join("shop.redb").display()),
        }
    }
}
