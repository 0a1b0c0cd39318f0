//! PostgreSQL.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
};

use super::{
    Place, Recipe, Server, Service, ServiceError,
    process::{PATIENCE, ask, is_reachable, make_file, make_folder, on_path, program, run},
};

const SERVER: &str = "postgres";

/// Who is let in where TLS is asked for.
const ONLY_TLS: &str = "hostssl all all 127.0.0.1/32 trust\n";

/// Where Debian puts the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Nobody but this machine gets in.
const LOOPBACK: [(&str, &str); 2] =
    [("listen_addresses", "127.0.0.1"), ("unix_socket_directories", "")];

/// Nothing that was acknowledged is lost with the power, and branches can be prepared.
const SETTINGS: [(&str, &str); 6] = [
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("max_prepared_transactions", "64"),
    ("max_connections", "300"),
    ("logging_collector", "off"),
];

/// PostgreSQL, with the user `dtx`, no password, and the database `postgres`.
#[derive(Clone, Copy, Debug)]
pub struct Postgres;

/// The same, as it is installed: it prepares no transactions.
#[derive(Clone, Copy, Debug)]
pub struct PostgresUnprepared;

/// The same, but only over TLS. Its folder must have `server.pem` and `server.key` before it is
/// started.
#[derive(Clone, Copy, Debug)]
pub struct PostgresTls;

/// A standby that follows another server. Its folder must have a file `primary` with the port of
/// that, and one `name` with its own name, before it is started: see [`PostgresStandby::follow`].
#[derive(Clone, Copy, Debug)]
pub struct PostgresStandby;

impl PostgresStandby {
    /// Starts a standby of the server at a port of the loopback, in an empty folder. The other one
    /// knows it by its name: that is what may stand in `synchronous_standby_names`.
    ///
    /// # Errors
    /// [`ServiceError`] when the folder cannot be written, or the server does not start.
    pub fn follow(folder: &Path, primary: u16, name: &str) -> Result<Server, ServiceError> {
        make_folder(folder)?;
        make_file(&folder.join("primary"), &primary.to_string())?;
        make_file(&folder.join("name"), name)?;
        Server::start(&Self, folder)
    }
}

/// Where its data are: in the folder, or, where root keeps it to itself, in a temporary one that the
/// folder leads to. The server does not run as root.
fn home(folder: &Path) -> Result<PathBuf, ServiceError> {
    if is_reachable(folder) {
        return Ok(folder.to_owned());
    }
    let mut hasher = DefaultHasher::new();
    folder.hash(&mut hasher);
    let home = env::temp_dir().join(format!("dtx-postgres-{:x}", hasher.finish()));
    let (link, data) = (folder.join("data"), home.join("data"));
    if !link.is_symlink() {
        if home.exists() {
            fs::remove_dir_all(&home)
                .map_err(|error| ServiceError::io("cannot remove", &home, error))?;
        }
        symlink(&data, &link).map_err(|error| ServiceError::io("cannot make", &link, error))?;
    }
    make_folder(&home)?;
    Ok(home)
}

/// The programs on this machine, the newest.
fn programs() -> Option<PathBuf> {
    let whole = |folder: &Path| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file();
    // A link on the PATH leads to where all of them are.
    let real = |folder: PathBuf| Some(folder.join("pg_ctl").canonicalize().ok()?.parent()?.into());
    if let Some(folder) = on_path("pg_ctl").and_then(real).filter(|folder: &PathBuf| whole(folder))
    {
        return Some(folder);
    }
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let versions = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut versions: Vec<_> = versions.collect();
    versions.sort_unstable();
    let folders = versions.iter().rev().map(|version| format!("{VERSIONS}/{version}/bin"));
    folders.map(PathBuf::from).find(|folder| whole(folder))
}

