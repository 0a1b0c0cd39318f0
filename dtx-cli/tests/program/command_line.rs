//! Help, version, completions, and mistakes on the command line.

use crate::support::dtx;

#[test]
fn the_version_and_the_help_are_no_mistakes() {
    let version = dtx(&["--version"]);
    assert_eq!(
        (version.code, version.stdout.trim()),
        (0, concat!("dtx ", env!("CARGO_PKG_VERSION")))
    );
    for command in ["run", "demo", "submit", "tx", "heal", "participant", "sim", "completions"] {
        let help = dtx(&[command, "--help"]);
        assert_eq!(help.code, 0, "{help:?}");
        assert!(help.stdout.contains("Usage: dtx"), "{help:?}");
    }
    let help = dtx(&["--help"]).stdout;
    for code in 0..=4 {
        assert!(help.contains(&format!("\n  {code}  ")), "exit code {code} is not in: {help}");
    }
    assert!(help.contains("Examples:") && help.contains("NO_COLOR"), "{help}");
}

#[test]
fn the_page_about_the_program_names_every_exit_code() {
    let page = include_str!("../../../docs/cli.md");
    let help = dtx(&["--help"]).stdout;
    let codes = help.lines().skip_while(|line| !line.starts_with("Exit codes:")).skip(1);
    let mut count = 0;
    for line in codes.take_while(|line| !line.is_empty()) {
        let (code, meaning) = line.trim().split_once("  ").expect("a code and its meaning");
        let row = format!("| {code} | {meaning} |");
        assert!(page.contains(&row), "docs/cli.md has no row {row:?}");
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = dtx(&["completions", shell]);
        assert_eq!(script.code, 0, "{shell}");
        for command in ["demo", "submit", "sim"] {
            assert!(script.stdout.contains(command), "{shell}: {command}");
        }
    }
}

#[test]
fn a_mistake_on_the_command_line_is_code_2() {
    for arguments in [
        &["nonsense"][..],
        &["run", "--pattern", "4ps", "--orders", "x.csv"],
        &["sim"],
        &["sim", "--seeds", "0"],
        &["sim", "--seeds", "2", "--seed", "18446744073709551615"],
        &["sim", "--seeds", "2", "--history", "x.jsonl"],
        &["check-history"],
        &["tx", "list"],
        &["tx", "list", "--store", "memory"],
        &["heal", "--store", "memory"],
        &["heal", "--store", "redb:no-such-file.redb"],
        &["participant", "hold", "No Name", "--store", "redb:x.redb", "--reason", "x"],
        &["submit", "no-such-file.json"],
    ] {
        let ran = dtx(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {ran:?}");
    }
}
