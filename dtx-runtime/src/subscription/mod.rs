//! The life of subscriptions: who reads keeps one, and what nobody reads is closed (source text
//! 4.2).

mod managed;
mod registry;
mod settings;
#[cfg(test)]
mod tests;

pub use managed::ManagedTransport;
pub use settings::SubscriptionSettings;
