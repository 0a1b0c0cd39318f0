//! TLS with `verify-full`: a certificate of the right authority for the right host, and nothing
//! else.

use std::{fs, path::PathBuf};

use dtx_core::{
    error::{Effect, ErrorKind, StoreError},
    store::{Durability, StateStore},
};
use dtx_store_postgres::{PgConfig, PgStore};
use dtx_testkit::{
    servers::{PostgresTls, Server},
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

/// A server with a certificate for one host, and the folder that it is in.
fn server(authority: &Authority, host: &str) -> (Server, PathBuf) {
    let folder = crate::harness::folder("tls");
    let (certificate, key) = authority.certify(host);
    for (file, text) in
        [("right.pem", &authority.pem), ("server.pem", &certificate), ("server.key", &key)]
    {
        fs::write(folder.join(file), text).expect("it is written");
    }
    fs::write(folder.join("wrong.pem"), Authority::new().pem).expect("it is written");
    (Server::start(&PostgresTls, &folder).expect("it starts"), folder)
}

async fn open(url: &str) -> Result<PgStore, StoreError> {
    PgStore::connect(PgConfig::from_url(url).expect("valid")).await
}

#[tokio::test]
async fn only_the_right_authority_and_the_right_host_are_trusted() {
    let (server, folder) = server(&Authority::new(), "localhost");
    let root = |file: &str| format!("sslrootcert={}", folder.join(file).display());
    let at = |host: &str, options: &str| {
        format!("{}?{options}", server.url().replace("127.0.0.1", host))
    };
    let full = |file: &str| format!("sslmode=verify-full&{}", root(file));

    let store = open(&at("localhost", &full("right.pem"))).await.expect("it opens");
    assert_eq!(StateStore::info(&store).capabilities.durability, Durability::PowerLoss);
    committed(&one(&store, &Pen::new(1).accept(tx(1))).await);
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let encrypted: bool =
        sqlx::query_scalar(encrypted).fetch_one(store.pool()).await.expect("asked");
    assert!(encrypted);

    for (what, url, setting) in [
        ("another authority", at("localhost", &full("wrong.pem")), "sslrootcert: "),
        ("those of the system", at("localhost", "sslmode=verify-full"), "sslrootcert: "),
        ("another host", at("127.0.0.1", &full("right.pem")), "host: "),
    ] {
        let error = open(&url).await.expect_err(what);
        assert_eq!(
            (error.kind(), error.effect()),
            (ErrorKind::Unavailable, Effect::None),
            "{what}"
        );
        assert!(error.to_string().contains(setting), "{what}: {error}");
    }
    let error = open(&at("localhost", "sslmode=disable")).await.expect_err("it wants TLS");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Invalid, Effect::None), "{error}");
    // The weaker mode takes another host, but no other authority.
    let ca = |file: &str| format!("sslmode=verify-ca&{}", root(file));
    open(&at("127.0.0.1", &ca("right.pem"))).await.expect("it opens");
    let error = open(&at("127.0.0.1", &ca("wrong.pem"))).await.expect_err("another authority");
    assert!(error.to_string().contains("sslrootcert: "), "{error}");
}
