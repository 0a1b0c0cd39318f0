//! What the rules look at: the files of the repository and the packages of the workspace.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    process::{cargo, output, program, succeeds},
    source::{SourceFile, mark_test_modules},
};

/// The ends of the names of the files that are read as text.
const TEXT_FILES: [&str; 10] =
    [".rs", ".toml", ".md", ".sh", ".yml", ".yaml", ".lock", ".txt", ".ci/run", ".sql"];

/// The repository, with the packages that cargo knows.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Where cargo puts what it builds.
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// One package of the workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) features: Vec<String>,
    /// Targets as (kind, name): `("test", "kill")`.
    pub(crate) targets: Vec<(String, String)>,
    /// The examples that need no feature.
    pub(crate) examples: Vec<String>,
    /// The others, each with the features that it needs.
    pub(crate) featured_examples: Vec<(String, Vec<String>)>,
}

/// A dependency as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: DependencyKind,
}

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DependencyKind {
    Normal,
    Build,
    Dev,
}

/// All that the rules may read.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) packages: Vec<Package>,
    /// Rust files.
    pub(crate) sources: Vec<SourceFile>,
    /// All text files, Rust files too, as (path, text).
    pub(crate) texts: Vec<(String, String)>,
    /// The paths of all files.
    pub(crate) paths: Vec<String>,
    /// What dtx-core needs at run time, with all its features.
    pub(crate) core_tree: Vec<String>,
    /// What the facade needs to be built and to run, with its default features.
    pub(crate) facade_tree: Vec<String>,
}

impl Workspace {
    /// The workspace that this program was started in.
    ///
    /// # Errors
    /// A text when cargo cannot read the manifests.
    pub(crate) fn open() -> Result<Self, String> {
        let here = env::var("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let root = match here {
            Ok(crate_root) => crate_root.parent().map(Path::to_path_buf).unwrap_or(crate_root),
            Err(_) => env::current_dir().map_err(|error| error.to_string())?,
        };
        let arguments = ["metadata", "--no-deps", "--format-version=1"];
        let text = output(&mut cargo(&root, &arguments))?;
        let packages = parse_packages(&text)?;
        let target = target_of(&text).unwrap_or_else(|| root.join("target"));
        Ok(Self { root, target, packages })
    }

    /// Builds everything that is tested, with the features that the whole workspace needs. What
    /// was built for one package alone would be built once more.
    ///
    /// # Errors
    /// A text that says what could not be started.
    pub(crate) fn build_checked(&self) -> Result<bool, String> {
        let arguments = ["test", "--workspace", "--profile", "checked", "--no-run", "--quiet"];
        succeeds(&mut cargo(&self.root, &arguments))
    }

    /// A program that [`build_checked`](Self::build_checked) has made, such as `examples/approval`.
    pub(crate) fn checked(&self, name: &str) -> Command {
        let path = self.target.join("checked").join(name);
        program(&self.root, &path.display().to_string())
    }

    /// Whether there is such a package.
    pub(crate) fn has(&self, package: &str) -> bool {
        self.packages.iter().any(|found| found.name == package)
    }

    /// Whether a package has a target of this kind and name.
    pub(crate) fn has_target(&self, package: &str, kind: &str, name: &str) -> bool {
        let mut targets =
            self.packages.iter().filter(|p| p.name == package).flat_map(|p| &p.targets);
        targets.any(|(found_kind, found_name)| found_kind == kind && found_name == name)
    }

    /// Reads everything that the rules look at.
    ///
    /// # Errors
    /// A text when git or cargo cannot be run, or a file cannot be read.
    pub(crate) fn facts(&self) -> Result<Facts, String> {
        let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listed = output(program(&self.root, "git").args(list))?;
        let mut facts = Facts { packages: self.packages.clone(), ..Facts::default() };
        for path in listed.split('\0').filter(|path| !path.is_empty()) {
            self.read(path, &mut facts)?;
        }
        mark_test_modules(&mut facts.sources);
        if self.has("dtx-core") {
            facts.core_tree = self.tree(&["-p", "dtx-core", "--all-features", "-e", "normal"])?;
        }
        if self.has("dtx") {
            facts.facade_tree = self.tree(&["-p", "dtx", "-e", "normal,build"])?;
        }
        Ok(facts)
    }

