//! The floor: the library alone, without dtx. It carries the messages that dtx has written, over
//! topics with as many partitions, by the settings that dtx gives its clients.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use dtx_transport_kafka::{PARTITIONS_DEFAULT, REPLY_PARTITIONS_DEFAULT};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::OwnedHeaders,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};

use crate::{IN_FLIGHT, PARTICIPANTS};

/// Prepare and execute.
const PHASES: usize = 2;
/// How long a broker may take to answer.
const WAIT: Duration = Duration::from_secs(10);
/// How long one look for a message takes.
const LOOK: Duration = Duration::from_millis(100);

type Sends = ThreadedProducer<DefaultProducerContext>;

/// A message as dtx has written it.
#[derive(Clone)]
pub(crate) struct Sample {
    headers: OwnedHeaders,
    body: Vec<u8>,
}

/// The topics and settings of the floor.
pub(crate) struct Bare {
    brokers: String,
    prefix: String,
    command: Sample,
    reply: Sample,
}

fn number(key: Option<&[u8]>) -> u64 {
    let text = std::str::from_utf8(key.expect("a key")).expect("it is text");
    text.parse().expect("a number")
}

fn send(producer: &Sends, topic: &str, partition: Option<i32>, number: u64, sample: &Sample) {
    // As long as the text of a transaction's id.
    let key = format!("{number:036}");
    let mut record = BaseRecord::<str, [u8]>::to(topic).key(&key).payload(&sample.body);
    record = record.headers(sample.headers.clone());
    record.partition = partition;
    assert!(producer.send(record).is_ok(), "there is room");
}

fn reply_partition(number: u64) -> i32 {
    (number % u64::from(REPLY_PARTITIONS_DEFAULT)) as i32
}

impl Bare {
    /// Takes the samples from the topics of dtx, and makes topics of its own.
    pub(crate) async fn new(brokers: &str, prefix: &str) -> Self {
        let of = (brokers.to_owned(), prefix.to_owned());
        let samples = tokio::task::spawn_blocking(move || {
            let topics = [format!("{}.2ps.{}", of.1, PARTICIPANTS[0]), format!("{}.replies", of.1)];
            topics.map(|topic| sample(&of.0, &topic))
        });
        let [command, reply] = samples.await.expect("no panic");
        let config = config(brokers);
        let admin: AdminClient<DefaultClientContext> = config.create().expect("a client");
        let bare = Self { brokers: brokers.into(), prefix: prefix.into(), command, reply };
        let names = PARTICIPANTS.map(|name| bare.topic(name));
        let replies = bare.topic("replies");
        let new = |name, partitions: u16| {
            NewTopic::new(name, i32::from(partitions), TopicReplication::Fixed(1))
        };
        let mut topics: Vec<_> = names.iter().map(|name| new(name, PARTITIONS_DEFAULT)).collect();
        topics.push(new(&replies, REPLY_PARTITIONS_DEFAULT));
        for made in admin.create_topics(&topics, &AdminOptions::new()).await.expect("answered") {
            made.expect("it is made");
        }
        bare
    }

    fn topic(&self, name: &str) -> String {
        format!("{}.bare.{name}", self.prefix)
    }

    fn producer(&self) -> Sends {
        let mut config = config(&self.brokers);
        config.set("acks", "all").set("enable.idempotence", "true").set("linger.ms", "1");
        config.create().expect("a producer")
    }

    /// A consumer at the end of a topic, which commits what it has handled as often as dtx does.
    fn consumer(&self, topic: &str, partitions: u16) -> BaseConsumer {
        let mut config = config(&self.brokers);
        config
            .set("group.id", format!("{topic}.bare"))
            .set("auto.commit.interval.ms", "200")
            .set("fetch.wait.max.ms", "100");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        consumer.assign(&ends(&consumer, topic, partitions)).expect("assigned");
        consumer
    }

