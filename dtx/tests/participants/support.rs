//! Starts any participant for the suite.

use std::sync::Arc;

use dtx::{
    participant::{Host, HostSettings, Participant},
    store::ParticipantStore,
    transport::Transport,
};
use dtx_testkit::participant::Guard;

pub(crate) async fn host(
    participant: Participant,
    transport: Arc<dyn Transport>,
    store: Arc<dyn ParticipantStore>,
) -> Guard {
    let settings = HostSettings::default();
    let host = Host::start(participant, transport, Some(store), settings).await;
    Box::new(host.expect("the host starts"))
}
