//! `cargo xtask prove cargo-mutants`: small changes to the sources of the patterns, the engine and
//! the resources, one at a time. The tests of dtx-core must notice each of them, or a reason says
//! why nobody can.
//!
//! It is done in shards, each a part of the changes to one file. What is known of a file stands
//! for as long as the file is as it was. What has survived without a reason is asked again by the
//! next run: a test may have been written since.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    ci,
    process::{cargo, output, program, succeeds},
    steps::Ending,
    workspace::Workspace,
};

/// The release of cargo-mutants that is installed where there is none.
const RELEASE: &str = "27.1.0";

/// Whose sources are changed.
const FOLDERS: [&str; 3] = ["dtx-core/src/pattern", "dtx-core/src/engine", "dtx-core/src/resource"];

/// The tests that are asked, as arguments of `cargo test`.
const TESTS: [&str; 3] = ["--lib", "--test", "it"];

/// How long the tests may take, in seconds; they take about one. What takes longer hangs, which
/// is noticed too.
const TEST_SECONDS: &str = "60";

/// About how many changes a shard has.
const SHARD: usize = 40;

/// The changes that survive, with the reason why no test can notice them.
const ACCEPTED: &str = "docs/proof/cargo-mutants-accepted.json";

/// How many commits back `cargo xtask ci` looks for what has changed, how many changes to that it
/// asks about, and how long that may take, in seconds.
const COMMITS: usize = 10;
const CHANGES: usize = 6;
const SECONDS: &str = "240";

/// Where the changes are made: in a copy of the last commit.
struct Bench {
    tool: String,
    tree: PathBuf,
    results: PathBuf,
}

/// What is known of the changes to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OfFile {
    file: String,
    /// The file as git knows it.
    blob: String,
    shards: usize,
    done: usize,
    caught: u64,
    timeout: u64,
    unviable: u64,
    survivors: Vec<String>,
}

impl OfFile {
    fn new(file: &str, blob: &str, changes: usize) -> Self {
        Self {
            file: file.to_owned(),
            blob: blob.to_owned(),
            shards: changes.div_ceil(SHARD),
            done: 0,
            caught: 0,
            timeout: 0,
            unviable: 0,
            survivors: Vec::new(),
        }
    }

    fn read(value: &Value) -> Option<Self> {
        let number = |name: &str| value[name].as_u64();
        let survivors = value["survivors"].as_array()?.iter();
        Some(Self {
            file: value["file"].as_str()?.to_owned(),
            blob: value["blob"].as_str()?.to_owned(),
            shards: number("shards")? as usize,
            done: number("shards_done")? as usize,
            caught: number("caught")?,
            timeout: number("timeout")?,
            unviable: number("unviable")?,
            survivors: survivors.filter_map(|name| Some(name.as_str()?.to_owned())).collect(),
        })
    }

    fn to_json(&self) -> Value {
        json!({ "file": self.file, "blob": self.blob, "shards": self.shards,
            "shards_done": self.done, "caught": self.caught, "timeout": self.timeout,
            "unviable": self.unviable, "survivors": self.survivors })
    }

    /// Takes in what cargo-mutants has written about the wanted changes.
    fn add(&mut self, outcomes: &Value, is_wanted: impl Fn(&str) -> bool) {
        for outcome in outcomes["outcomes"].as_array().into_iter().flatten() {
            let Some(name) = outcome["scenario"]["Mutant"]["name"].as_str() else { continue };
            if !is_wanted(name) {
                continue;
            }
            match outcome["summary"].as_str() {
                Some("CaughtMutant") => self.caught += 1,
                Some("Timeout") => self.timeout += 1,
                Some("MissedMutant") => self.survivors.push(name.to_owned()),
                _ => self.unviable += 1,
            }
        }
    }
}

