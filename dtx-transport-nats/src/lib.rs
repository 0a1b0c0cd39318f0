//! The transport of dtx over NATS JetStream.
//!
//! ```no_run
//! # async fn run() -> Result<(), dtx_core::error::TransportError> {
//! use dtx_transport_nats::{NatsSettings, NatsTransport};
//!
//! let settings = NatsSettings::new("nats://127.0.0.1:4222")?.prefix("shop")?;
//! let transport = NatsTransport::connect(settings).await?;
//! for reason in transport.durability_reasons() {
//!     eprintln!("{reason}");
//! }
//! # Ok(()) }
//! ```
//!
//! # Where messages are
//! One stream per pattern (`DTX_2PC` to `DTX_05PS`) with the subjects
//! `{pattern}.{participant}.{phase}`, one for replies (`DTX_REPLIES`, `response.{shard}`), one for
//! inquiries and their answers (`DTX_INQUIRIES`), one for what cannot be delivered (`DTX_DEAD`).
//! They are made when they are not there, and checked when they are. A group of subscriptions is
//! one durable pull consumer per stream, or per shard for replies. Messages stay for
//! [`NatsSettings::message_age_max`], acknowledged or not, so that every group gets every one.
//!
//! # What is awaited
//! `publish` sends a whole batch and then awaits the server's acknowledgements together. What
//! got none is sent again under the same `Nats-Msg-Id`, so that the server keeps one of it.
//! `ack`, `nack` and `extend` await the server too. A subscription asks for no more messages than
//! its `prefetch` has room for; each of its streams may have one more under way, which waits here.
//! A message that is on its way while its subscription is closed comes again after the `ack_wait`.
//!
//! # What an acknowledgement survives
//! The crash of the server's process. The loss of power only if the server syncs before it
//! acknowledges (`sync_interval: always`, from version 2.10 on), which no client can see:
//! [`NatsTransport::durability_reasons`] says what is known. Coordinators send again what is lost,
//! but for 0.5PS without confirmation.
#![forbid(unsafe_code)]

mod api;
mod error;
mod fetch;
mod held;
mod layout;
mod link;
mod message;
mod names;
mod parking;
mod publish;
mod pump;
mod settings;
mod subscription;
mod tls;
mod transport;
mod uri;

pub use settings::{
    ACK_WAIT_DEFAULT, BATCH_MESSAGES_MAX_DEFAULT, BODY_BYTES_MAX_DEFAULT, CONNECT_TIMEOUT_DEFAULT,
    DELIVERIES_MAX_DEFAULT, DISPATCH_AGE_MAX_DEFAULT, MESSAGE_AGE_MAX_DEFAULT, NatsSettings,
    PUBLISH_TIMEOUT_DEFAULT, REQUEST_TIMEOUT_DEFAULT, UNACKNOWLEDGED_MAX_DEFAULT,
};
pub use transport::NatsTransport;
