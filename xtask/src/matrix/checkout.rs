//! `cargo xtask example checkout`: five services and a coordinator, each in a process of its own
//! and with a store of its own, over a broker, while some of them are killed.

use std::{collections::BTreeMap, process::Command, time::Duration};

use serde_json::Value;

use super::{
    cell::{first_orders, with_prefix},
    processes::Process,
    run::build,
    table::PATTERNS,
};
use crate::{
    services::Servers,
    steps::{Ending, Steps, say},
    workspace::Workspace,
};

/// How long one process may take.
const LONG: Duration = Duration::from_secs(600);

/// The services, each with the service that its store is on.
const SERVICES: [(&str, &str); 5] = [
    ("payment", "postgres"),
    ("inventory", "postgres"),
    ("shipping", "postgres"),
    ("notification", "postgres"),
    ("analytics", "redis"),
];

/// How many processes of `inventory` there are once it is scaled.
const INVENTORIES: usize = 3;

/// What is shown.
#[derive(Clone, Debug)]
pub(crate) struct Checkout {
    /// `kafka` or `nats`.
    pub(crate) transport: String,
    pub(crate) pattern: String,
    /// How many of the shipped orders.
    pub(crate) orders: usize,
}

/// Shows it.
///
/// # Errors
/// A text when the command line is wrong, or a server or the program is missing.
pub(crate) fn checkout(
    workspace: &Workspace,
    steps: &mut Steps,
    wanted: &Checkout,
) -> Result<(), String> {
    if !["kafka", "nats"].contains(&wanted.transport.as_str()) {
        return Err(format!("--transport {:?} is unknown; give kafka or nats", wanted.transport));
    }
    if !PATTERNS.contains(&wanted.pattern.as_str()) {
        return Err(format!("--pattern {:?} is unknown; give one of {PATTERNS:?}", wanted.pattern));
    }
    let services = ["postgres", "redis", wanted.transport.as_str()].map(str::to_owned);
    let servers = Servers::find_these(workspace, steps, &services, &services);
    let urls = servers.urls();
    if urls.len() < services.len() {
        return Err("a server is missing".into());
    }
    build(workspace, &urls)?;
    let stamp = format!("c{}", std::process::id());
    let orders = workspace.target.join(format!("{stamp}-orders.csv"));
    first_orders(&workspace.root.join("data/cdnow_orders.csv"), &orders, wanted.orders)?;
    let shop = Shop { workspace, wanted, urls, stamp };
    steps.run("checkout", || match shop.show(&orders) {
        Ok(report) => {
            say(&format!("{report:#}"));
            Ending::of(true)
        }
        Err(problem) => Ending::failed(problem),
    });
    // It is only in the way.
    let _ = std::fs::remove_file(&orders);
    Ok(())
}

struct Shop<'a> {
    workspace: &'a Workspace,
    wanted: &'a Checkout,
    urls: BTreeMap<String, String>,
    stamp: String,
}

impl Shop<'_> {
    fn dtx(&self) -> Command {
        Command::new(self.workspace.target.join("checked/dtx"))
    }

    /// A schema, or a prefix of keys, for this service alone.
    fn store(&self, name: &str, on: &str) -> String {
        let url = &self.urls[on];
        let join = if url.contains('?') { '&' } else { '?' };
        let place = if on == "postgres" { "schema" } else { "prefix" };
        format!("{url}{join}{place}={}_{name}", self.stamp)
    }

    fn transport(&self) -> String {
        let service = self.wanted.transport.as_str();
        with_prefix(service, &self.urls[service], &self.stamp)
    }

    fn serve(&self, name: &str, on: &str) -> Result<Process, String> {
        let mut command = self.dtx();
        command.args(["serve", name, "--store", &self.store(name, on)]);
        command.args(["--transport", &self.transport()]);
        let mut process = Process::start(&mut command, LONG)?;
        say(&format!("started: {}", process.first_line()?));
        Ok(process)
    }

    fn coordinate(&self, orders: &std::path::Path) -> Result<Process, String> {
        let mut command = self.dtx();
        command.arg("run").arg("--orders").arg(orders);
        command.args(["--run", "checkout", "--pattern", &self.wanted.pattern]);
        command.args(["--store", &self.store("coordinator", "postgres")]);
        command.args(["--transport", &self.transport(), "--services", "apart"]);
        for (name, on) in SERVICES {
            command.arg("--service-store").arg(format!("{name}={}", self.store(name, on)));
        }
        command.args(["--concurrency", "64", "--progress", "json", "--json"]);
        Process::start(&mut command, LONG)
    }

    fn show(&self, orders: &std::path::Path) -> Result<Value, String> {
        let start = |(name, on)| self.serve(name, on);
        let mut services: Vec<_> = SERVICES.into_iter().map(start).collect::<Result<_, _>>()?;
        let mut coordinator = self.coordinate(orders)?;
        say("started: the coordinator, with the orders");
        if coordinator.reaches(0.2)? {
            for _ in 1..INVENTORIES {
                services.push(self.serve("inventory", "postgres")?);
            }
            say(&format!("inventory has {INVENTORIES} processes now"));
        }
        if coordinator.reaches(0.4)? {
            services[1].kill();
            say("killed: one inventory; the other two go on");
        }
        if coordinator.reaches(0.5)? {
            services[0].kill();
            say("killed: payment, the only one");
            services[0] = self.serve("payment", "postgres")?;
        }
        if coordinator.reaches(0.7)? {
            coordinator.kill();
            say("killed: the coordinator; the same command goes on where it was");
            coordinator = self.coordinate(orders)?;
        }
        let ended = coordinator.end()?;
        drop(services);
        let report = serde_json::from_str(&ended.last_line).map_err(|_| ended.said.clone())?;
        if ended.success { Ok(report) } else { Err(format!("it is not sound: {report:#}")) }
    }
}