impl Bench {
    /// # Errors
    /// A text when there is no cargo-mutants and none can be installed, or nothing can be copied.
    fn set_up(workspace: &Workspace) -> Result<Self, String> {
        let folder = workspace.target.join("cargo-mutants");
        let (tree, results) = (folder.join("tree"), folder.join("results"));
        let tool = tool(workspace).ok_or("CARGO-MUTANTS IS NOT HERE AND COULD NOT BE INSTALLED")?;
        for made in [&tree, &results] {
            fs::create_dir_all(made).map_err(|error| format!("{}: {error}", made.display()))?;
        }
        // Files are changed in a copy, so that nobody who looks at the tree sees that.
        let copy = "find \"$1\" -mindepth 1 -maxdepth 1 ! -name target -exec rm -rf {} + && \
                    git archive HEAD | tar -xm -C \"$1\"";
        let mut copying = program(&workspace.root, "sh");
        if !succeeds(copying.args(["-ec", copy, "copy"]).arg(&tree))? {
            return Err("the last commit could not be copied".into());
        }
        Ok(Self { tool, tree, results })
    }

    /// The changes to one file, or to all.
    fn mutants(&self, file: Option<&str>) -> Command {
        let mut command = program(&self.tree, &self.tool);
        command.args(["mutants", "--package", "dtx-core", "--no-config"]);
        match file {
            Some(file) => command.args(["--file", file]),
            None => command.args(FOLDERS.map(|folder| format!("--file={folder}/**"))),
        };
        command
    }

    /// How many changes there are to each file, in the order of the files.
    fn list(&self, arguments: &[&str]) -> Result<Vec<(String, usize)>, String> {
        count(&output(self.mutants(None).args(["--list", "--json"]).args(arguments))?)
    }

    /// Makes changes, one at a time, and gives what the tests said of each. `seconds`: no longer.
    fn ask(
        &self,
        file: Option<&str>,
        arguments: &[&str],
        seconds: Option<&str>,
    ) -> Result<Value, String> {
        let written = self.results.join("mutants.out").join("outcomes.json");
        // Not there the first time.
        let _ = fs::remove_file(&written);
        let asking = self.mutants(file);
        let mut command = match seconds {
            Some(seconds) => {
                let mut timed = program(&self.tree, "timeout");
                timed.args(["--signal=INT", "--kill-after=20", seconds]).arg(asking.get_program());
                timed.args(asking.get_args());
                timed
            }
            None => asking,
        };
        command.args(["--in-place", "--baseline", "skip", "--timeout", TEST_SECONDS]);
        command.args(["--no-times", "--colors", "never", "--output"]).arg(&self.results);
        command.args(arguments).arg("--").args(TESTS);
        // It ends with an error when something survives.
        succeeds(&mut command)?;
        let text = fs::read_to_string(&written)
            .map_err(|error| format!("cargo-mutants has written no result: {error}"))?;
        serde_json::from_str(&text).map_err(|error| format!("outcomes.json: {error}"))
    }

    /// The tests pass where nothing is changed.
    fn control(&self) -> Result<(), String> {
        let mut tests = cargo(&self.tree, &["test", "--locked", "--package", "dtx-core"]);
        match succeeds(tests.args(TESTS))? {
            true => Ok(()),
            false => Err("the tests fail although nothing is changed".into()),
        }
    }
}

/// The cargo-mutants on the path, or the one that an earlier run put under `target`, or a new one.
fn tool(workspace: &Workspace) -> Option<String> {
    let tools = workspace.root.join("target").join("tools");
    let own = tools.join("bin").join("cargo-mutants").display().to_string();
    for found in ["cargo-mutants", own.as_str()] {
        if output(program(&workspace.root, found).args(["mutants", "--version"])).is_ok() {
            return Some(found.to_owned());
        }
    }
    let mut install = cargo(&workspace.root, &["install", "cargo-mutants", "--locked"]);
    install.args(["--version", RELEASE, "--root"]).arg(&tools);
    succeeds(&mut install).unwrap_or(false).then_some(own)
}

