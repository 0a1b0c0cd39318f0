//! Writing to a store as an operator: through its owner where one runs, else as its owner for as
//! long as it takes.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use clap::Args;
#[cfg(unix)]
use dtx::RedbOwner;
use dtx::{RedbStore, error::ErrorKind, operator::Operator};
use dtx_shop::StoreAddress;
use serde::Serialize;

use crate::exit::Failure;

/// How long it is tried when the owner is there and does not listen yet, or is just leaving.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Who does it, and why.
#[derive(Debug, Args)]
pub(crate) struct Who {
    /// Who does it [default: the user of this system]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

impl Who {
    /// The name.
    pub(crate) fn name(&self) -> String {
        let of_system = || {
            let names = ["USER", "LOGNAME", "USERNAME"].into_iter();
            names.filter_map(|name| std::env::var(name).ok()).find(|name| !name.is_empty())
        };
        self.by.clone().or_else(of_system).unwrap_or_else(|| "unknown".to_owned())
    }
}

/// The process that runs on a store.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Owner {
    pub(crate) pid: u32,
    pub(crate) program: String,
}

/// An operator at a store.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) operator: Operator,
    /// Through whom; `None` when nobody runs on the store.
    pub(crate) owner: Option<Owner>,
    own: Option<RedbStore>,
}

impl Access {
    /// Gives the store up again.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        match self.own {
            Some(store) => store.close().await.map_err(Failure::failed),
            None => Ok(()),
        }
    }

    /// What is said of when a move has its effect.
    pub(crate) fn when(&self) -> String {
        match &self.owner {
            Some(owner) => {
                format!("it is durable; process {} ({}) carries it out", owner.pid, owner.program)
            }
            None => "it is durable; the next process on the store carries it out".to_owned(),
        }
    }
}

/// Reaches a store as an operator.
pub(crate) async fn access(store: &StoreAddress) -> Result<Access, Failure> {
    let path = path_of(store)?;
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(access) = through_owner(path)? {
            return Ok(access);
        }
        match RedbStore::open(path).await {
            Ok(store) => {
                let operator = Operator::on(store.clone());
                return Ok(Access { operator, owner: None, own: Some(store) });
            }
            Err(error) if error.kind() == ErrorKind::Busy && Instant::now() < end => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(Failure::failed(error)),
        }
    }
}

/// The file of a store, which must be there.
pub(crate) fn path_of(store: &StoreAddress) -> Result<&Path, Failure> {
    let StoreAddress::Redb(path) = store else {
        return Err(
            Failure::usage("a memory store is seen by its own process alone").fix("give redb:PATH")
        );
    };
    if !path.is_file() {
        return Err(Failure::usage(format!("there is no file {}", path.display())));
    }
    Ok(path)
}

#[cfg(unix)]
fn through_owner(path: &Path) -> Result<Option<Access>, Failure> {
    let found = RedbOwner::connect(path).map_err(Failure::failed)?;
    Ok(found.map(|connected| {
        let owner = connected.owner();
        let owner = Owner { pid: owner.pid, program: owner.program.clone() };
        Access { operator: Operator::on(connected), owner: Some(owner), own: None }
    }))
}

#[cfg(not(unix))]
fn through_owner(_: &Path) -> Result<Option<Access>, Failure> {
    Ok(None)
}

/// The process that runs on a store, if one does and listens.
pub(crate) fn owner_of(store: &StoreAddress) -> Result<Option<Owner>, Failure> {
    Ok(through_owner(path_of(store)?)?.and_then(|access| access.owner))
}
