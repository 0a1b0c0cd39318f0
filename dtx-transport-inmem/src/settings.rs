//! The settings of an in-memory transport.

use std::time::Duration;

use dtx_core::{
    error::{ErrorKind, TransportError},
    transport::{TransportCapabilities, TransportInfo, TransportLimits},
};

use crate::transport::InMemoryTransport;

/// The product name in infos and errors.
pub(crate) const NAME: &str = "inmem";

/// The largest `prefetch` of one subscription.
pub(crate) const PREFETCH_MAX: usize = 1 << crate::unacked::SLOT_BITS;

/// Builds an [`InMemoryTransport`].
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) queue_messages_max: usize,
    pub(crate) pending_messages_max: usize,
    pub(crate) pending_addresses_max: usize,
    pub(crate) ack_wait: Duration,
    pub(crate) batch_messages_max: usize,
    pub(crate) body_bytes_max: usize,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            queue_messages_max: 16_384,
            pending_messages_max: 4_096,
            pending_addresses_max: 8_192,
            ack_wait: Duration::from_secs(30),
            batch_messages_max: 4_096,
            body_bytes_max: 1 << 20,
        }
    }
}

impl Builder {
    /// How many messages may wait in one group's queue of one address (16,384). At the bound
    /// `publish` waits. What is delivered and not yet acknowledged is bounded by `prefetch`
    /// instead, and may go beyond this bound when it comes back.
    #[must_use]
    pub fn queue_messages_max(mut self, messages: usize) -> Self {
        self.queue_messages_max = messages;
        self
    }

    /// How many messages are kept for an address without a subscription (4,096). Beyond it the
    /// oldest is dropped: nobody can say whether a subscriber ever comes, so `publish` must not
    /// wait for one.
    #[must_use]
    pub fn pending_messages_max(mut self, messages: usize) -> Self {
        self.pending_messages_max = messages;
        self
    }

    /// For how many addresses without a subscription messages are kept (8,192). Beyond it the
    /// one that has been without a subscription for longest is dropped.
    #[must_use]
    pub fn pending_addresses_max(mut self, addresses: usize) -> Self {
        self.pending_addresses_max = addresses;
        self
    }

    /// After how long a delivery comes again that is neither acknowledged nor extended (30
    /// seconds). A host extends what it is still working on.
    #[must_use]
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.ack_wait = wait;
        self
    }

    /// The most messages in one `publish` (4,096).
    #[must_use]
    pub fn batch_messages_max(mut self, messages: usize) -> Self {
        self.batch_messages_max = messages;
        self
    }

    /// The largest body, in bytes (1 MiB).
    #[must_use]
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// Builds the transport.
    ///
    /// # Errors
    /// `ErrorKind::Invalid` when a bound or the wait is zero; the message names it.
    pub fn build(self) -> Result<InMemoryTransport, TransportError> {
        let zero = [
            ("queue_messages_max", self.queue_messages_max == 0),
            ("pending_messages_max", self.pending_messages_max == 0),
            ("pending_addresses_max", self.pending_addresses_max == 0),
            ("ack_wait", self.ack_wait.is_zero()),
            ("batch_messages_max", self.batch_messages_max == 0),
            ("body_bytes_max", self.body_bytes_max == 0),
        ];
        match zero.iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => Err(TransportError::new(ErrorKind::Invalid, NAME, "build")
                .with_context(format!("{name} is zero; give at least 1"))),
            None => Ok(InMemoryTransport::with(self)),
        }
    }

    pub(crate) fn info(&self) -> TransportInfo {
        TransportInfo {
            name: NAME,
            capabilities: TransportCapabilities { durable: false, ordered_by_transaction: true },
            limits: TransportLimits {
                batch_messages_max: self.batch_messages_max,
                body_bytes_max: self.body_bytes_max,
                ack_wait: Some(self.ack_wait),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_of_zero_is_refused_by_name_and_one_is_enough() {
        let least = Builder::default()
            .queue_messages_max(1)
            .pending_messages_max(1)
            .pending_addresses_max(1)
            .ack_wait(Duration::from_nanos(1))
            .batch_messages_max(1)
            .body_bytes_max(1);
        assert!(least.clone().build().is_ok());
        let bad = [
            (least.clone().queue_messages_max(0), "queue_messages_max"),
            (least.clone().pending_messages_max(0), "pending_messages_max"),
            (least.clone().pending_addresses_max(0), "pending_addresses_max"),
            (least.clone().ack_wait(Duration::ZERO), "ack_wait"),
            (least.clone().batch_messages_max(0), "batch_messages_max"),
            (least.body_bytes_max(0), "body_bytes_max"),
        ];
        for (builder, name) in bad {
            let error = builder.build().expect_err(name);
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
