//! The way of one region to the others: it can be cut, and it loses, doubles and delays.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use dtx_core::{
    error::TransportError,
    transport::{
        Address, Envelope, PublishResult, Subscribe, Subscription, Transport, TransportInfo,
    },
};
use dtx_geo::model::Rng;
use dtx_transport_inmem::InMemoryTransport;

/// What all ways share.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    pub(crate) transport: InMemoryTransport,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    rng: Rng,
    /// Of a thousand messages, how many are lost, doubled and late, each.
    faulty: u32,
    cuts: BTreeSet<(String, String)>,
    late: Vec<Envelope>,
}

impl Net {
    pub(crate) fn new(seed: u64, faulty: u32) -> Self {
        let (rng, cuts, late) = (Rng::new(seed, 77), BTreeSet::new(), Vec::new());
        let shared = Arc::new(Mutex::new(Shared { rng, faulty, cuts, late }));
        Self { transport: InMemoryTransport::new(), shared }
    }

    pub(crate) fn link(&self, from: &str) -> Arc<dyn Transport> {
        Arc::new(Link { net: self.clone(), from: from.to_owned() })
    }

    /// Cuts a region off from all others, both ways.
    pub(crate) fn isolate(&self, region: &str, others: &[&str]) {
        let mut shared = self.shared.lock().expect("nobody panics with it");
        for other in others.iter().filter(|other| **other != region) {
            shared.cuts.insert((region.to_owned(), (*other).to_owned()));
            shared.cuts.insert(((*other).to_owned(), region.to_owned()));
        }
    }

    pub(crate) fn heal(&self) {
        self.shared.lock().expect("nobody panics with it").cuts.clear();
    }

    pub(crate) fn calm(&self) {
        let mut shared = self.shared.lock().expect("nobody panics with it");
        shared.faulty = 0;
        shared.cuts.clear();
    }

    /// What arrives for what is sent.
    fn pass(&self, from: &str, messages: &[Envelope]) -> Vec<Envelope> {
        let mut shared = self.shared.lock().expect("nobody panics with it");
        let mut passed = Vec::new();
        for message in messages {
            let Address::Participant(to) = message.address() else { continue };
            let is_cut = |cut: &(String, String)| cut.0 == from && to.as_str().ends_with(&cut.1);
            if shared.cuts.iter().any(is_cut) {
                continue;
            }
            let faulty = shared.faulty;
            if shared.rng.chance(faulty) {
                continue;
            }
            if shared.rng.chance(faulty) {
                passed.push(message.clone());
            }
            if shared.rng.chance(faulty) {
                shared.late.push(message.clone());
                continue;
            }
            passed.push(message.clone());
        }
        if shared.late.len() > 5 || faulty_ended(&shared) {
            passed.append(&mut shared.late);
        }
        passed
    }
}

fn faulty_ended(shared: &Shared) -> bool {
    shared.faulty == 0
}

#[derive(Debug)]
struct Link {
    net: Net,
    from: String,
}

#[async_trait]
impl Transport for Link {
    fn info(&self) -> &TransportInfo {
        self.net.transport.info()
    }

    async fn publish(&self, messages: &[Envelope]) -> Vec<PublishResult> {
        let passed = self.net.pass(&self.from, messages);
        self.net.transport.publish(&passed).await;
        messages.iter().map(|_| Ok(())).collect()
    }

    async fn subscribe(
        &self,
        subscribe: &Subscribe,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        self.net.transport.subscribe(subscribe).await
    }

    async fn close(&self) -> Result<(), TransportError> {
        Ok(())
    }
}
