//! What a transport must offer, and what travels on it.

mod cloud_event;
mod contract;
mod envelope;
mod subject;
mod wire;

pub use cloud_event::{CONTENT_TYPE, CloudEventNames, add_cloud_event, content_type};
pub use contract::{
    AckToken, Delivery, Interest, Nack, PublishResult, Subscribe, Subscription, Transport,
    TransportCapabilities, TransportInfo, TransportLimits,
};
pub use envelope::{
    Address, Body, Command, DependencyOutput, Envelope, Headers, Inquiry, InquiryAnswer, Reply,
    TraceContext,
};
pub use subject::{ResponseSubject, Subject, SubjectError};
pub use wire::{WireError, WireHeaders, WireLimits, WireMessage};
