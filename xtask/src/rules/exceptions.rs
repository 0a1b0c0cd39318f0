//! Where a rule does not hold, and why. The table is short on purpose.

use crate::{
    rules::table::{Finding, RULES},
    workspace::Facts,
};

/// One exception from one rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exception {
    rule: &'static str,
    /// The file or crate that the rule does not bind.
    place: &'static str,
    /// A part of the finding's text, to except one finding of a file; empty for all of them.
    text: &'static str,
    reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[];

/// The exception that covers a finding.
pub(super) fn find(rule: &str, finding: &Finding) -> Option<&'static Exception> {
    EXCEPTIONS.iter().find(|exception| covers(exception, rule, finding))
}

fn covers(exception: &Exception, rule: &str, finding: &Finding) -> bool {
    exception.rule == rule
        && exception.place == finding.place
        && finding.text.contains(exception.text)
}

/// Exceptions that nothing needs any more, and such as give no reason.
pub(super) fn exceptions_used(facts: &Facts) -> Vec<Finding> {
    unused(EXCEPTIONS, |rule| {
        let others = RULES.iter().filter(|other| other.name != "exceptions-used");
        let found = others.filter(|other| other.name == rule);
        found.flat_map(|other| (other.check)(facts)).collect()
    })
}

fn unused(exceptions: &[Exception], findings: impl Fn(&str) -> Vec<Finding>) -> Vec<Finding> {
    let report = |exception: &Exception, text: &str| {
        Finding::new(exception.place, 0, format!("exception from `{}` {text}", exception.rule))
    };
    let mut found = Vec::new();
    for exception in exceptions {
        if exception.reason.trim().is_empty() {
            found.push(report(exception, "gives no reason"));
        }
        let broken = findings(exception.rule);
        if !broken.iter().any(|finding| covers(exception, exception.rule, finding)) {
            found.push(report(exception, "is not needed any more"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLANTED: Exception =
        Exception { rule: "short-files", place: "a.rs", text: "", reason: "a table" };

    #[test]
    fn an_exception_covers_its_own_rule_and_place_only() {
        let finding = Finding::new("a.rs", 0, "700 lines");
        assert!(covers(&PLANTED, "short-files", &finding));
        assert!(!covers(&PLANTED, "short-functions", &finding));
        assert!(!covers(&PLANTED, "short-files", &Finding::new("b.rs", 0, "700 lines")));
        let narrow = Exception { text: "fn a ", ..PLANTED };
        assert!(!covers(&narrow, "short-files", &finding));
    }

    #[test]
    fn an_exception_without_use_or_reason_is_found() {
        let used = |_: &str| vec![Finding::new("a.rs", 0, "700 lines")];
        assert_eq!(unused(&[PLANTED], used), []);
        assert_eq!(unused(&[PLANTED], |_| Vec::new()).len(), 1);
        assert_eq!(unused(&[Exception { reason: " ", ..PLANTED }], used).len(), 1);
    }
}
