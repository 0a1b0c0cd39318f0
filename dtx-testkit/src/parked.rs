//! Processes that are killed at a place: a child is the test's own program again, does one thing,
//! says that it has come to the place, and waits there.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

const HERE: &str = "it has come to the place";

/// Says where it is, and does nothing more.
pub async fn park() -> ! {
    println!("{HERE}");
    std::future::pending().await
}

/// Starts this program again with one test alone and these variables, waits until it is parked, and
/// kills it (`SIGKILL`).
///
/// # Panics
/// When it cannot be started, or ends before it is parked.
pub fn kill_parked<V: AsRef<OsStr>>(test: &str, variables: &[(&str, V)]) {
    let mut child = Command::new(env::current_exe().expect("it has a path"))
        .args(["--exact", test, "--nocapture"])
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let came = lines.map_while(Result::ok).any(|line| line.contains(HERE));
    // It may have ended.
    let _ = child.kill();
    child.wait().expect("it ends");
    assert!(came, "a child of {test} ended before it came to its place");
}
