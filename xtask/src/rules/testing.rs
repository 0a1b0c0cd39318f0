//! Rules about tests, and about what only tests may do.

use crate::{rules::table::Finding, source::has_word, workspace::Facts};

pub(super) fn no_unwrap(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &facts.sources {
        for (number, line) in file.product_lines() {
            if line.contains(".unwrap()") || line.contains(".unwrap_err()") {
                let text = "handle the error, or state the invariant with `expect`";
                findings.push(Finding::new(&file.path, number, text));
            }
        }
    }
    findings
}

pub(super) fn no_ignored_tests(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &facts.sources {
        for (number, line) in file.lines() {
            if line.contains("#[ignore") || line.contains(", ignore") && line.contains("cfg_attr") {
                findings.push(Finding::new(&file.path, number, "an ignored test is no test"));
            }
        }
    }
    findings
}

pub(super) fn no_sleep_in_tests(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &facts.sources {
        for (number, line) in file.test_lines() {
            if has_word(line, "sleep") || has_word(line, "sleep_ms") {
                let text = "wait for the event itself, or use a clock that the test moves";
                findings.push(Finding::new(&file.path, number, text));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceFile;

    fn facts(path: &str, text: &str) -> Facts {
        Facts { sources: vec![SourceFile::new(path, text)], ..Facts::default() }
    }

    fn in_test(line: &str) -> String {
        format!("#[cfg(test)]\nmod tests {{\n    #[test]\n    fn t() {{ {line} }}\n}}\n")
    }

    #[test]
    fn an_unwrap_is_found_outside_tests_only() {
        let line = "let a = b.unwrap();";
        assert_eq!(no_unwrap(&facts("a/src/a.rs", line)).len(), 1);
        assert_eq!(no_unwrap(&facts("a/src/a.rs", &in_test(line))), []);
        assert_eq!(no_unwrap(&facts("a/tests/a.rs", line)), []);
        assert_eq!(no_unwrap(&facts("a/src/a.rs", "/// b.unwrap()\nb.unwrap_or(1);")), []);
    }

    #[test]
    fn an_ignored_test_is_found() {
        assert_eq!(
            no_ignored_tests(&facts("a/tests/a.rs", "#[test]\n#[ignore]\nfn a() {}")).len(),
            1
        );
        let with_reason = "#[ignore = \"slow\"]";
        assert_eq!(no_ignored_tests(&facts("a/tests/a.rs", with_reason)).len(), 1);
        let by_cfg = "#[cfg_attr(miri, ignore)]";
        assert_eq!(no_ignored_tests(&facts("a/tests/a.rs", by_cfg)).len(), 1);
        assert_eq!(no_ignored_tests(&facts("a/tests/a.rs", "// #[ignore]\nignore(a);")), []);
    }

    #[test]
    fn a_sleep_is_found_in_tests_only() {
        for line in ["std::thread::sleep(d);", "tokio::time::sleep(d).await;", "sleep(d);"] {
            assert_eq!(no_sleep_in_tests(&facts("a/src/a.rs", &in_test(line))).len(), 1, "{line}");
            assert_eq!(no_sleep_in_tests(&facts("a/src/a.rs", line)), [], "{line}");
        }
        assert_eq!(no_sleep_in_tests(&facts("a/tests/a.rs", "sleep_until(d); asleep();")), []);
    }
}
