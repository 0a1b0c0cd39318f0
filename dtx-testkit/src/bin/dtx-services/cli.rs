//! The command line.

use std::{
    env,
    path::PathBuf,
    process::{Command, ExitCode},
};

use clap::{Parser, Subcommand};
use dtx_testkit::servers::{Found, SERVICES, Service, ServiceError, Services, Source, named};

/// Servers for tests.
#[derive(Debug, Parser)]
#[command(name = "dtx-services")]
struct Arguments {
    /// Where the data of the servers are.
    #[arg(long, default_value = "target/services", global = true)]
    folder: PathBuf,
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Finds servers, or starts them. Prints `VARIABLE=URL (given|running|started)` for each.
    Up {
        /// Which; none means all.
        #[arg(value_parser = service)]
        services: Vec<&'static dyn Service>,
        /// As root: installs what is not here.
        #[arg(long)]
        install: bool,
    },
    /// Stops what was started.
    Down {
        /// Which; none means all.
        #[arg(value_parser = service)]
        services: Vec<&'static dyn Service>,
    },
    /// Prints what is there.
    Status {
        /// Which; none means all.
        #[arg(value_parser = service)]
        services: Vec<&'static dyn Service>,
    },
    /// Starts servers, runs a command that finds their URLs in its environment, and stops what it
    /// has started.
    Exec {
        /// Which.
        #[arg(value_parser = service, required = true)]
        services: Vec<&'static dyn Service>,
        /// As root: installs what is not here.
        #[arg(long)]
        install: bool,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

fn service(name: &str) -> Result<&'static dyn Service, String> {
    let known = || SERVICES.iter().map(|service| service.name()).collect::<Vec<_>>().join(", ");
    named(name).ok_or_else(|| format!("there is no service `{name}`, only: {}", known()))
}

/// Reads the command line and runs the command.
pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let there = Services::in_folder(arguments.folder);
    match arguments.command {
        Task::Up { services, install } => up(&there, &or_all(services), install),
        Task::Down { services } => down(&there, &or_all(services)),
        Task::Status { services } => status(&there, &or_all(services)),
        Task::Exec { services, install, command } => exec(&there, &services, install, &command),
    }
}

fn or_all(services: Vec<&'static dyn Service>) -> Vec<&'static dyn Service> {
    if services.is_empty() { SERVICES.to_vec() } else { services }
}

fn show(service: &dyn Service, found: &Found) {
    println!("{}={} ({})", service.variable(), found.url, found.from.word());
}

fn up(there: &Services, services: &[&'static dyn Service], install: bool) -> ExitCode {
    let mut ending = ExitCode::SUCCESS;
    for service in services {
        match there.up(*service, install) {
            Ok(found) => show(*service, &found),
            Err(error) => ending = failed(&error),
        }
    }
    ending
}

fn down(there: &Services, services: &[&'static dyn Service]) -> ExitCode {
    let mut ending = ExitCode::SUCCESS;
    for service in services {
        match there.down(*service) {
            Ok(true) => println!("{} stopped", service.name()),
            Ok(false) => println!("{} was not started here", service.name()),
            Err(error) => ending = failed(&error),
        }
    }
    ending
}

fn status(there: &Services, services: &[&'static dyn Service]) -> ExitCode {
    for service in services {
        match there.find(*service) {
            Some(found) => show(*service, &found),
            None if service.programs().is_some() => println!("{} can be started", service.name()),
            None => println!("{} is not here", service.name()),
        }
    }
    ExitCode::SUCCESS
}

fn exec(
    there: &Services,
    services: &[&'static dyn Service],
    install: bool,
    command: &[String],
) -> ExitCode {
    let mut started = Vec::new();
    let mut child = Command::new(command.first().map_or("", String::as_str));
    child.args(command.iter().skip(1));
    // What cargo sets for this package would make a cargo that is run here build others anew.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            child.env_remove(&name);
        }
    }
    let mut ending = ExitCode::SUCCESS;
    for service in services {
        match there.up(*service, install) {
            Ok(found) => {
                child.env(service.variable(), &found.url);
                if found.from == Source::Started {
                    started.push(*service);
                }
            }
            Err(error) => ending = failed(&error),
        }
    }
    if ending == ExitCode::SUCCESS {
        ending = match child.status() {
            Ok(status) if status.success() => ExitCode::SUCCESS,
            Ok(status) => {
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                ExitCode::from(code.unwrap_or(1))
            }
            Err(error) => {
                eprintln!("error: cannot run `{}`: {error}", command.join(" "));
                ExitCode::FAILURE
            }
        };
    }
    for service in started {
        if let Err(error) = there.down(service) {
            ending = failed(&error);
        }
    }
    ending
}

fn failed(error: &ServiceError) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
