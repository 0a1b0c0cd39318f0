//! What there is: the one table of stores, transports and patterns.

/// A store that orders run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Store {
    pub(crate) name: &'static str,
    /// The service that it needs.
    pub(crate) service: Option<&'static str>,
    /// What it has written is there after a kill.
    pub(crate) durable: bool,
}

/// A transport that orders run over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transport {
    pub(crate) name: &'static str,
    /// The service that it needs, which is also what carries messages between processes.
    pub(crate) service: Option<&'static str>,
}

pub(crate) const STORES: [Store; 4] = [
    Store { name: "memory", service: None, durable: false },
    Store { name: "redb", service: None, durable: true },
    Store { name: "postgres", service: Some("postgres"), durable: true },
    Store { name: "redis", service: Some("redis"), durable: true },
];

pub(crate) const TRANSPORTS: [Transport; 3] = [
    Transport { name: "inmem", service: None },
    Transport { name: "kafka", service: Some("kafka") },
    Transport { name: "nats", service: Some("nats") },
];

pub(crate) const PATTERNS: [&str; 6] = ["0.5ps", "saga", "1.5ps", "2ps", "3ps", "2pc"];

/// What `cargo xtask ci` runs: every store, transport and pattern at least once, and every store
/// and transport together at least once where there is a broker.
pub(crate) const SLICE: [(&str, &str, &str); 10] = [
    ("memory", "kafka", "2ps"),
    ("memory", "nats", "3ps"),
    ("redb", "inmem", "saga"),
    ("redb", "kafka", "3ps"),
    ("redb", "nats", "2pc"),
    ("postgres", "inmem", "2pc"),
    ("postgres", "kafka", "1.5ps"),
    ("postgres", "nats", "2ps"),
    ("redis", "kafka", "saga"),
    ("redis", "nats", "0.5ps"),
];

/// The cell of which `cargo xtask ci` kills the broker, too.
const SLICE_BROKER: (&str, &str, &str) = ("postgres", "nats", "2ps");

/// One store, one transport and one pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) store: Store,
    pub(crate) transport: Transport,
    pub(crate) pattern: &'static str,
}

impl Cell {
    /// All cells.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        STORES.into_iter().flat_map(|store| {
            TRANSPORTS.into_iter().flat_map(move |transport| {
                PATTERNS.into_iter().map(move |pattern| Self { store, transport, pattern })
            })
        })
    }

    /// Whether `cargo xtask ci` runs it.
    pub(crate) fn is_in_slice(&self) -> bool {
        SLICE.contains(&(self.store.name, self.transport.name, self.pattern))
    }

    /// Whether its broker is killed: where there is one, and in the slice in one cell.
    pub(crate) fn has_broker_killed(&self, is_slice: bool) -> bool {
        let names = (self.store.name, self.transport.name, self.pattern);
        self.transport.service.is_some() && (!is_slice || names == SLICE_BROKER)
    }

    /// The services that it needs.
    pub(crate) fn services(&self) -> impl Iterator<Item = &'static str> {
        self.store.service.into_iter().chain(self.transport.service)
    }

    /// Whether its services are in processes of their own: both store and transport are seen by
    /// more than one.
    pub(crate) fn is_apart(&self) -> bool {
        self.store.service.is_some() && self.transport.service.is_some()
    }

    pub(crate) fn name(&self) -> String {
        format!("{} over {}, {}", self.store.name, self.transport.name, self.pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_cells_as_combinations_and_the_slice_touches_everything() {
        assert_eq!(Cell::all().count(), STORES.len() * TRANSPORTS.len() * PATTERNS.len());
        let slice: Vec<_> = Cell::all().filter(Cell::is_in_slice).collect();
        assert_eq!(slice.len(), SLICE.len());
        let has = |test: &dyn Fn(&Cell) -> bool| slice.iter().any(test);
        for store in STORES {
            assert!(has(&|cell| cell.store == store), "{}", store.name);
            for transport in TRANSPORTS.iter().filter(|transport| transport.service.is_some()) {
                assert!(has(&|cell| cell.store == store && cell.transport == *transport));
            }
        }
        for transport in TRANSPORTS {
            assert!(has(&|cell| cell.transport == transport), "{}", transport.name);
        }
        for pattern in PATTERNS {
            assert!(has(&|cell| cell.pattern == pattern), "{pattern}");
        }
        assert_eq!(slice.iter().filter(|cell| cell.has_broker_killed(true)).count(), 1);
        assert_eq!(Cell::all().filter(|cell| cell.has_broker_killed(false)).count(), 48);
    }
}
