//! What happened in a run, for people: a Mermaid diagram.

use std::fmt;

use dtx_core::ids::TxId;

use crate::history::{Happening, Said, What};

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began { version, .. } => write!(f, "begins, version {version}"),
            Self::Ended { lines } => write!(f, "ends, {lines} lines"),
            Self::Submitted { .. } => f.write_str("submitted"),
            Self::Acknowledged => f.write_str("accepted"),
            Self::Command { operation, phase, attempt, epoch, .. } => {
                write!(f, "{operation} {phase} attempt {attempt} epoch {epoch}")
            }
            Self::Reply { operation, phase, answer, reason } => {
                write!(f, "{operation} {phase} {answer}")?;
                reason.as_ref().map_or(Ok(()), |reason| write!(f, ", {reason}"))
            }
            Self::Kept { operation, phase, answer, .. } => {
                write!(f, "keeps {operation} {phase} {answer}")
            }
            Self::Effect { operation, reversal } => {
                write!(f, "{operation} {}", if *reversal { "is reversed" } else { "takes effect" })
            }
            Self::Pool { pool, effects } => {
                write!(f, "{} has {}, {} effects", pool.scope, pool.level, effects.len())
            }
            Self::Landed { record, epoch, facts } => {
                write!(f, "{record:?} v{}", facts.version.0)?;
                if let Some(verdict) = facts.verdict {
                    write!(f, " {verdict:?}")?;
                }
                match epoch {
                    Some(epoch) => write!(f, " epoch {epoch}"),
                    None => f.write_str(" without a lease"),
                }
            }
            Self::Seen { facts } => write!(f, "seen v{}", facts.version.0),
            Self::NotLanded { record, .. } => write!(f, "{record:?} did not land"),
            Self::Told { outcome } => write!(f, "{outcome}"),
            Self::Leased { shard, epoch } => write!(f, "leases shard {shard} epoch {epoch}"),
            Self::Inquired { verdict: Some(verdict) } => write!(f, "inquiry, it is {verdict:?}"),
            Self::Inquired { verdict: None } => f.write_str("inquiry, ask again later"),
            Self::Fault { fault } => f.write_str(fault),
            Self::Moved => f.write_str("an operator decides"),
            Self::Healed => f.write_str("heal"),
            Self::FinalRecord { facts } => write!(f, "at the end {:?}", facts.status),
            Self::FinalPool { pool } => write!(f, "{} has {} at the end", pool.scope, pool.level),
            Self::FinalEffect { operation, change, .. } => {
                write!(f, "{operation} changed by {change} at the end")
            }
            Self::Note { text } => f.write_str(text),
            Self::Violated { text } => write!(f, "VIOLATED {text}"),
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::ReadOnly => "done, read only",
            Self::Reversed => "done, reversed",
            Self::Rejected => "rejected",
            Self::RefusedUndone => "refused, undone",
            Self::RefusedExecuted => "refused, executed",
            Self::RefusedExpired => "refused, expired",
            Self::Unknown => "unknown",
        })
    }
}

/// A run as a Mermaid sequence diagram.
pub(crate) fn mermaid(journal: &[Happening]) -> String {
    use fmt::Write;
    let mut text = String::from("sequenceDiagram\n");
    for Happening { at_us, node: from, peer, tx, what, .. } in journal {
        let to = peer.as_ref().unwrap_or(from);
        let tx = tx.map_or_else(String::new, |tx| format!("{} ", short(tx)));
        // A colon, a semicolon or a number sign would end the text of a Mermaid message.
        let what = what.to_string().replace([':', ';', '#'], " ");
        let millis = at_us / 1_000;
        let written = if from == to {
            writeln!(text, "    Note over {from}: {millis} ms {tx}{what}")
        } else {
            writeln!(text, "    {from}->>{to}: {millis} ms {tx}{what}")
        };
        written.expect("writing to a string never fails");
    }
    text
}

/// The last digits of a transaction's id, for people.
fn short(tx: TxId) -> String {
    let text = tx.to_string();
    text[text.len() - 6..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagram_has_a_line_for_each_happening_and_no_text_breaks_it() {
        let happening = |at_us, from: &str, to: &str, text: &str| {
            let what = What::Note { text: text.to_owned() };
            Happening::new(at_us, from, 0, None, what).to(to)
        };
        let journal = [
            happening(1_500, "c0", "bank", "execute: a;b"),
            happening(2_000, "store", "store", "landed"),
        ];
        let expected = "sequenceDiagram\n    c0->>bank: 1 ms execute  a b\n    \
                        Note over store: 2 ms landed\n";
        assert_eq!(mermaid(&journal), expected);
    }
}
