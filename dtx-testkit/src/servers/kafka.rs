//! Apache Kafka, one node that is broker and controller.

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    Place, Recipe, Service, ServiceError,
    process::{PATIENCE, ask, free_port, make_folder, on_path, program, run, wait},
};

/// The jars that are fetched, by Maven.
const POM: &str = include_str!("kafka-pom.xml");

/// Where the jars of this version are.
const JARS: &str = "jars-4.1.1";

/// The class whose `main` is the server.
const SERVER: &str = "kafka.Kafka";

/// Any id does; nodes of one cluster share it.
const CLUSTER: &str = "ZHR4LXRlc3QtY2x1c3Rlcg";

/// The port of the controller in a container. Free ports are higher.
const CONTROLLER: u16 = 9093;

/// What was acknowledged survives a kill of the broker, and not a loss of power: Kafka leaves that
/// to its replicas. No topic appears by itself, groups form at once, and a killed consumer is
/// missed soon.
const SETTINGS: [(&str, &str); 16] = [
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("controller.listener.names", "CONTROLLER"),
    ("auto.create.topics.enable", "false"),
    ("num.partitions", "2"),
    ("default.replication.factor", "1"),
    ("offsets.topic.replication.factor", "1"),
    ("offsets.topic.num.partitions", "4"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.min.session.timeout.ms", "1000"),
    // A killed broker comes back as soon as it is started again.
    ("broker.heartbeat.interval.ms", "500"),
    ("broker.session.timeout.ms", "1500"),
    ("log.cleaner.dedupe.buffer.size", "16777216"),
];

/// Kafka without TLS and without users.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kafka;

/// Kafka that only speaks TLS and asks for a user with a password (`SASL_SSL`, `PLAIN`): the user
/// is `dtx`, the password `hunter2`. Its folder must have `server.pem`, the key in PKCS #8 and
/// then the certificate, before it is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct KafkaTls;

/// What a listener speaks, and the settings that it needs.
struct Listener {
    protocol: &'static str,
    settings: Vec<(String, String)>,
}

/// The jars, fetched if they are not there: beside the other things that were built if this
/// program is one of them, else in the folder of the server.
fn jars(folder: &Path) -> Result<PathBuf, ServiceError> {
    let built = env::current_exe().ok();
    let built = built.as_deref().into_iter().flat_map(Path::ancestors);
    let target = built.into_iter().find(|path| path.join("CACHEDIR.TAG").is_file());
    let home = target.map_or_else(|| folder.to_owned(), |target| target.join("services/kafka"));
    let jars = home.join(JARS);
    if jars.is_dir() {
        return Ok(jars);
    }
    let fetched = home.join(format!("{JARS}-{}", std::process::id()));
    let made = fs::create_dir_all(&fetched);
    made.map_err(|error| ServiceError::io("cannot make the folder", &fetched, error))?;
    let pom = fetched.join("pom.xml");
    fs::write(&pom, POM).map_err(|error| ServiceError::io("cannot write", &pom, error))?;
    let mut maven = Command::new("mvn");
    maven.stdin(Stdio::null()).args(["-q", "-B", "-f"]).arg(&pom);
    maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    run(maven.arg(format!("-DoutputDirectory={}", fetched.display())))?;
    // Another one may have been quicker; its jars are the same.
    if fs::rename(&fetched, &jars).is_err() && !jars.is_dir() {
        let says = format!("{} could not be put in its place", fetched.display());
        return Err(ServiceError::Failed { program: "mvn".to_owned(), says });
    }
    Ok(jars)
}

/// The port of the controller, the same after a restart.
fn controller_port(folder: &Path) -> Result<u16, ServiceError> {
    let path = folder.join("controller");
    let known = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
    if let Some(port) = known {
        return Ok(port);
    }
    let port = free_port()?;
    fs::write(&path, port.to_string())
        .map_err(|error| ServiceError::io("cannot write", &path, error))?;
    Ok(port)
}

fn properties(place: &Place, data: &Path, listener: &Listener) -> Result<String, ServiceError> {
    let (port, controller) = (place.port, controller_port(&place.folder)?);
    let protocol = listener.protocol;
    let mut text = String::new();
    let mut add = |name: &str, value: &str| text.push_str(&format!("{name}={value}\n"));
    SETTINGS.iter().for_each(|(name, value)| add(name, value));
    add("log.dirs", &data.join("log").to_string_lossy());
    add("controller.quorum.voters", &format!("1@127.0.0.1:{controller}"));
    add("listeners", &format!("CLIENTS://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}"));
    let host = if protocol == "PLAINTEXT" { "127.0.0.1" } else { "localhost" };
    add("advertised.listeners", &format!("CLIENTS://{host}:{port}"));
    add("inter.broker.listener.name", "CLIENTS");
    let protocols = format!("CONTROLLER:PLAINTEXT,CLIENTS:{protocol}");
    add("listener.security.protocol.map", &protocols);
    listener.settings.iter().for_each(|(name, value)| add(name, value));
    Ok(text)
}

fn java(place: &Place, jars: &Path, data: &Path) -> Command {
    let mut java = program(place.programs.join("java"), data);
    java.args(["-Xmx512m", "-XX:+ExitOnOutOfMemoryError"]);
    java.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    // The class path is expanded by Java.
    java.arg("-cp").arg(jars.join("*"));
    java
}

fn start(place: &Place, listener: &Listener) -> Result<Vec<u32>, ServiceError> {
    let jars = jars(&place.folder)?;
    let data = place.folder.join("data");
    make_folder(&data)?;
    let settings = data.join("server.properties");
    fs::write(&settings, properties(place, &data, listener)?)
        .map_err(|error| ServiceError::io("cannot write", &settings, error))?;
    if !data.join("log/meta.properties").is_file() {
        let mut format = java(place, &jars, &data);
        format.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"]);
        run(format.arg(&settings))?;
    }
    let path = data.join("output");
    let output = File::create(&path).and_then(|file| Ok((file.try_clone()?, file)));
    let (output, errors) =
        output.map_err(|error| ServiceError::io("cannot write", &path, error))?;
    let mut server = java(place, &jars, &data);
    server.arg(SERVER).arg(&settings).stdout(output).stderr(errors);
    // An interrupt at the keyboard is not for it.
    let server = server.process_group(0).spawn();
    let mut server = server.map_err(|error| ServiceError::io("cannot run", "java", error))?;
    let mut ended = false;
    let answers = wait(|| {
        ended = matches!(server.try_wait(), Ok(Some(_)));
        ended || TcpStream::connect((Ipv4Addr::LOCALHOST, place.port)).is_ok()
    });
    if answers && !ended {
        return Ok(vec![server.id()]);
    }
    // It may have ended by itself.
    let _ = server.kill();
    let _ = server.wait();
    if !ended {
        return Err(ServiceError::Late {
            name: "kafka",
            what: "start",
            seconds: PATIENCE.as_secs(),
        });
    }
    let says = fs::read_to_string(&path).unwrap_or_default();
    let says = says.lines().rev().take(5).collect::<Vec<_>>().join("\n");
    Err(ServiceError::Failed { program: SERVER.to_owned(), says })
}

/// What a container runs. The port inside is the one outside: a node also talks to itself, at the
/// address that it tells to clients.
fn recipe(port: u16) -> Recipe {
    let mut environment = vec![
        ("CLUSTER_ID".to_owned(), CLUSTER.to_owned()),
        ("KAFKA_HEAP_OPTS".to_owned(), "-Xmx512m".to_owned()),
    ];
    let mut add = |name: &str, value: &str| {
        let name = format!("KAFKA_{}", name.to_uppercase().replace('.', "_"));
        environment.push((name, value.to_owned()));
    };
    SETTINGS.iter().for_each(|(name, value)| add(name, value));
    add("log.dirs", "/var/lib/kafka/data/log");
    add("controller.quorum.voters", &format!("1@127.0.0.1:{CONTROLLER}"));
    add("listeners", &format!("CLIENTS://0.0.0.0:{port},CONTROLLER://127.0.0.1:{CONTROLLER}"));
    add("advertised.listeners", &format!("CLIENTS://127.0.0.1:{port}"));
    add("inter.broker.listener.name", "CLIENTS");
    add("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,CLIENTS:PLAINTEXT");
    Recipe { port, environment, command: Vec::new(), files: Vec::new(), answers }
}

/// Whether a broker says which requests it knows.
fn answers(port: u16) -> bool {
    // The length of the rest; key and version of the request, its id, and a client without name.
    let request = b"\0\0\0\x0a\0\x12\0\0\0\0\0\x07\xff\xff";
    // The length of the rest, and the id again.
    let answer = ask(port, request, 8);
    answer.is_some_and(|answer| answer.ends_with(b"\0\0\0\x07"))
}

/// Where Java is, if Maven is there too.
fn programs() -> Option<PathBuf> {
    on_path("mvn").and_then(|_| on_path("java"))
}

impl Service for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn variable(&self) -> &'static str {
        "DTX_TEST_KAFKA_BROKERS"
    }

    fn package(&self) -> &'static str {
        // It brings Java.
        "maven"
    }

    fn programs(&self) -> Option<PathBuf> {
        programs()
    }

    fn url(&self, port: u16) -> String {
        format!("127.0.0.1:{port}")
    }

    fn start(&self, place: &Place) -> Result<Vec<u32>, ServiceError> {
        start(place, &Listener { protocol: "PLAINTEXT", settings: Vec::new() })
    }

    fn process_name(&self) -> &'static str {
        SERVER
    }

    fn recipe(&self, _: &str, port: u16) -> Option<Recipe> {
        Some(recipe(port))
    }
}

impl Service for KafkaTls {
    fn name(&self) -> &'static str {
        "kafka-tls"
    }

    fn variable(&self) -> &'static str {
        "DTX_TEST_KAFKA_TLS_BROKERS"
    }

    fn package(&self) -> &'static str {
        "maven"
    }

    fn programs(&self) -> Option<PathBuf> {
        programs()
    }

    fn url(&self, port: u16) -> String {
        format!("localhost:{port}")
    }

    fn start(&self, place: &Place) -> Result<Vec<u32>, ServiceError> {
        let certificate = place.folder.join("server.pem").to_string_lossy().into_owned();
        let users = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                     username=\"dtx\" password=\"hunter2\" user_dtx=\"hunter2\";";
        let settings = [
            ("sasl.enabled.mechanisms", "PLAIN"),
            ("sasl.mechanism.inter.broker.protocol", "PLAIN"),
            ("listener.name.clients.plain.sasl.jaas.config", users),
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", &certificate),
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", &certificate),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        start(place, &Listener { protocol: "SASL_SSL", settings: settings.into() })
    }

    fn process_name(&self) -> &'static str {
        SERVER
    }
}
