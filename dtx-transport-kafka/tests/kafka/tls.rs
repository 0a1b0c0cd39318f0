//! TLS and users: the right authority, the right host and the right password, and nothing else.

use std::{fs, path::PathBuf, time::Duration};

use dtx_core::error::{Effect, ErrorKind};
use dtx_testkit::servers::{KafkaTls, Server};
use dtx_transport_kafka::{KafkaSettings, SaslMechanism};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::support::{command, connect, participant, prefix, publish, receive, subscribe};

/// An authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate that is named as its authority for one that signs itself.
        params.distinguished_name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("it signs").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// The key, the certificate of one host, and that of the authority.
    fn certify(&self, host: &str) -> String {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("valid");
        params.distinguished_name.push(DnType::CommonName, host);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs");
        format!("{}{}{}", key.serialize_pem(), certificate.pem(), self.pem)
    }
}

fn server(authority: &Authority) -> Server {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kafka-tls");
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("it is of an earlier run");
    }
    fs::create_dir_all(&folder).expect("a folder");
    let keys = authority.certify("localhost");
    fs::write(folder.join("server.pem"), keys).expect("it is written");
    Server::start(&KafkaTls, &folder).expect("it starts")
}

fn settings(brokers: &str, authority: &Authority, password: &str) -> KafkaSettings {
    KafkaSettings::new(brokers)
        .expect("brokers")
        .topic_prefix(prefix())
        .partitions(2)
        .connect_timeout(Duration::from_secs(5))
        .root_certificate(authority.pem.clone())
        .user(SaslMechanism::Plain, "dtx", password)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_authority_host_and_password_get_in() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let server = server(&right);
    let url = server.url();
    let transport = connect(settings(&url, &right, "hunter2")).await;
    let mut payment = subscribe(&transport).await;
    publish(&transport, &[command(1)]).await;
    assert_eq!(receive(&mut *payment, 1).await.len(), 1, "for {}", participant());

    let by_address = url.replace("localhost", "127.0.0.1");
    let system = KafkaSettings::new(&format!("kafkas://dtx:hunter2@{url}?sasl=PLAIN"));
    let system = system.expect("a URI").connect_timeout(Duration::from_secs(5));
    let refused = [
        ("root_certificate", settings(&url, &wrong, "hunter2")),
        ("root_certificate", system),
        ("brokers", settings(&by_address, &right, "hunter2")),
        ("user", settings(&url, &right, "hunter3")),
    ];
    for (names, settings) in refused {
        let error = settings.connect().await.expect_err(names);
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None), "{error:?}");
        assert!(error.to_string().contains(names), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
    }
    // Without TLS it is a broker that does not answer.
    let plain = KafkaSettings::new(&url).expect("brokers");
    let plain = plain.connect_timeout(Duration::from_millis(500));
    let error = plain.connect().await.expect_err("it speaks only TLS");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().contains("brokers"), "{error}");
}

#[tokio::test]
async fn what_is_no_certificate_is_refused() {
    let settings = KafkaSettings::new("kafkas://localhost:1").expect("a URI");
    let error = settings.root_certificate("nonsense").connect().await.expect_err("none");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("root_certificate"), "{error}");
}