    fn read(&self, path: &str, facts: &mut Facts) -> Result<(), String> {
        let full = self.root.join(path);
        // A file that was deleted and not yet committed is still listed.
        if !full.is_file() {
            return Ok(());
        }
        facts.paths.push(path.to_owned());
        if !TEXT_FILES.iter().any(|end| path.ends_with(end)) {
            return Ok(());
        }
        let text = fs::read_to_string(&full).map_err(|error| format!("{path}: {error}"))?;
        if path.ends_with(".rs") {
            facts.sources.push(SourceFile::new(path, &text));
        }
        facts.texts.push((path.to_owned(), text));
        Ok(())
    }

    fn tree(&self, selection: &[&str]) -> Result<Vec<String>, String> {
        let format = ["tree", "--locked", "--prefix", "none", "--format", "{p}"];
        output(cargo(&self.root, &format).args(selection)).map(|text| parse_tree(&text))
    }
}

fn parse_tree(text: &str) -> Vec<String> {
    let mut names: Vec<String> =
        text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    names
}

/// The folder for what is built, as `cargo metadata` says.
fn target_of(metadata: &str) -> Option<PathBuf> {
    let metadata: Value = serde_json::from_str(metadata).ok()?;
    metadata["target_directory"].as_str().map(PathBuf::from)
}

fn parse_packages(text: &str) -> Result<Vec<Package>, String> {
    let root: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let packages = root["packages"].as_array().ok_or("cargo metadata names no packages")?;
    Ok(packages.iter().map(parse_package).collect())
}

fn parse_package(value: &Value) -> Package {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let dependency = |value: &Value| Dependency {
        name: text(&value["name"]),
        kind: match value["kind"].as_str() {
            Some("dev") => DependencyKind::Dev,
            Some("build") => DependencyKind::Build,
            _ => DependencyKind::Normal,
        },
    };
    let features = value["features"].as_object();
    let examples = || {
        let targets = list(&value["targets"]).into_iter();
        targets.filter(|target| target["kind"][0] == "example").map(|target| {
            let needs = list(&target["required-features"]).iter().map(text).collect::<Vec<_>>();
            (text(&target["name"]), needs)
        })
    };
    Package {
        name: text(&value["name"]),
        dependencies: list(&value["dependencies"]).iter().map(dependency).collect(),
        features: features.map(|map| map.keys().cloned().collect()).unwrap_or_default(),
        targets: list(&value["targets"])
            .iter()
            .map(|target| (text(&target["kind"][0]), text(&target["name"])))
            .collect(),
        examples: examples().filter(|(_, needs)| needs.is_empty()).map(|(name, _)| name).collect(),
        featured_examples: examples().filter(|(_, needs)| !needs.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_cargo_metadata_is_understood() {
        let text = r#"{"packages": [{"name": "dtx", "features": {"default": [], "redb": []},
            "dependencies": [{"name": "serde", "kind": null}, {"name": "x", "kind": "dev"},
                {"name": "cc", "kind": "build"}],
            "targets": [{"kind": ["test"], "name": "kill"}, {"kind": ["example"], "name": "a"},
                {"kind": ["example"], "name": "b", "required-features": ["x"]}]}]}"#;
        let packages = parse_packages(text).expect("it is right");
        let kinds: Vec<_> = packages[0].dependencies.iter().map(|found| found.kind).collect();
        assert_eq!(kinds, [DependencyKind::Normal, DependencyKind::Dev, DependencyKind::Build]);
        assert_eq!(packages[0].features, ["default", "redb"]);
        assert_eq!(packages[0].examples, ["a"]);
        assert_eq!(packages[0].featured_examples, [("b".to_owned(), vec!["x".to_owned()])]);
        let workspace = Workspace { root: PathBuf::new(), target: PathBuf::new(), packages };
        assert!(workspace.has("dtx") && workspace.has_target("dtx", "test", "kill"));
        assert!(!workspace.has_target("dtx", "bin", "kill"));
    }

    #[test]
    fn metadata_without_packages_is_an_error() {
        assert!(parse_packages("{}").is_err());
        assert!(parse_packages("nonsense").is_err());
    }

    #[test]
    fn a_tree_becomes_a_set_of_names() {
        assert_eq!(parse_tree("b v1.0.0\na v0.1.0 (x)\n\nb v1.0.0 (*)\n"), ["a", "b"]);
    }
}
