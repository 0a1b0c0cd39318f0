//! The command line.

use std::{
    env,
    path::PathBuf,
    process::{Command, ExitCode},
};

use clap::{Parser, Subcommand};
use dtx_testkit::servers::{
    Found, IMAGES, Image, SERVICES, Service, ServiceError, Services, Source, Way, named,
};

/// Servers for tests: the one that an environment variable names, a container where a Docker
/// engine answers, or a native one, in this order.
#[derive(Debug, Parser)]
#[command(name = "dtx-services", after_help = images())]
struct Arguments {
    /// Where the data of the servers are.
    #[arg(long, default_value = "target/services", global = true)]
    folder: PathBuf,
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Finds servers, or starts them. Prints `VARIABLE=URL (given|running|started)` for each,
    /// with the word `container` where it is one.
    Up {
        /// Which; none means all.
        #[arg(value_parser = service)]
        services: Vec<&'static dyn Service>,
        /// As root: installs what is not here.
        #[arg(long)]
        install: bool,
        /// In this way alone, `containers` or `native`, whatever the environment names.
        #[arg(long, value_parser = way)]
        via: Option<Way>,
    },
    /// Stops what was started. Data of a native server stay, a container is removed.
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
        /// In this way alone, `containers` or `native`, whatever the environment names.
        #[arg(long, value_parser = way)]
        via: Option<Way>,
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
        /// In this way alone, `containers` or `native`, whatever the environment names.
        #[arg(long, value_parser = way)]
        via: Option<Way>,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

fn service(name: &str) -> Result<&'static dyn Service, String> {
    let known = || SERVICES.iter().map(|service| service.name()).collect::<Vec<_>>().join(", ");
    named(name).ok_or_else(|| format!("there is no service `{name}`, only: {}", known()))
}

fn way(word: &str) -> Result<Way, String> {
    Way::named(word).ok_or_else(|| "it is `containers` or `native`".to_owned())
}

/// The images and what names others.
fn images() -> String {
    let mut text = "Images of containers, and the variables that name others:".to_owned();
    for Image { service, official, variable } in IMAGES {
        text.push_str(&format!("\n  {service:<9} {official:<19} {variable}"));
    }
    text
}

/// Reads the command line and runs the command.
pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let there = |via: Option<Way>| {
        let there = Services::in_folder(&arguments.folder);
        via.into_iter().fold(there, Services::via)
    };
    match arguments.command {
        Task::Up { services, install, via } => up(&there(via), &or_all(services, via), install),
        Task::Down { services } => down(&there(None), &or_all(services, None)),
        Task::Status { services, via } => status(&there(via), &or_all(services, via)),
        Task::Exec { services, install, via, command } => {
            exec(&there(via), &services, install, &command)
        }
    }
}

/// These, or all that can be had in this way.
fn or_all(services: Vec<&'static dyn Service>, via: Option<Way>) -> Vec<&'static dyn Service> {
    if !services.is_empty() {
        return services;
    }
    let has_way = |service: &&&'static dyn Service| {
        via != Some(Way::Containers) || Image::of(service.name()).is_some()
    };
    SERVICES.iter().filter(has_way).copied().collect()
}

fn show(service: &dyn Service, found: &Found) {
    println!("{}={} ({})", service.variable(), found.url, found.from.words());
}

/// Says why a server is not in a container although an engine answers.
fn tell(service: &dyn Service, found: &Found) {
    if let Some(reason) = &found.passed_over {
        eprintln!("{} IS A NATIVE SERVER: {reason}", service.name().to_uppercase());
    }
}

fn up(there: &Services, services: &[&'static dyn Service], install: bool) -> ExitCode {
    let mut ending = ExitCode::SUCCESS;
    for service in services {
        match there.up(*service, install) {
            Ok(found) => {
                tell(*service, &found);
                show(*service, &found);
            }
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
            None if there.can_start(*service) => println!("{} can be started", service.name()),
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
                tell(*service, &found);
                child.env(service.variable(), &found.url);
                if matches!(found.from, Source::Started(_)) {
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
