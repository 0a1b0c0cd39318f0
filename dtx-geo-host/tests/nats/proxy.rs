//! The way from one region to a server of another: late by half a round trip, and it can be cut.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// How many pieces of one connection are on their way, in one direction. Past it whoever sends
/// waits.
const PIECES_MAX: usize = 1_024;

/// The largest piece, in bytes.
const PIECE: usize = 16 << 10;

/// How things stand with a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// What is sent arrives.
    Open,
    /// Nothing arrives, and nobody is told: it arrives once the way is open again.
    Silent,
    /// Connections are broken, and new ones are broken at once.
    Broken,
}

#[derive(Clone, Copy, Debug)]
struct State {
    line: Line,
    /// How many times it was broken.
    breaks: u64,
}

/// A proxy in front of one server, for one who connects to it. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    refused: Arc<AtomicU64>,
    _accepts: JoinSet<()>,
}

/// How late each direction is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delays {
    pub(crate) there: Duration,
    pub(crate) back: Duration,
}

impl Proxy {
    /// In front of the server on this port of the loopback.
    pub(crate) async fn start(port: u16, delays: Delays) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (state, states) = watch::channel(State { line: Line::Open, breaks: 0 });
        let refused = Arc::new(AtomicU64::new(0));
        let (mut accepts, count) = (JoinSet::new(), Arc::clone(&refused));
        accepts.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("it listens");
                if states.borrow().line == Line::Broken {
                    count.fetch_add(1, SeqCst);
                    continue;
                }
                connections.spawn(carry(client, port, delays, states.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, state, refused, _accepts: accepts }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn set(&self, line: Line) {
        self.state.send_modify(|state| {
            state.line = line;
            state.breaks += u64::from(line == Line::Broken);
        });
    }

    /// How many connections were broken at once.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(SeqCst)
    }
}

/// Carries one connection until it ends, or is broken.
async fn carry(client: TcpStream, port: u16, delays: Delays, states: watch::Receiver<State>) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("it can be set");
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut broken = states.clone();
    let breaks = broken.borrow().breaks;
    tokio::select! {
        _ = broken.wait_for(|state| state.breaks != breaks) => {}
        _ = async {
            tokio::join!(
                pass(from_client, to_server, delays.there, states.clone()),
                pass(from_server, to_client, delays.back, states.clone()),
            )
        } => {}
    }
}

/// Carries one direction: each piece arrives so much later, and in order.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
    mut states: watch::Receiver<State>,
) {
    let (pieces, mut due) = mpsc::channel(PIECES_MAX);
    let read = async move {
        let mut buffer = vec![0; PIECE];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let piece = (Instant::now() + delay, buffer[..count].to_vec());
            if pieces.send(piece).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, piece)) = due.recv().await {
            sleep_until(at).await;
            let is_open = states.wait_for(|state| state.line == Line::Open).await.is_ok();
            if !is_open || to.write_all(&piece).await.is_err() {
                return;
            }
        }
        // The other side may have ended before.
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const DELAYS: Delays =
        Delays { there: Duration::from_millis(60), back: Duration::from_millis(30) };
    const PATIENCE: Duration = Duration::from_secs(10);

    /// A server that sends everything back.
    async fn echo() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        port
    }

    async fn connect(proxy: &Proxy) -> TcpStream {
        TcpStream::connect(proxy.address).await.expect("it listens")
    }

    /// Sends a byte and waits for it; none when the connection has ended.
    async fn ask(stream: &mut TcpStream, byte: u8) -> Option<u8> {
        stream.write_all(&[byte]).await.ok()?;
        stream.read_u8().await.ok()
    }

    #[tokio::test]
    async fn each_direction_is_late_and_keeps_its_order() {
        let proxy = Proxy::start(echo().await, DELAYS).await;
        let mut stream = connect(&proxy).await;
        let began = Instant::now();
        assert_eq!(ask(&mut stream, 1).await, Some(1));
        let took = began.elapsed();
        assert!(took >= DELAYS.there + DELAYS.back, "{took:?}");
        // Many pieces are under way at once.
        let began = Instant::now();
        for byte in 0..100 {
            stream.write_all(&[byte]).await.expect("it is open");
        }
        for byte in 0..100 {
            assert_eq!(stream.read_u8().await.expect("it is open"), byte);
        }
        let took = began.elapsed();
        assert!(took < (DELAYS.there + DELAYS.back) * 50, "one after the other: {took:?}");
    }

    #[tokio::test]
    async fn a_silent_way_keeps_what_is_sent_until_it_is_open() {
        let proxy = Proxy::start(echo().await, DELAYS).await;
        let mut stream = connect(&proxy).await;
        proxy.set(Line::Silent);
        let early = timeout(DELAYS.there * 4, ask(&mut stream, 7)).await;
        assert!(early.is_err(), "{early:?}");
        proxy.set(Line::Open);
        let late = timeout(PATIENCE, stream.read_u8()).await.expect("it comes");
        assert_eq!(late.expect("it is open"), 7);
    }

    #[tokio::test]
    async fn a_broken_way_ends_connections_and_takes_none_until_it_is_open() {
        let proxy = Proxy::start(echo().await, DELAYS).await;
        let mut stream = connect(&proxy).await;
        assert_eq!(ask(&mut stream, 1).await, Some(1));
        proxy.set(Line::Broken);
        let ended = timeout(PATIENCE, stream.read_u8()).await.expect("it ends");
        assert!(ended.is_err());
        let mut second = connect(&proxy).await;
        assert_eq!(timeout(PATIENCE, ask(&mut second, 2)).await.expect("it ends"), None);
        assert!(proxy.refused() >= 1);
        proxy.set(Line::Open);
        assert_eq!(ask(&mut connect(&proxy).await, 3).await, Some(3));
    }
}
