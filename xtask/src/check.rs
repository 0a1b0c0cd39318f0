//! `cargo xtask check`: formats, lints and rules. Reads everything and changes nothing.

use crate::{
    crash_points, diagrams, failures, mutant_list,
    page::Mode,
    process::{cargo, output, succeeds},
    rules::{RULES, examine},
    steps::{Counts, Ending, Steps},
    workspace::{Facts, Workspace},
};

const CLIPPY: [&str; 8] = [
    "clippy",
    "--locked",
    "--workspace",
    "--all-targets",
    "--all-features",
    "--",
    "-D",
    "warnings",
];

/// Runs the checks; `rules_only` leaves out what needs a build.
///
/// # Errors
/// A text when the files or the dependencies cannot be read.
pub(crate) fn run(
    workspace: &Workspace,
    steps: &mut Steps,
    rules_only: bool,
) -> Result<(), String> {
    let facts = workspace.facts()?;
    steps.run("rules", || rules(&facts));
    crash_points::step(workspace, &facts, steps, Mode::Check);
    mutant_list::step(workspace, &facts, steps, Mode::Check);
    failures::step(workspace, steps, Mode::Check);
    if rules_only {
        return Ok(());
    }
    steps.run("rustfmt", || tool(workspace, "fmt", &["fmt", "--all", "--check"]));
    steps.run("clippy", || tool(workspace, "clippy", &CLIPPY));
    steps.run("rustdoc", || {
        let arguments = ["doc", "--locked", "--workspace", "--no-deps"];
        let mut command = cargo(&workspace.root, &arguments);
        succeeds(command.env("RUSTDOCFLAGS", "-D warnings")).map_or_else(Ending::failed, Ending::of)
    });
    diagrams::step(workspace, steps, Mode::Check);
    Ok(())
}

fn rules(facts: &Facts) -> Ending {
    let mut counts = Counts::default();
    for rule in RULES {
        let findings = examine(rule, facts);
        if findings.is_empty() {
            counts.passed += 1;
            println!("ok      {}", rule.name);
            continue;
        }
        counts.failed += 1;
        println!("FAILED  {}: {}", rule.name, rule.says);
        findings.iter().for_each(|finding| println!("          {finding}"));
    }
    Ending::Ran(counts)
}

/// Runs a tool that a toolchain may lack.
fn tool(workspace: &Workspace, name: &str, arguments: &[&str]) -> Ending {
    if output(&mut cargo(&workspace.root, &[name, "--version"])).is_err() {
        return Ending::skipped(format!(
            "THE TOOLCHAIN HAS NO `cargo {name}`; nothing was checked"
        ));
    }
    succeeds(&mut cargo(&workspace.root, arguments)).map_or_else(Ending::failed, Ending::of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceFile;

    #[test]
    fn a_broken_rule_fails_the_step() {
        let Ending::Ran(before) = rules(&Facts::default()) else { panic!("rules always run") };
        let sources = vec![SourceFile::new("a/src/a.rs", "a.unwrap();")];
        let Ending::Ran(after) = rules(&Facts { sources, ..Facts::default() }) else {
            panic!("rules always run")
        };
        assert_eq!((after.passed, after.failed), (before.passed - 1, before.failed + 1));
    }

    #[test]
    fn a_tool_that_is_not_there_is_skipped_and_said() {
        let workspace =
            Workspace { root: ".".into(), target: "target".into(), packages: Vec::new() };
        let ending = tool(&workspace, "no-such-tool", &["no-such-tool"]);
        assert!(matches!(ending, Ending::Skipped(reason) if reason.contains("no-such-tool")));
    }
}