    /// Transactions in a second of the bare client: commands to three services, each of which
    /// answers every command, and the second commands of a transaction once all have answered.
    pub(crate) fn round_trips(&self, count: u64, in_flight: usize) -> f64 {
        let producer = Arc::new(self.producer());
        let replies = self.consumer(&self.topic("replies"), REPLY_PARTITIONS_DEFAULT);
        let ends = Arc::new(AtomicBool::new(false));
        let services: Vec<_> =
            PARTICIPANTS.iter().map(|name| self.serve(name, &producer, &ends)).collect();
        let topics = PARTICIPANTS.map(|name| self.topic(name));
        let ask = |number| {
            topics.iter().for_each(|topic| send(&producer, topic, None, number, &self.command));
        };
        // The first ones find all connections and are not counted.
        let warm = in_flight as u64;
        let (mut begun, mut done) = (0, 0);
        let mut left = HashMap::new();
        let mut began = Instant::now();
        while done < warm + count {
            while begun < warm + count && left.len() < in_flight {
                left.insert(begun, PHASES * PARTICIPANTS.len());
                ask(begun);
                begun += 1;
            }
            let Some(message) = replies.poll(LOOK) else { continue };
            let number = number(message.expect("a message").key());
            let open = left.get_mut(&number).expect("it is open");
            *open -= 1;
            match *open {
                0 => {
                    left.remove(&number);
                    done += 1;
                    if done == warm {
                        began = Instant::now();
                    }
                }
                open if open % PARTICIPANTS.len() == 0 => ask(number),
                _ => {}
            }
        }
        let took = began.elapsed().as_secs_f64();
        ends.store(true, Ordering::SeqCst);
        services.into_iter().for_each(|service| service.join().expect("no panic"));
        count as f64 / took
    }

    fn serve(&self, name: &str, producer: &Arc<Sends>, ends: &Arc<AtomicBool>) -> JoinHandle<()> {
        let consumer = self.consumer(&self.topic(name), PARTITIONS_DEFAULT);
        let (producer, ends) = (Arc::clone(producer), Arc::clone(ends));
        let (topic, reply) = (self.topic("replies"), self.reply.clone());
        thread::spawn(move || {
            while !ends.load(Ordering::SeqCst) {
                let Some(message) = consumer.poll(LOOK) else { continue };
                let number = number(message.expect("a message").key());
                send(&producer, &topic, Some(reply_partition(number)), number, &reply);
            }
        })
    }

    /// Messages in a second that go one way, none of which waits for another: half of them
    /// commands and half replies.
    pub(crate) fn one_way(&self, count: u64) -> f64 {
        let topics = PARTICIPANTS.map(|name| self.topic(name));
        let producer = self.producer();
        let came = Arc::new(AtomicUsize::new(0));
        let of = topics.iter().map(|topic| (topic.clone(), PARTITIONS_DEFAULT));
        let of = of.chain([(self.topic("replies"), REPLY_PARTITIONS_DEFAULT)]);
        let consumers: Vec<_> = of.map(|(topic, parts)| self.consumer(&topic, parts)).collect();
        let began = Instant::now();
        let reads = consumers.into_iter().map(|consumer| {
            let came = Arc::clone(&came);
            thread::spawn(move || {
                while came.load(Ordering::Relaxed) < count as usize {
                    if let Some(message) = consumer.poll(Duration::from_millis(10)) {
                        message.expect("a message");
                        came.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        });
        let reads: Vec<_> = reads.collect();
        for number in 0..count {
            while producer.in_flight_count() > (PARTICIPANTS.len() * IN_FLIGHT) as i32 {
                thread::yield_now();
            }
            let tx = number / 2;
            match number % 2 {
                0 => send(&producer, &topics[(tx % 3) as usize], None, tx, &self.command),
                _ => {
                    let partition = Some(reply_partition(tx));
                    send(&producer, &self.topic("replies"), partition, tx, &self.reply);
                }
            }
        }
        producer.flush(Duration::from_secs(60)).expect("it is written");
        reads.into_iter().for_each(|read| read.join().expect("no panic"));
        count as f64 / began.elapsed().as_secs_f64()
    }
}

fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("socket.nagle.disable", "true");
    config
}

fn ends(consumer: &BaseConsumer, topic: &str, partitions: u16) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in 0..i32::from(partitions) {
        let (_, end) = consumer.fetch_watermarks(topic, partition, WAIT).expect("the end");
        list.add_partition_offset(topic, partition, Offset::Offset(end)).expect("an offset");
    }
    list
}

/// The first message of a topic.
fn sample(brokers: &str, topic: &str) -> Sample {
    let mut config = config(brokers);
    config.set("group.id", format!("{topic}.sample")).set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), WAIT).expect("metadata");
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        let begin = Offset::Beginning;
        list.add_partition_offset(topic, partition.id(), begin).expect("an offset");
    }
    consumer.assign(&list).expect("assigned");
    let until = Instant::now() + WAIT;
    while Instant::now() < until {
        if let Some(message) = consumer.poll(LOOK) {
            let message = message.expect("a message").detach();
            let headers = message.headers().expect("headers").clone();
            return Sample { headers, body: message.payload().unwrap_or_default().to_vec() };
        }
    }
    panic!("{topic} is empty");
}
