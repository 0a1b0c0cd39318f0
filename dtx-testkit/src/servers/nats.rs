//! NATS with JetStream.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    Place, Recipe, Service, ServiceError,
    images::name_and_tag,
    process::{make_folder, on_path, program, wait},
};

const SERVER: &str = "nats-server";

/// Where Debian puts it, which is not on everybody's path.
const SYSTEM_FOLDER: &str = "/usr/sbin";

/// What a test may put into the folder of a server: more of its configuration.
const MORE: &str = "more.conf";

/// Its port in a container.
const PORT: u16 = 4222;

/// The configuration in a container.
const CONTAINED: &str = "/dtx.conf";

/// The first version that can be told when to sync.
const CAN_SYNC_ALWAYS: (u32, u32) = (2, 10);

/// A NATS server with JetStream. It takes more configuration from the file `more.conf` of its
/// folder, if there is one before it is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nats;

/// A NATS server without JetStream, which keeps nothing. As [`Nats`] otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct NatsCore;

fn programs() -> Option<PathBuf> {
    let system = || Some(PathBuf::from(SYSTEM_FOLDER)).filter(|f| f.join(SERVER).is_file());
    on_path(SERVER).or_else(system)
}

fn failed(says: impl Into<String>) -> ServiceError {
    ServiceError::Failed { program: SERVER.to_owned(), says: says.into() }
}

/// Major and minor version of the program.
fn version(programs: &Path) -> Result<(u32, u32), ServiceError> {
    let path = programs.join(SERVER);
    let output = Command::new(&path).arg("--version").output();
    let output = output.map_err(|error| ServiceError::io("cannot run", &path, error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    version_of(&text).ok_or_else(|| failed(format!("it says that its version is {text:?}")))
}

fn version_of(text: &str) -> Option<(u32, u32)> {
    let (_, version) = text.trim().rsplit_once(": v")?;
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The configuration: nothing that was acknowledged is lost with the power, where the version can
/// be told so; the older ones sync every two minutes.
fn configuration(place: &Place, data: Option<&Path>, version: (u32, u32)) -> String {
    let mut text = format!("listen: 127.0.0.1:{}\n", place.port);
    if let Some(data) = data {
        let sync = if version >= CAN_SYNC_ALWAYS { "sync_interval: always" } else { "" };
        text.push_str(&format!("jetstream {{ store_dir: \"{}\"\n {sync} }}\n", data.display()));
    }
    if place.folder.join(MORE).is_file() {
        text.push_str(&format!("include {MORE}\n"));
    }
    text
}

/// The configuration in a container of this image. Its tag tells the version; one that tells none
/// is taken for a new one.
fn contained(image: &str) -> String {
    let (_, tag) = name_and_tag(image);
    let version = version_of(&format!("{SERVER}: v{tag}"));
    let sync = if version.is_none_or(|version| version >= CAN_SYNC_ALWAYS) {
        "sync_interval: always"
    } else {
        ""
    };
    format!("listen: 0.0.0.0:{PORT}\njetstream {{ store_dir: \"/data\"\n {sync} }}\n")
}

fn recipe(image: &str) -> Option<Recipe> {
    let command = ["--config", CONTAINED].map(str::to_owned).into();
    let files = vec![(CONTAINED.to_owned(), contained(image))];
    Some(Recipe { port: PORT, environment: Vec::new(), command, files, answers: greets })
}

/// Whether the server greets those who connect, which it does once its streams are read.
fn greets(port: u16) -> bool {
    let greeting = || {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        Some(line)
    };
    greeting().is_some_and(|line| line.starts_with("INFO "))
}

fn start(place: &Place, has_streams: bool) -> Result<Vec<u32>, ServiceError> {
    let data = place.folder.join("data");
    make_folder(&data)?;
    let version = version(&place.programs)?;
    let text = configuration(place, has_streams.then_some(&*data), version);
    let (path, log) = (place.folder.join("server.conf"), data.join("log"));
    fs::write(&path, text).map_err(|error| ServiceError::io("cannot write", &path, error))?;
    let mut command = program(place.programs.join(SERVER), &place.folder);
    command.arg("--config").arg(&path).arg("--log").arg(&log);
    // A signal from the keyboard is for who started it, not for the server.
    command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let child = command.spawn();
    let mut child = child.map_err(|error| ServiceError::io("cannot run", SERVER, error))?;
    let mut has_ended = false;
    let answers = wait(|| {
        has_ended = child.try_wait().is_ok_and(|status| status.is_some());
        has_ended || greets(place.port)
    });
    if answers && !has_ended {
        return Ok(vec![child.id()]);
    }
    // It is ours, and of no use.
    let _ = child.kill();
    let _ = child.wait();
    let says = fs::read_to_string(&log).unwrap_or_default();
    Err(failed(says.lines().rev().take(5).collect::<Vec<_>>().join("\n")))
}

/// The service of one kind of server. They differ by their names, by having streams, and by having
/// a container.
macro_rules! service {
    ($kind:ty, $name:literal, $variable:literal, $has_streams:literal $(, $recipe:path)?) => {
        impl Service for $kind {
            fn name(&self) -> &'static str {
                $name
            }

            fn variable(&self) -> &'static str {
                $variable
            }

            fn package(&self) -> &'static str {
                SERVER
            }

            fn programs(&self) -> Option<PathBuf> {
                programs()
            }

            fn url(&self, port: u16) -> String {
                format!("nats://127.0.0.1:{port}")
            }

            fn start(&self, place: &Place) -> Result<Vec<u32>, ServiceError> {
                start(place, $has_streams)
            }

            fn process_name(&self) -> &'static str {
                SERVER
            }

            $(fn recipe(&self, image: &str, _: u16) -> Option<Recipe> {
                $recipe(image)
            })?
        }
    };
}

service!(Nats, "nats", "DTX_TEST_NATS_URL", true, recipe);
service!(NatsCore, "nats-core", "DTX_TEST_NATS_CORE_URL", false);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(version_of("nats-server: v2.9.10\n"), Some((2, 9)));
        assert_eq!(version_of("nats-server: v2.12.2"), Some((2, 12)));
        assert_eq!(version_of("nats-server: 2"), None);
    }

    #[test]
    fn a_server_that_can_syncs_always() {
        let place = Place { programs: "/none".into(), folder: "/none".into(), port: 7 };
        let data = Some(Path::new("/d"));
        assert!(configuration(&place, data, (2, 10)).contains("sync_interval: always"));
        assert!(!configuration(&place, data, (2, 9)).contains("sync"));
        assert!(!configuration(&place, None, (2, 12)).contains("jetstream"));
        assert!(contained("nats:2.10.22").contains("sync_interval: always"));
        assert!(contained("here:5000/nats").contains("sync_interval: always"));
        assert!(!contained("dtx/nats:2.9.10").contains("sync"));
    }
}
