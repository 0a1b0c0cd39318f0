//! Processes of servers: run as a user without privileges, found by id, ended by id.

use std::{
    env, fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::{
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::ServiceError;

/// How long a server may take to start or to end.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a server may take to answer once it is asked.
const ANSWER: Duration = Duration::from_secs(5);

/// How long a look at a process or a file is put off.
const LOOK: Duration = Duration::from_millis(20);

/// Users that servers run as when we are root, the first that exists.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// A port of the loopback that is free now.
pub(super) fn free_port() -> Result<u16, ServiceError> {
    let address = (Ipv4Addr::LOCALHOST, 0);
    let port = TcpListener::bind(address).and_then(|listener| listener.local_addr());
    port.map(|address| address.port())
        .map_err(|error| ServiceError::io("cannot find a free port on", "127.0.0.1", error))
}

/// Whether a server can have this port of the loopback.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The folder of the path that has this program.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).find(|folder| folder.join(program).is_file())
}

/// Whether we may do everything.
pub(super) fn is_root() -> bool {
    geteuid().is_root()
}

/// The ids of user and group that servers run as; `None`: as we are.
fn user() -> Option<(u32, u32)> {
    if !is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    USERS.iter().find_map(|name| id_of(&users, name))
}

fn id_of(users: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = users.lines().map(|line| line.split(':'));
    let mut fields = fields.find(|fields| fields.clone().next() == Some(name))?;
    let user = fields.nth(2)?.parse().ok()?;
    Some((user, fields.next()?.parse().ok()?))
}

/// Whether the user of the servers gets to this path.
pub(super) fn is_reachable(path: &Path) -> bool {
    user().is_none_or(|user| opens_to(path, user))
}

/// Whether every folder above the path lets this user and group through.
fn opens_to(path: &Path, (user, group): (u32, u32)) -> bool {
    path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()).all(|parent| {
        fs::metadata(parent).is_ok_and(|found| {
            let through = match found.uid() == user {
                true => 0o100,
                false if found.gid() == group => 0o010,
                false => 0o001,
            };
            found.mode() & through != 0
        })
    })
}

/// Makes a folder that only the user of the servers can read.
pub(super) fn make_folder(path: &Path) -> Result<(), ServiceError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| ServiceError::io("cannot make the folder", path, error))?;
    if let Some((user, group)) = user().filter(|_| is_reachable(path)) {
        chown(path, Some(user), Some(group))
            .map_err(|error| ServiceError::io("cannot give away the folder", path, error))?;
    }
    Ok(())
}

/// Makes a file that only the user of the servers can read.
pub(super) fn make_file(path: &Path, text: &str) -> Result<(), ServiceError> {
    let mut options = fs::OpenOptions::new();
    let made = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    made.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| ServiceError::io("cannot write", path, error))?;
    if let Some((user, group)) = user().filter(|_| is_reachable(path)) {
        chown(path, Some(user), Some(group))
            .map_err(|error| ServiceError::io("cannot give away the file", path, error))?;
    }
    Ok(())
}

/// A program that runs in `folder`, without input, and without our privileges if we are root and
/// others get to the folder.
pub(super) fn program(program: impl AsRef<Path>, folder: &Path) -> Command {
    let mut command = Command::new(program.as_ref());
    command.current_dir(folder).stdin(Stdio::null());
    if let Some((user, group)) = user().filter(|_| is_reachable(folder)) {
        command.uid(user).gid(group);
    }
    command
}

/// Runs a program to its end. It must not leave anything behind that holds its output open.
pub(super) fn run(command: &mut Command) -> Result<(), ServiceError> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| ServiceError::io("cannot run", &name, error))?;
    if output.status.success() {
        return Ok(());
    }
    let says = [output.stdout, output.stderr].concat();
    let says = String::from_utf8_lossy(&says).trim().to_owned();
    Err(ServiceError::Failed { program: name, says })
}

/// Looks until it is so, or until [`PATIENCE`] is over. Says whether it is so.
pub(super) fn wait(mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(LOOK);
    }
}

/// Sends these bytes to a port of the loopback, and gives the first of the answer, so many.
pub(super) fn ask(port: u16, question: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.write_all(question).ok()?;
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}

/// Whether the process `id` lives and runs `program`: ids are given again, names tell.
pub(super) fn lives(id: u32, program: &str) -> bool {
    let output = Command::new("ps").args(["-o", "stat=,args=", "-p", &id.to_string()]).output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    runs(&String::from_utf8_lossy(&text), program)
}

fn runs(line: &str, program: &str) -> bool {
    let Some((state, arguments)) = line.trim().split_once(char::is_whitespace) else {
        return false;
    };
    // Its threads end after it, and what it has open with the last of them.
    let has_threads = state.starts_with('Z') && state.contains('l');
    has_threads || !state.starts_with('Z') && arguments.contains(program)
}

/// Asks the process to end, or ends it at once.
pub(super) fn signal(id: u32, at_once: bool) {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    let signal = if at_once { Signal::KILL } else { Signal::INT };
    if let Some(id) = id {
        // It may have ended by itself, which is what is wanted.
        let _ = kill_process(id, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let users = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:7::/:/x\npostgres:x:101:104:,,:/v:/b";
        assert_eq!(id_of(users, "postgres"), Some((101, 104)));
        assert_eq!(id_of(users, "post"), None);
    }

    #[test]
    fn a_folder_in_a_closed_one_is_not_reached() {
        let folder = env::temp_dir().join(format!("dtx-reach-{}", std::process::id()));
        make_folder(&folder).expect("it is made");
        let inside = folder.join("a");
        let found = fs::metadata(&folder).expect("it is there");
        let (user, group) = (found.uid(), found.gid());
        assert!(opens_to(&inside, (user, group)));
        assert!(!opens_to(&inside, (user + 1, group)) && !opens_to(&inside, (user + 1, group + 1)));
        assert!(opens_to(&folder, (user + 1, group + 1)), "the folder itself does not count");
        assert!(!opens_to(&folder.join("none/a"), (user, group)));
        fs::remove_dir(&folder).expect("it is ours");
    }

    #[test]
    fn a_process_that_ended_or_has_another_program_is_not_the_server() {
        assert!(runs("Ss   /usr/bin/postgres -D data", "postgres"));
        assert!(!runs("Z    [postgres] <defunct>", "postgres"));
        assert!(runs("Zl   [java] <defunct>", "kafka.Kafka"));
        assert!(!runs("Ss   /bin/sh", "postgres"));
        assert!(!runs("", "postgres"));
        assert!(!lives(u32::MAX, "postgres"));
    }

    #[test]
    fn ports_are_free() {
        let port = free_port().expect("the loopback is there");
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("it is free");
        assert!(!is_free(port));
        drop(taken);
        assert!(is_free(port));
    }
}
