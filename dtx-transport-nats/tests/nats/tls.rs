//! TLS: a certificate of the right authority for the right host, and nothing else.

use dtx_core::{error::ErrorKind, pattern::Pattern, transport::Transport};
use dtx_testkit::servers::{Nats, Server};
use dtx_transport_nats::{NatsSettings, NatsTransport};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use crate::harness::{command, connect, prefix, server, settings};

/// An authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("it signs").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key for one host, or one client.
    fn certify(&self, host: &str) -> (String, String) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("valid");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs");
        (certificate.pem(), key.serialize_pem())
    }
}

fn tls_server(name: &str, authority: &Authority, verify: bool) -> Server {
    let (certificate, key) = authority.certify("localhost");
    let more = format!(
        "tls {{ cert_file: \"./server.pem\", key_file: \"./server.key\", ca_file: \"./ca.pem\", \
         verify: {verify} }}"
    );
    let files = [
        ("more.conf", more.as_str()),
        ("ca.pem", &authority.pem),
        ("server.pem", &certificate),
        ("server.key", &key),
    ];
    server(&Nats, name, &files)
}

fn on(server: &Server, host: &str) -> NatsSettings {
    let url = server.url().replace("nats://", "tls://").replace("127.0.0.1", host);
    settings(&url, &prefix())
}

#[tokio::test]
async fn only_the_right_authority_and_the_right_host_are_trusted() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let server = tls_server("tls-right", &right, false);
    let good = on(&server, "localhost").root_certificate(right.pem.clone());
    let transport = connect(good).await;
    assert!(transport.publish(&[command(Pattern::Saga, 1)]).await[0].is_ok());
    let refused = [
        ("another authority", on(&server, "localhost").root_certificate(wrong.pem)),
        ("another host", on(&server, "127.0.0.1").root_certificate(right.pem)),
        ("those of the system", on(&server, "localhost")),
    ];
    for (what, settings) in refused {
        let error = NatsTransport::connect(settings).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{what}: {error:?}");
        assert!(error.to_string().contains("`root_certificate`"), "{what}: {error}");
    }
}

#[tokio::test]
async fn a_server_may_ask_who_we_are() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let server = tls_server("tls-both", &right, true);
    let of = |authority: &Authority| {
        let (certificate, key) = authority.certify("client");
        on(&server, "localhost")
            .root_certificate(right.pem.clone())
            .client_certificate(certificate, key)
    };
    connect(of(&right)).await;
    let nobody = on(&server, "localhost").root_certificate(right.pem.clone());
    for (what, settings) in [("another authority", of(&wrong)), ("no certificate", nobody)] {
        let error = NatsTransport::connect(settings).await.expect_err(what);
        assert_ne!(error.kind(), ErrorKind::Internal, "{what}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_no_certificate_is_refused() {
    let settings = || NatsSettings::new("tls://localhost:1").expect("an address");
    let (certificate, _) = Authority::new().certify("client");
    for (settings, name) in [
        (settings().root_certificate("nonsense"), "root_certificate"),
        (settings().client_certificate("nonsense", "nonsense"), "client_certificate"),
        (settings().client_certificate(certificate, "nonsense"), "client_certificate"),
    ] {
        let error = NatsTransport::connect(settings).await.expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(name), "{error}");
    }
}
