//! Running the program.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The one object on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs the program to its end.
pub(crate) fn dtx<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Ran {
    let mut program = Command::new(env!("CARGO_BIN_EXE_dtx"));
    let Output { status, stdout, stderr } =
        program.args(arguments).env_remove("RUST_LOG").output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
    let code = status.code().expect("the program ends by itself");
    Ran { code, stdout: text(stdout), stderr: text(stderr) }
}

/// The folder of the example transactions.
pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/transactions")
}

/// The path of one example.
pub(crate) fn example(name: &str) -> String {
    examples().join(format!("{name}.json")).display().to_string()
}