/// How many changes a list of cargo-mutants has to each file, in the order of the files.
fn count(list: &str) -> Result<Vec<(String, usize)>, String> {
    // Where the lines of a difference hold nothing to change, it prints no list at all.
    if list.trim().is_empty() {
        return Ok(Vec::new());
    }
    let all: Value = serde_json::from_str(list).map_err(|error| format!("--list: {error}"))?;
    let mut files: Vec<(String, usize)> = Vec::new();
    for file in all.as_array().into_iter().flatten().filter_map(|one| one["file"].as_str()) {
        match files.iter_mut().find(|(known, _)| known == file) {
            Some((_, count)) => *count += 1,
            None => files.push((file.to_owned(), 1)),
        }
    }
    files.sort();
    Ok(files)
}

/// A change without the place in its file, which moves: the file and what is changed.
fn change(name: &str) -> (&str, &str) {
    let mut parts = name.splitn(4, ':');
    let file = parts.next().unwrap_or_default();
    (file, parts.nth(2).unwrap_or_default().trim())
}

/// The survivors that somebody has given a reason for.
#[derive(Clone, Debug, Default)]
struct Accepted(Vec<(String, String)>);

impl Accepted {
    fn read(root: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(root.join(ACCEPTED));
        let text = text.map_err(|error| format!("{ACCEPTED}: {error}"))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let all: Value = serde_json::from_str(text).map_err(|e| format!("{ACCEPTED}: {e}"))?;
        let one = |one: &Value| {
            let word = |name: &str| one[name].as_str().filter(|text| !text.trim().is_empty());
            let (file, change) = (word("file")?, word("change")?);
            word("reason").map(|_| (file.to_owned(), change.to_owned()))
        };
        let read: Option<Vec<_>> = all.as_array().into_iter().flatten().map(one).collect();
        let read = read.ok_or_else(|| format!("{ACCEPTED}: give file, change and reason"))?;
        Ok(Self(read))
    }

    fn has(&self, name: &str) -> bool {
        let (file, change) = change(name);
        self.0.iter().any(|(of, text)| of == file && text == change)
    }

    /// The reasons for what does not survive.
    fn stale(&self, known: &[OfFile]) -> Vec<String> {
        let survives = |(file, text): &&(String, String)| {
            let mut survivors = known.iter().flat_map(|of| &of.survivors);
            !survivors.any(|name| change(name) == (file.as_str(), text.as_str()))
        };
        self.0.iter().filter(survives).map(|(file, text)| format!("{file}: {text}")).collect()
    }
}

/// The tier. `known` is the part `files` of an earlier result; `keep` is given what is known so
/// far, and whether that is all.
///
/// # Errors
/// A text when something survives without a reason, or when it could not be run.
pub(crate) fn prove(
    workspace: &Workspace,
    known: &Value,
    mut keep: impl FnMut(&Value, bool) -> Result<(), String>,
) -> Result<(), String> {
    let accepted = Accepted::read(&workspace.root)?;
    let bench = Bench::set_up(workspace)?;
    bench.control()?;
    let read: Vec<OfFile> =
        known.as_array().into_iter().flatten().filter_map(OfFile::read).collect();
    let mut files = Vec::new();
    for (file, changes) in bench.list(&[])? {
        let path = format!("HEAD:{file}");
        let blob = output(program(&workspace.root, "git").args(["rev-parse", &path]))?;
        let new = OfFile::new(&file, blob.trim(), changes);
        let is_same =
            |of: &&OfFile| (&of.file, &of.blob, of.shards) == (&file, &new.blob, new.shards);
        files.push(read.iter().find(is_same).cloned().unwrap_or(new));
    }
    for index in 0..files.len() {
        ask_again(&bench, &accepted, &mut files[index])?;
        keep(&sums(&files), false)?;
    }
    for index in 0..files.len() {
        while files[index].done < files[index].shards {
            let of = &mut files[index];
            let shard = format!("{}/{}", of.done, of.shards);
            println!("{}: shard {shard}", of.file);
            let outcomes = bench.ask(Some(&of.file), &["--shard", &shard], None)?;
            of.add(&outcomes, |_| true);
            of.done += 1;
            keep(&sums(&files), false)?;
        }
    }
    keep(&sums(&files), true)?;
    judge(&accepted, &files, true)
}

