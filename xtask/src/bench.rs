//! `cargo xtask bench`: speed as ratios to floors that are measured in the same run.

use crate::{
    process::{cargo, succeeds},
    steps::{Ending, Steps},
    workspace::Workspace,
};

/// One step that runs the benchmark `floors` of the crate `dtx`.
pub(crate) fn run(workspace: &Workspace, steps: &mut Steps, arguments: &[String]) {
    steps.run("bench", || {
        let mut command = cargo(&workspace.root, &["bench", "-p", "dtx", "--bench", "floors"]);
        command.arg("--").args(arguments);
        succeeds(&mut command).map_or_else(Ending::failed, Ending::of)
    });
}