/// Makes the data of a new server, unless they are there.
fn make_data(place: &Place, home: &Path) -> Result<(), ServiceError> {
    let data = home.join("data");
    if data.join("PG_VERSION").is_file() {
        return Ok(());
    }
    make_folder(&data)?;
    let mut initdb = program(place.programs.join("initdb"), home);
    initdb.arg("-D").arg(&data);
    initdb.args(["-U", "dtx", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
    run(&mut initdb)
}

/// Starts a server on the data in a folder, with more settings, which win. Says its process id.
fn start(place: &Place, home: &Path, more: &[(&str, &str)]) -> Result<Vec<u32>, ServiceError> {
    let data = home.join("data");
    let mut options = format!("-p {}", place.port);
    for (name, value) in LOOPBACK.iter().chain(&SETTINGS).chain(more) {
        options.push_str(&format!(" -c {name}='{value}'"));
    }
    let log = home.join("log");
    let mut start = program(place.programs.join("pg_ctl"), home);
    start.arg("start").arg("-w").arg("-t").arg(PATIENCE.as_secs().to_string());
    start.arg("-D").arg(&data).arg("-l").arg(&log).arg("-o").arg(options);
    // The server would hold a pipe open, and its end would never be seen.
    let status = start.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let status = status.map_err(|error| ServiceError::io("cannot run", "pg_ctl", error))?;
    if !status.success() {
        let says = fs::read_to_string(&log).unwrap_or_default();
        let says = says.lines().rev().take(5).collect::<Vec<_>>().join("\n");
        return Err(ServiceError::Failed { program: "pg_ctl start".to_owned(), says });
    }
    let path = data.join("postmaster.pid");
    let text =
        fs::read_to_string(&path).map_err(|error| ServiceError::io("cannot read", &path, error))?;
    let id = text.lines().next().and_then(|id| id.parse().ok());
    id.map(|id| vec![id]).ok_or_else(|| ServiceError::Failed {
        program: "pg_ctl start".to_owned(),
        says: "postmaster.pid has no process id".to_owned(),
    })
}

/// Whether a server lets the user in: one that still recovers turns everybody away.
fn answers(port: u16) -> bool {
    // The length, the version of the protocol, and what the client says of itself.
    let mut hello = b"\0\0\0\0\0\x03\0\0user\0dtx\0database\0postgres\0\0".to_vec();
    let Ok(length) = u32::try_from(hello.len()) else { return false };
    hello[..4].copy_from_slice(&length.to_be_bytes());
    let answer = ask(port, &hello, 1);
    answer.is_some_and(|answer| answer == b"R")
}

fn recipe() -> Recipe {
    let mut command = vec![SERVER.to_owned()];
    for (name, value) in SETTINGS {
        command.extend(["-c".to_owned(), format!("{name}={value}")]);
    }
    let environment = [
        ("POSTGRES_USER", "dtx"),
        ("POSTGRES_DB", "postgres"),
        ("POSTGRES_HOST_AUTH_METHOD", "trust"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Recipe { port: 5432, environment: environment.into(), command, files: Vec::new(), answers }
}

/// Starts a server on its own data, with more settings, which win.
fn start_new(place: &Place, more: &[(&str, &str)]) -> Result<Vec<u32>, ServiceError> {
    let home = home(&place.folder)?;
    make_data(place, &home)?;
    start(place, &home, more)
}

fn start_plain(place: &Place) -> Result<Vec<u32>, ServiceError> {
    start_new(place, &[])
}

fn start_unprepared(place: &Place) -> Result<Vec<u32>, ServiceError> {
    start_new(place, &[("max_prepared_transactions", "0")])
}

fn start_tls(place: &Place) -> Result<Vec<u32>, ServiceError> {
    let home = home(&place.folder)?;
    make_data(place, &home)?;
    let mut files = Vec::new();
    for name in ["server.pem", "server.key"] {
        let given = place.folder.join(name);
        let text = fs::read_to_string(&given)
            .map_err(|error| ServiceError::io("cannot read", &given, error))?;
        let own = home.join("data").join(name);
        make_file(&own, &text)?;
        files.push(own.to_string_lossy().into_owned());
    }
    make_file(&home.join("data").join("pg_hba.conf"), ONLY_TLS)?;
    let [certificate, key] = [&files[0], &files[1]];
    start(place, &home, &[("ssl", "on"), ("ssl_cert_file", certificate), ("ssl_key_file", key)])
}

fn start_standby(place: &Place) -> Result<Vec<u32>, ServiceError> {
    let home = home(&place.folder)?;
    let data = home.join("data");
    let given = |name: &str| {
        let path = place.folder.join(name);
        fs::read_to_string(&path).map_err(|error| ServiceError::io("cannot read", &path, error))
    };
    if !data.join("PG_VERSION").is_file() {
        let port = given("primary")?;
        make_folder(&data)?;
        let mut copy = program(place.programs.join("pg_basebackup"), &home);
        copy.args(["-h", "127.0.0.1", "-U", "dtx", "-p", port.trim(), "-c", "fast"]);
        run(copy.args(["-X", "stream", "-R", "-D"]).arg(&data))?;
    }
    start(place, &home, &[("cluster_name", given("name")?.trim())])
}

/// The service of one kind of server. They differ by their names, by how they are started, and by
/// having a container.
macro_rules! service {
    ($kind:ty, $name:literal, $variable:literal, $start:path $(, $recipe:path)?) => {
        impl Service for $kind {
            fn name(&self) -> &'static str {
                $name
            }

            fn variable(&self) -> &'static str {
                $variable
            }

            fn package(&self) -> &'static str {
                "postgresql"
            }

            fn programs(&self) -> Option<PathBuf> {
                programs()
            }

            fn url(&self, port: u16) -> String {
                format!("postgres://dtx@127.0.0.1:{port}/postgres")
            }

            fn start(&self, place: &Place) -> Result<Vec<u32>, ServiceError> {
                $start(place)
            }

            fn process_name(&self) -> &'static str {
                SERVER
            }

            $(fn recipe(&self, _: &str, _: u16) -> Option<Recipe> {
                Some($recipe())
            })?
        }
    };
}

service!(Postgres, "postgres", "DTX_TEST_POSTGRES_URL", start_plain, recipe);
service!(
    PostgresUnprepared,
    "postgres-unprepared",
    "DTX_TEST_POSTGRES_UNPREPARED_URL",
    start_unprepared
);
service!(PostgresTls, "postgres-tls", "DTX_TEST_POSTGRES_TLS_URL", start_tls);
service!(PostgresStandby, "postgres-standby", "DTX_TEST_POSTGRES_STANDBY_URL", start_standby);
