//! `cargo xtask diagrams`: the state diagrams of `docs/patterns.md` come from the transition
//! tables of dtx-core, and are checked against them.

use crate::{
    page::{self, Mode},
    process::{cargo, output},
    steps::{Ending, Steps},
    workspace::Workspace,
};

const PAGE: &str = "docs/patterns.md";
const OPEN: &str = "<!-- generated: diagrams -->";
const CLOSE: &str = "<!-- end -->";

/// One step that compares or writes the page.
pub(crate) fn step(workspace: &Workspace, steps: &mut Steps, mode: Mode) {
    steps.run("diagrams", || {
        if !workspace.has_target("dtx-core", "example", "diagrams") {
            return Ending::skipped("DTX-CORE HAS NO EXAMPLE `diagrams`; nothing was compared");
        }
        run(workspace, mode).map_or_else(Ending::failed, |()| Ending::of(true))
    });
}

fn run(workspace: &Workspace, mode: Mode) -> Result<(), String> {
    let arguments = ["run", "--quiet", "--package", "dtx-core", "--example", "diagrams"];
    let diagrams = output(&mut cargo(&workspace.root, &arguments))?;
    let wanted = with_section(&page::read(&workspace.root, PAGE)?, &diagrams)?;
    page::settle(&workspace.root, PAGE, &wanted, mode, "diagrams")
}

/// The page with its generated section replaced.
fn with_section(page: &str, section: &str) -> Result<String, String> {
    let missing = || format!("{PAGE} has no section from `{OPEN}` to `{CLOSE}`");
    let (before, rest) = page.split_once(OPEN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(CLOSE).ok_or_else(missing)?;
    Ok(format!("{before}{OPEN}\n\n{}\n\n{CLOSE}{after}", section.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_generated_section_changes_and_a_second_run_changes_nothing() {
        let page = format!("# Title\n\n{OPEN}\nold\n{CLOSE}\n\nEnd.\n");
        let once = with_section(&page, "new\n").expect("it has a section");
        assert_eq!(once, format!("# Title\n\n{OPEN}\n\nnew\n\n{CLOSE}\n\nEnd.\n"));
        assert_eq!(with_section(&once, "new\n").expect("it has a section"), once);
        assert_ne!(with_section(&once, "newer\n").expect("it has a section"), once);
    }

    #[test]
    fn a_page_without_the_section_is_an_error() {
        assert!(with_section("no markers", "x").is_err());
        assert!(with_section(OPEN, "x").is_err());
    }
}
