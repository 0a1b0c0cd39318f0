//! A broker is started, killed, started again on its data, and stopped.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
};

use dtx_testkit::servers::{Kafka, Server};

fn answers(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[test]
fn a_killed_broker_comes_back_on_its_data_and_its_port() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kafka-kill");
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("it is of an earlier run");
    }
    let mut server = Server::start(&Kafka, &folder).expect("it starts");
    let (url, port) = (server.url(), server.port());
    let formatted = || fs::metadata(folder.join("data/log/meta.properties"));
    let first = formatted().and_then(|found| found.modified()).expect("it is there");
    assert!(answers(port) && server.processes().len() == 1);

    server.kill().expect("it ends");
    assert!(!answers(port) && server.processes().is_empty());
    server.restart().expect("it starts again");
    assert_eq!((server.url(), server.port()), (url, port));
    let again = formatted().and_then(|found| found.modified()).expect("it is there");
    assert_eq!(first, again, "its data were not kept");
    assert!(answers(port));
    drop(server);
    assert!(!answers(port));
    fs::remove_dir_all(&folder).expect("it is ours");
}