/// Asks again about what has survived without a reason.
fn ask_again(bench: &Bench, accepted: &Accepted, of: &mut OfFile) -> Result<(), String> {
    let without: Vec<String> =
        of.survivors.iter().filter(|name| !accepted.has(name)).cloned().collect();
    if without.is_empty() {
        return Ok(());
    }
    println!("{}: {} survivors without a reason are asked again", of.file, without.len());
    let names: Vec<_> = without.iter().map(|name| escaped(name)).collect();
    let only = format!("^({})$", names.join("|"));
    let outcomes = bench.ask(Some(&of.file), &["--re", &only], None)?;
    of.survivors.retain(|name| accepted.has(name));
    // The expression lets changes to fields through that it does not match.
    of.add(&outcomes, |name| without.iter().any(|asked| asked == name));
    Ok(())
}

/// A text as an expression that matches it alone.
fn escaped(text: &str) -> String {
    let special = |c: char| !c.is_alphanumeric() && !matches!(c, ' ' | '_' | '/' | ':' | '"');
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

fn sums(files: &[OfFile]) -> Value {
    let sum = |of: fn(&OfFile) -> u64| files.iter().map(of).sum::<u64>();
    let missed = sum(|of| of.survivors.len() as u64);
    json!({ "caught": sum(|of| of.caught), "missed": missed, "timeout": sum(|of| of.timeout),
        "unviable": sum(|of| of.unviable), "shards": sum(|of| of.shards as u64),
        "shards_done": sum(|of| of.done as u64),
        "files": files.iter().map(OfFile::to_json).collect::<Vec<_>>() })
}

/// # Errors
/// A text when something survives without a reason, or a reason is given for what does not.
fn judge(accepted: &Accepted, files: &[OfFile], is_all: bool) -> Result<(), String> {
    let survivors = files.iter().flat_map(|of| &of.survivors);
    let without: Vec<_> = survivors.filter(|name| !accepted.has(name)).cloned().collect();
    if !without.is_empty() {
        return Err(format!("these survive without a reason:\n{}", without.join("\n")));
    }
    let stale = if is_all { accepted.stale(files) } else { Vec::new() };
    match stale.is_empty() {
        true => Ok(()),
        false => Err(format!("{ACCEPTED} has reasons for no survivor:\n{}", stale.join("\n"))),
    }
}

/// Some changes to what the last commits have changed. Which ones depends on the commit alone, so
/// a survivor is listed here and fails the tier: else a commit would fail by the luck of its name.
///
/// # Errors
/// A text when it could not be run, or when the tests fail without a change.
pub(crate) fn slice(workspace: &Workspace) -> Result<Ending, String> {
    let count = format!("--max-count={}", COMMITS + 1);
    let mut log = program(&workspace.root, "git");
    let log = output(log.args(["rev-list", "--first-parent", &count, "HEAD"]))?;
    let [head, .., base] = log.lines().collect::<Vec<_>>()[..] else {
        return Ok(Ending::skipped("THE HISTORY HAS ONE COMMIT; nothing was changed on purpose"));
    };
    let mut diff = program(&workspace.root, "git");
    let diff = output(diff.args(["diff", base, head, "--"]).args(FOLDERS))?;
    if diff.is_empty() {
        return Ok(Ending::skipped(
            "NOTHING IN THE PATTERNS, THE ENGINE AND THE RESOURCES HAS CHANGED LATELY; \
             nothing was changed on purpose",
        ));
    }
    let Ok(bench) = Bench::set_up(workspace) else {
        return Ok(Ending::skipped("CARGO-MUTANTS IS NOT HERE AND COULD NOT BE INSTALLED"));
    };
    let file = bench.results.join("changed.diff");
    fs::write(&file, diff).map_err(|error| format!("{}: {error}", file.display()))?;
    let file = file.display().to_string();
    let all: usize = bench.list(&["--in-diff", &file])?.iter().map(|(_, count)| count).sum();
    if all == 0 {
        return Ok(Ending::skipped("WHAT HAS CHANGED LATELY HOLDS NOTHING TO CHANGE ON PURPOSE"));
    }
    bench.control()?;
    let shards = all.div_ceil(CHANGES);
    let shard = format!("{}/{shards}", ci::number_of(head)? as usize % shards);
    println!("{all} changes to the lines of the last commits; shard {shard} of them");
    let mut found = OfFile::new("", "", all);
    let asked = bench.ask(None, &["--in-diff", &file, "--shard", &shard], Some(SECONDS))?;
    found.add(&asked, |_| true);
    let OfFile { caught, timeout, unviable, .. } = found;
    println!("{caught} noticed, {timeout} hang, {unviable} do not build");
    if let Err(survivors) = judge(&Accepted::read(&workspace.root)?, &[found], false) {
        println!("WARNING: {survivors}");
    }
    Ok(Ending::of(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "dtx-core/src/a.rs:12:9: replace A::b -> c::D with None in A::b";

    fn with_survivor() -> OfFile {
        OfFile { survivors: vec![NAME.into()], ..OfFile::new("dtx-core/src/a.rs", "1", 41) }
    }

    #[test]
    fn a_survivor_needs_a_reason_wherever_it_has_moved_to() {
        assert!(judge(&Accepted::default(), &[with_survivor()], true).is_err());
        let text = r#"[{ "file": "dtx-core/src/a.rs",
            "change": "replace A::b -> c::D with None in A::b", "reason": "it is never read" }]"#;
        let accepted = Accepted::parse(text).expect("a reason");
        assert_eq!(judge(&accepted, &[with_survivor()], true), Ok(()));
        let caught = OfFile::new("dtx-core/src/a.rs", "1", 41);
        assert!(judge(&accepted, std::slice::from_ref(&caught), true).is_err(), "a stale reason");
        assert_eq!(judge(&accepted, &[caught], false), Ok(()));
        assert!(Accepted::parse(&text.replace("it is never read", " ")).is_err());
    }

    #[test]
    fn outcomes_are_counted_and_come_back() {
        let outcome = |summary: &str| json!({ "scenario": { "Mutant": { "name": NAME } }, "summary": summary });
        let baseline = json!({ "scenario": "Baseline", "summary": "Success" });
        let all = ["CaughtMutant", "Timeout", "Unviable", "MissedMutant"].map(outcome);
        let mut of = OfFile::new("dtx-core/src/a.rs", "1", 41);
        assert_eq!(of.shards, 2);
        let outcomes = json!({ "outcomes": [baseline, all[0], all[1], all[2], all[3]] });
        of.add(&outcomes, |_| false);
        assert_eq!((of.caught, of.survivors.len()), (0, 0), "not wanted");
        of.add(&outcomes, |_| true);
        assert_eq!((of.caught, of.timeout, of.unviable), (1, 1, 1));
        assert_eq!(of.survivors, [NAME]);
        assert_eq!(OfFile::read(&of.to_json()), Some(of));
    }

    #[test]
    fn a_list_that_is_not_printed_is_one_without_changes() {
        assert_eq!(count(""), Ok(Vec::new()));
        let list = r#"[{ "file": "b.rs" }, { "file": "a.rs" }, { "file": "b.rs" }]"#;
        assert_eq!(count(list), Ok(vec![("a.rs".into(), 1), ("b.rs".into(), 2)]));
        assert!(count("error").is_err());
    }

    #[test]
    fn a_name_is_matched_as_it_is() {
        assert_eq!(escaped("a.rs:1:2: delete ! in f"), r"a\.rs:1:2: delete \! in f");
        assert_eq!(change(NAME).1, "replace A::b -> c::D with None in A::b");
    }
}
