//! Pages that are generated, or have a part that is.

use std::{fs, path::Path};

/// What to do about a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Fail.
    Check,
    /// Write the page.
    Write,
}

impl Mode {
    /// As the option `--check` says.
    pub(crate) fn of(check: bool) -> Self {
        if check { Self::Check } else { Self::Write }
    }
}

/// The text of a page.
///
/// # Errors
/// A text when it cannot be read.
pub(crate) fn read(root: &Path, page: &str) -> Result<String, String> {
    fs::read_to_string(root.join(page)).map_err(|error| format!("{page}: {error}"))
}

/// Compares a page with what it should be, or writes it. `command` is what would write it.
///
/// # Errors
/// A text when it is out of date and may not be changed, or cannot be read or written.
pub(crate) fn settle(
    root: &Path,
    page: &str,
    wanted: &str,
    mode: Mode,
    command: &str,
) -> Result<(), String> {
    match mode {
        _ if read(root, page).is_ok_and(|text| text == wanted) => Ok(()),
        Mode::Check => Err(format!("{page} is out of date; run `cargo xtask {command}`")),
        Mode::Write => {
            fs::write(root.join(page), wanted).map_err(|error| format!("{page}: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_not_there_is_out_of_date() {
        let here = Path::new(".");
        let error = settle(here, "no-such-page.md", "x", Mode::Check, "x").expect_err("missing");
        assert!(error.contains("cargo xtask x"), "{error}");
        assert_eq!(Mode::of(true), Mode::Check);
        assert_eq!(Mode::of(false), Mode::Write);
    }
}
