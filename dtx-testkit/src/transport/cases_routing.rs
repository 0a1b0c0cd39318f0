//! Who gets what.

use dtx_core::{
    ids::{HolderId, ShardId},
    transport::Interest,
};

use super::{TransportHarness, messages::*};

pub(super) async fn a_group_shares(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut first = subscribe(&transport, to(PAYMENT)).await;
    let mut second = subscribe(&transport, to(PAYMENT)).await;
    let mut came = Vec::new();
    for batch in 0..5 {
        publish(&transport, &commands(PAYMENT, batch * 8..(batch + 1) * 8)).await;
        came.extend(drain(&mut *first, 0).await);
        came.extend(drain(&mut *second, 0).await);
    }
    assert_each_once(&came, 0..40);
}

pub(super) async fn groups_each_get_all(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut workers = subscribe_as(&transport, to(PAYMENT), "workers", 100).await;
    let mut auditors = subscribe_as(&transport, to(PAYMENT), "auditors", 100).await;
    publish(&transport, &commands(PAYMENT, 0..20)).await;
    assert_each_once(&drain(&mut *workers, 20).await, 0..20);
    assert_each_once(&drain(&mut *auditors, 20).await, 0..20);
}

pub(super) async fn routes_by_participant(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut payment = subscribe(&transport, to(PAYMENT)).await;
    let mut inventory = subscribe(&transport, to(INVENTORY)).await;
    let mut messages = commands(PAYMENT, 0..5);
    messages.extend(commands(INVENTORY, 5..10));
    messages.extend([reply(5, 20), inquiry(21), inquiry_answer(77, 22)]);
    messages.extend(commands(PAYMENT, 10..12));
    publish(&transport, &messages).await;
    assert_each_once(&drain(&mut *payment, 7).await, (0..5).chain(10..12));
    assert_each_once(&drain(&mut *inventory, 5).await, 5..10);
}

pub(super) async fn routes_replies_by_shard(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut one = subscribe(&transport, Interest::Replies(vec![ShardId(1)])).await;
    let mut two = subscribe(&transport, Interest::Replies(vec![ShardId(2)])).await;
    let messages: Vec<_> = (0..10).map(|number| reply(1 + (number % 2) as u16, number)).collect();
    publish(&transport, &messages).await;
    assert_each_once(&drain(&mut *one, 5).await, [0, 2, 4, 6, 8]);
    assert_each_once(&drain(&mut *two, 5).await, [1, 3, 5, 7, 9]);
}

pub(super) async fn a_subscription_gets_all_its_shards(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let shards = |shards: &[u16]| Interest::Replies(shards.iter().copied().map(ShardId).collect());
    // A shard that is named twice still brings each reply once.
    let mut many = subscribe(&transport, shards(&[3, 0, 9, 3, 63])).await;
    let mut other = subscribe(&transport, shards(&[4])).await;
    let sent = [0, 3, 4, 9, 63, 3];
    let messages: Vec<_> = (0..).zip(sent).map(|(number, shard)| reply(shard, number)).collect();
    publish(&transport, &messages).await;
    assert_each_once(&drain(&mut *many, 5).await, [0, 1, 3, 4, 5]);
    assert_each_once(&drain(&mut *other, 1).await, [2]);
}

pub(super) async fn routes_inquiries(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let mut coordinator = subscribe(&transport, Interest::Inquiries).await;
    let mut other = subscribe(&transport, Interest::Inquiries).await;
    publish(&transport, &[command(PAYMENT, 9), inquiry(0), inquiry_answer(77, 8), inquiry(1)])
        .await;
    let mut came = drain(&mut *coordinator, 0).await;
    came.extend(drain(&mut *other, 0).await);
    came.extend(drain(&mut *coordinator, 0).await);
    assert_each_once(&came, 0..2);
}

pub(super) async fn routes_inquiry_answers_by_host(harness: &dyn TransportHarness) {
    let transport = harness.open().await;
    let host = |host| Interest::InquiryAnswers(HolderId(host));
    let mut one = subscribe(&transport, host(1)).await;
    let mut large = subscribe(&transport, host(u128::MAX)).await;
    let messages =
        [inquiry_answer(1, 0), inquiry_answer(u128::MAX, 1), inquiry(7), inquiry_answer(1, 2)];
    publish(&transport, &messages).await;
    assert_each_once(&drain(&mut *one, 2).await, [0, 2]);
    assert_each_once(&drain(&mut *large, 1).await, [1]);
}
