//! TLS: a certificate of the right authority for the right host, and nothing else.

use std::{fs, path::PathBuf};

use dtx_core::error::{Effect, ErrorKind};
use dtx_store_redis::{RedisSettings, RedisStore};
use dtx_testkit::{
    servers::{RedisTls, Server},
    store::{Pen, committed, one, tx},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

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

    /// Certificate and key for one host.
    fn certify(&self, host: &str) -> (String, String) {
        let params = CertificateParams::new(vec![host.to_owned()]).expect("valid");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs");
        (certificate.pem(), key.serialize_pem())
    }
}

fn server(name: &str, authority: &Authority, host: &str) -> Server {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("it is of an earlier run");
    }
    fs::create_dir_all(&folder).expect("a folder");
    let (certificate, key) = authority.certify(host);
    for (file, text) in
        [("ca.pem", &authority.pem), ("server.pem", &certificate), ("server.key", &key)]
    {
        fs::write(folder.join(file), text).expect("it is written");
    }
    Server::start(&RedisTls, &folder).expect("it starts")
}

fn settings(url: &str, authority: &Authority) -> RedisSettings {
    let settings = RedisSettings::new(url).expect("a URL");
    settings.root_certificate(authority.pem.clone())
}

#[tokio::test]
async fn only_the_right_authority_and_the_right_host_are_trusted() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let good = server("tls-right", &right, "localhost");
    let url = good.url().replace("127.0.0.1", "localhost");
    let store = settings(&url, &right).open().await.expect("it opens");
    committed(&one(&store, &Pen::new(1).accept(tx(1))).await);

    let refused = [
        ("another authority", settings(&url, &wrong)),
        ("another host", settings(&good.url(), &right)),
        ("those of the system", RedisSettings::new(&url).expect("a URL")),
        ("no TLS", RedisSettings::new(&url.replace("rediss", "redis")).expect("a URL")),
    ];
    for (what, settings) in refused {
        let error = settings.open().await.expect_err(what);
        assert_eq!(error.effect(), Effect::None, "{what}: {error:?}");
        assert_ne!(error.kind(), ErrorKind::Internal, "{what}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_no_certificate_is_refused() {
    let settings = RedisSettings::new("rediss://localhost:1").expect("a URL");
    let error = RedisStore::open(settings.root_certificate("nonsense")).await.expect_err("none");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
