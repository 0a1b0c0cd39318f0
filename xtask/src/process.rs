//! Child processes.

use std::{
    env,
    io::{BufRead, BufReader, Write, stdout},
    path::Path,
    process::{Command, Stdio},
};

use crate::watchdog::{SILENCE, Watchdog};

/// The cargo that runs us, or the one on the path.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = program(root, &env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    command.args(arguments);
    command
}

/// A program that runs in the root of the workspace and gets no input.
pub(crate) fn program(root: &Path, name: &str) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root).stdin(Stdio::null());
    // What cargo sets for us describes this package and would rebuild others needlessly.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") {
            command.env_remove(name);
        }
    }
    command.env_remove("CARGO_MANIFEST_DIR");
    command
}

/// Runs it with its output shown.
///
/// # Errors
/// A text that says what could not be started.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool, String> {
    show(command);
    command.status().map(|status| status.success()).map_err(|error| cannot_start(command, &error))
}

/// Runs it silently and gives its standard output.
///
/// # Errors
/// A text with the standard error when it does not end with success.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| cannot_start(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{}: {}", line(command), String::from_utf8_lossy(&output.stderr).trim()))
}

/// Runs it with its output shown, and hands over each line of the standard output. What prints
/// nothing for too long is killed.
///
/// # Errors
/// A text that says what could not be started.
pub(crate) fn lines(command: &mut Command, mut each: impl FnMut(&str)) -> Result<bool, String> {
    show(command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().map_err(|error| cannot_start(command, &error))?;
    let pipe = child.stdout.take().expect("standard output was piped just above");
    let watchdog = Watchdog::watch(child.id(), SILENCE);
    // Bytes, not text: a test may print anything, and must not end the reading.
    for bytes in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
        let text = String::from_utf8_lossy(&bytes);
        println!("{text}");
        watchdog.alive();
        each(&text);
    }
    drop(watchdog);
    child.wait().map(|status| status.success()).map_err(|error| cannot_start(command, &error))
}

fn show(command: &Command) {
    println!("$ {}", line(command));
    // What the child prints must come after it; a closed output is no reason to stop.
    let _ = stdout().flush();
}

fn line(command: &Command) -> String {
    let program = command.get_program();
    // The name alone: the path of a toolchain says nothing and differs everywhere.
    let name = Path::new(program).file_name().unwrap_or(program);
    let mut words = vec![name.to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("cannot run `{}`: {error}", line(command))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> &'static Path {
        Path::new(".")
    }

    #[test]
    fn a_failing_program_is_an_error_with_its_message() {
        let error =
            output(program(here(), "sh").args(["-c", "echo no >&2; exit 3"])).expect_err("3");
        assert!(error.contains("no"), "{error}");
        assert!(output(&mut program(here(), "no-such-program")).is_err());
    }

    #[test]
    fn every_line_is_handed_over_even_when_it_is_not_text() {
        let mut seen = Vec::new();
        let script = r"printf 'one\n\377two\nthree'; exit 1";
        let ok = lines(program(here(), "sh").args(["-c", script]), |l| seen.push(l.to_owned()));
        assert_eq!(ok, Ok(false));
        assert_eq!(seen, ["one", "\u{fffd}two", "three"]);
    }
}
