//! What a folder remembers of a server that was started in it.

/// A server that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// What runs it.
    pub(super) held: Held,
    /// Its port on the loopback.
    pub(super) port: u16,
}

/// What runs a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Processes with these ids.
    Processes(Vec<u32>),
    /// The container with this id.
    Container(String),
}

/// What the id of a container begins with in a record.
const CONTAINER: &str = "container:";

impl Record {
    /// `ID,.. PORT`, or `container:ID PORT`, and the end of the line.
    pub(super) fn text(&self) -> String {
        let held = match &self.held {
            Held::Processes(ids) => ids.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
            Held::Container(id) => format!("{CONTAINER}{id}"),
        };
        format!("{held} {}\n", self.port)
    }

    /// Reads what [`text`](Self::text) wrote.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (held, port) = text.trim().split_once(' ')?;
        let held = match held.strip_prefix(CONTAINER) {
            Some(id) => Held::Container(id.to_owned()),
            None => {
                Held::Processes(held.split(',').map(str::parse).collect::<Result<_, _>>().ok()?)
            }
        };
        Some(Self { held, port: port.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        for held in [Held::Processes(vec![7, 8]), Held::Container("0a1b".to_owned())] {
            let record = Record { held, port: 5_432 };
            assert_eq!(Record::read(&record.text()), Some(record));
        }
        assert_eq!(Record::read("7,x 5432"), None);
        assert_eq!(Record::read("container:0a1b"), None);
        assert_eq!(Record::read(""), None);
    }
}
