//! What a result of a long tier is about: the code that it ran, whatever else a commit changes.

use serde_json::{Value, json};

use crate::{
    ci,
    process::{cargo, output, program},
    workspace::Workspace,
};

/// The code that a tier runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    tier: &'static str,
    /// The commit that it is taken from.
    pub(crate) commit: String,
    /// A hash over the sources of the packages and the versions of all they are built with.
    pub(crate) code: String,
}

impl Subject {
    /// The subject of a tier that runs these packages, and all that they are built from.
    ///
    /// # Errors
    /// A text when git or cargo cannot be run.
    pub(crate) fn of(
        workspace: &Workspace,
        tier: &'static str,
        packages: &[&str],
    ) -> Result<Self, String> {
        let mut tree = cargo(&workspace.root, &["tree", "--locked"]);
        tree.args(["--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
        for package in packages {
            tree.args(["--package", package]);
        }
        let built_with = built_with(&output(&mut tree)?);
        let mut listing = program(&workspace.root, "git");
        listing.args(["ls-tree", "-r", "HEAD", "--", "rust-toolchain.toml", ".cargo"]);
        for package in workspace.packages.iter().filter(|p| is_among(&built_with, &p.name)) {
            listing.args([format!("{}/src", package.name), format!("{}/Cargo.toml", package.name)]);
        }
        let text = format!("{}\n{}", built_with.join("\n"), output(&mut listing)?);
        let code = hash(workspace, &text)?;
        Ok(Self { tier, commit: ci::head(workspace)?, code })
    }

    /// The tier.
    pub(crate) fn tier(&self) -> &'static str {
        self.tier
    }

    #[cfg(test)]
    pub(crate) fn for_tests(tier: &'static str, commit: &str, code: &str) -> Self {
        Self { tier, commit: commit.into(), code: code.into() }
    }

    /// Whether a result is about the same code.
    pub(crate) fn is_of(&self, result: &Value) -> bool {
        result["code"] == self.code.as_str()
    }

    /// The fields that every result begins with.
    pub(crate) fn head(&self) -> Value {
        json!({ "tier": self.tier, "commit": self.commit, "code": self.code })
    }
}

/// The lines of `cargo tree` as a set, without the folders that packages lie in.
fn built_with(tree: &str) -> Vec<String> {
    let words = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<_> = tree.lines().map(words).filter(|line| !line.is_empty()).collect();
    lines.sort();
    lines.dedup();
    lines
}

fn is_among(built_with: &[String], name: &str) -> bool {
    built_with.iter().any(|line| line.split(' ').next() == Some(name))
}

fn hash(workspace: &Workspace, text: &str) -> Result<String, String> {
    let file = workspace.target.join("subject.txt");
    std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut git = program(&workspace.root, "git");
    Ok(output(git.args(["hash-object", "--no-filters"]).arg(&file))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_says_what_something_is_built_with_and_not_where() {
        let tree = "dtx-sim v0.1.0 (/some/where/dtx-sim)\nserde v1.0.0\nserde v1.0.0 (*)\n\n";
        let found = built_with(tree);
        assert_eq!(found, ["dtx-sim v0.1.0", "serde v1.0.0"]);
        assert!(is_among(&found, "serde") && !is_among(&found, "dtx"));
    }

    #[test]
    fn a_result_is_of_the_code_and_not_of_the_commit() {
        let subject = |commit: &str, code: &str| Subject::for_tests("sim", commit, code);
        let result = subject("a", "1").head();
        assert!(subject("b", "1").is_of(&result));
        assert!(!subject("a", "2").is_of(&result));
        assert!(!subject("a", "1").is_of(&json!({ "commit": "a" })), "an older file");
    }
}
