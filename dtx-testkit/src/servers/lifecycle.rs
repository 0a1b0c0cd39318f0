//! Servers that outlive the program that started them, remembered in a folder.

use std::{
    env, fs,
    path::{Path, PathBuf, absolute},
    process::Command,
    sync::Arc,
};

use super::{
    Server, Service, ServiceError, Way,
    engine::Engine,
    process::{free_port, is_free, is_root, lives, run},
    record::{Held, Record},
    server::end,
};

/// A server that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its URL.
    pub url: String,
    /// Where it comes from.
    pub from: Source,
    /// Why it is native although an engine answers, if it is.
    pub passed_over: Option<String>,
}

/// Where a server comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An environment variable names it; it is none of ours.
    Given,
    /// It was running already.
    Running(Way),
    /// It was started just now.
    Started(Way),
}

impl Source {
    /// A word or two for it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Running(Way::Native) => "running",
            Self::Running(Way::Containers) => "running, container",
            Self::Started(Way::Native) => "started",
            Self::Started(Way::Containers) => "started, container",
        }
    }
}

/// The servers that are remembered in one folder.
#[derive(Clone, Debug)]
pub struct Services {
    folder: PathBuf,
    asked: Option<Way>,
    /// `None`: this build has no client of engines.
    engine: Option<Arc<dyn Engine>>,
}

impl Services {
    /// Those in this folder, which need not exist.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        #[cfg(feature = "containers")]
        let engine: Option<Arc<dyn Engine>> = Some(Arc::new(super::docker::Docker));
        #[cfg(not(feature = "containers"))]
        let engine = None;
        Self { folder: folder.into(), asked: None, engine }
    }

    /// In this way alone: neither in the other one, nor what the environment names.
    #[must_use]
    pub fn via(mut self, way: Way) -> Self {
        self.asked = Some(way);
        self
    }

    /// The server that the environment names, or that runs in this folder.
    pub fn find(&self, service: &dyn Service) -> Option<Found> {
        let given = || env::var(service.variable()).ok().filter(|url| !url.is_empty());
        if let Some(url) = given().filter(|_| self.asked.is_none()) {
            return Some(Found { url, from: Source::Given, passed_over: None });
        }
        let (record, way) = self.running(service)?;
        let is_asked = self.asked.is_none_or(|asked| asked == way);
        let url = service.url(record.port);
        is_asked.then_some(Found { url, from: Source::Running(way), passed_over: None })
    }

    /// Whether a server could be started: its programs are here, or an engine for its image is.
    pub fn can_start(&self, service: &dyn Service) -> bool {
        match self.way(service) {
            Ok(Way::Containers) => true,
            Ok(Way::Native) => service.programs().is_some(),
            Err(_) => false,
        }
    }

    /// Finds a server, or starts one that stays: in a container where an engine answers, else
    /// natively. With `install`, and as root, its package is installed when its programs are not
    /// here. One that was started here and has died comes back on its data, and on its port if
    /// that is still free. Where an engine answers but has no image of it, a native one is
    /// started, and [`Found::passed_over`] says so. Blocks.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none and none can be started in the way that was asked for.
    pub fn up(&self, service: &'static dyn Service, install: bool) -> Result<Found, ServiceError> {
        if let Some(found) = self.find(service) {
            return Ok(found);
        }
        let name = service.name();
        if let Some((_, way)) = self.running(service) {
            return Err(ServiceError::OtherWay { name, way: way.word() });
        }
        let way = self.way(service)?;
        fs::create_dir_all(&self.folder)
            .map_err(|error| ServiceError::io("cannot make the folder", &self.folder, error))?;
        if way == Way::Native {
            return self.start_native(service, install);
        }
        match self.start_container(service) {
            Err(error @ ServiceError::NoImage { .. })
                if self.asked.is_none() && (install || service.programs().is_some()) =>
            {
                let found = self.start_native(service, install)?;
                Ok(Found { passed_over: Some(error.to_string()), ..found })
            }
            other => other,
        }
    }

    fn start_native(
        &self,
        service: &'static dyn Service,
        install: bool,
    ) -> Result<Found, ServiceError> {
        if install && is_root() && service.programs().is_none() {
            let apt = |arguments: &[&str]| {
                let mut command = Command::new("apt-get");
                run(command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
            };
            apt(&["update"])?;
            apt(&["install", "-y", "--no-install-recommends", service.package()])?;
        }
        let port = self.port(service);
        let server = Server::start_on(service, &self.folder.join(service.name()), port)?;
        let held = Held::Processes(server.processes().to_vec());
        self.remember(service, &Record { held, port: server.port() })?;
        let from = Source::Started(Way::Native);
        let found = Found { url: server.url(), from, passed_over: None };
        server.leave();
        Ok(found)
    }

    fn start_container(&self, service: &'static dyn Service) -> Result<Found, ServiceError> {
        let engine = self.engine(service.name())?;
        let owner = self.owner()?;
        let started = |port| {
            let (url, from) = (service.url(port), Source::Started(Way::Containers));
            Found { url, from, passed_over: None }
        };
        if let Some(Record { held: Held::Container(id), port }) = self.remembered(service)
            && engine.start_again(&id, service, port)
        {
            return Ok(started(port));
        }
        // What a caller that was killed has left, or what does not come back.
        engine.remove(service, &owner)?;
        let port = self.port(service).map_or_else(free_port, Ok)?;
        let id = engine.start(service, &owner, port)?;
        let record = Record { held: Held::Container(id), port };
        if let Err(error) = self.remember(service, &record) {
            // It would be forgotten; that it cannot be removed is the lesser news.
            let _ = engine.remove(service, &owner);
            return Err(error);
        }
        Ok(started(port))
    }

    /// Stops the server that was started in this folder. The data of a native one stay; a
    /// container is removed with its data, and with it those that a killed caller left in the
    /// middle of a start. Says whether there was one. Blocks until it is gone.
    ///
    /// # Errors
    /// [`ServiceError`] when it does not end, or when its engine does not answer.
    pub fn down(&self, service: &dyn Service) -> Result<bool, ServiceError> {
        let remembered = self.remembered(service);
        let is_container =
            remembered.as_ref().is_some_and(|record| matches!(record.held, Held::Container(_)));
        let mut removed = 0;
        match self.engine(service.name()) {
            Ok(engine) => removed = engine.remove(service, &self.owner()?)?,
            Err(error) if is_container => return Err(error),
            // Without an engine there is no container.
            Err(_) => {}
        }
        let native = remembered.filter(|record| self.lives(service, record));
        if let Some(Record { held: Held::Processes(processes), .. }) = &native {
            end(service, processes, false)?;
        }
        if native.is_some() || is_container {
            let path = self.path(service);
            fs::remove_file(&path)
                .map_err(|error| ServiceError::io("cannot remove", &path, error))?;
        }
        Ok(native.is_some() || removed > 0)
    }

    /// The way in which it would be started.
    fn way(&self, service: &dyn Service) -> Result<Way, ServiceError> {
        let name = service.name();
        Way::of(name, self.asked, || self.engine(name).map(|_| ()))
    }

    /// The engine, if it answers.
    fn engine(&self, name: &'static str) -> Result<&dyn Engine, ServiceError> {
        let silent = |says| ServiceError::NoEngine { name, says };
        let missing = || "this program was built without the feature `containers`".to_owned();
        let engine = self.engine.as_deref().ok_or_else(|| silent(missing()))?;
        engine.answers().map_err(silent)?;
        Ok(engine)
    }

    /// By what the engine knows the folder, also once it is gone.
    fn owner(&self) -> Result<String, ServiceError> {
        let path = absolute(&self.folder)
            .map_err(|error| ServiceError::io("cannot find", &self.folder, error))?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// A server that was started here and lives.
    fn running(&self, service: &dyn Service) -> Option<(Record, Way)> {
        let record = self.remembered(service).filter(|record| self.lives(service, record))?;
        let way = match record.held {
            Held::Processes(_) => Way::Native,
            Held::Container(_) => Way::Containers,
        };
        Some((record, way))
    }

    fn lives(&self, service: &dyn Service, record: &Record) -> bool {
        match &record.held {
            Held::Processes(ids) => ids.iter().any(|&id| lives(id, service.process_name())),
            Held::Container(id) => self.engine.as_ref().is_some_and(|engine| engine.runs(id)),
        }
    }

    /// The port that it had, if it is free.
    fn port(&self, service: &dyn Service) -> Option<u16> {
        self.remembered(service).map(|record| record.port).filter(|port| is_free(*port))
    }

    /// A server that was started here.
    fn remembered(&self, service: &dyn Service) -> Option<Record> {
        Record::read(&fs::read_to_string(self.path(service)).ok()?)
    }

    fn remember(&self, service: &dyn Service, record: &Record) -> Result<(), ServiceError> {
        let path = self.path(service);
        fs::write(&path, record.text())
            .map_err(|error| ServiceError::io("cannot write", &path, error))
    }

    fn path(&self, service: &dyn Service) -> PathBuf {
        Path::new(&self.folder).join(format!("{}.running", service.name()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::servers::Place;

    /// A service with the image of Redis, whose variable names a server or not, and whose programs
    /// are here or not.
    #[derive(Debug)]
    struct Bare {
        variable: &'static str,
        programs: Option<&'static str>,
    }

    /// Cargo sets the variable for every test.
    const GIVEN: Bare = Bare { variable: "CARGO_MANIFEST_DIR", programs: None };

    const BARE: Bare = Bare { variable: "DTX_TEST_NOBODY_SETS_THIS", programs: None };

    const HERE: Bare = Bare { programs: Some("/here"), ..BARE };

    impl Service for Bare {
        fn name(&self) -> &'static str {
            "redis"
        }

        fn variable(&self) -> &'static str {
            self.variable
        }

        fn package(&self) -> &'static str {
            "none"
        }

        fn programs(&self) -> Option<PathBuf> {
            self.programs.map(PathBuf::from)
        }

        fn url(&self, port: u16) -> String {
            format!("bare:{port}")
        }

        fn start(&self, _: &Place) -> Result<Vec<u32>, ServiceError> {
            assert!(self.programs.is_some(), "it has no programs");
            Ok(Vec::new())
        }

        fn process_name(&self) -> &'static str {
            "none"
        }
    }

    /// An engine that remembers what it was asked, and the container that it has.
    #[derive(Debug, Default)]
    struct Pretended {
        is_silent: bool,
        has_no_image: bool,
        asked: Mutex<Vec<&'static str>>,
        has: Mutex<Option<(String, bool)>>,
    }

    impl Pretended {
        fn note(&self, what: &'static str) {
            self.asked.lock().expect("nobody panics with it").push(what);
        }

        fn asked(&self) -> Vec<&'static str> {
            std::mem::take(&mut *self.asked.lock().expect("nobody panics with it"))
        }

        fn set(&self, container: Option<(&str, bool)>) {
            let container = container.map(|(id, runs)| (id.to_owned(), runs));
            *self.has.lock().expect("nobody panics with it") = container;
        }
    }

    impl Engine for Pretended {
        fn answers(&self) -> Result<(), String> {
            if self.is_silent { Err("it is silent".to_owned()) } else { Ok(()) }
        }

        fn start(
            &self,
            service: &'static dyn Service,
            _: &str,
            _: u16,
        ) -> Result<String, ServiceError> {
            self.note("start");
            if self.has_no_image {
                let (name, image, variable) = (service.name(), "i:1".to_owned(), "V");
                return Err(ServiceError::NoImage { name, image, variable, says: String::new() });
            }
            self.set(Some(("new", true)));
            Ok("new".to_owned())
        }

        fn start_again(&self, id: &str, _: &dyn Service, _: u16) -> bool {
            self.note("start again");
            let mut has = self.has.lock().expect("nobody panics with it");
            let found = has.as_mut().filter(|(own, _)| own == id);
            found.map(|(_, runs)| *runs = true).is_some()
        }

        fn runs(&self, id: &str) -> bool {
            let has = self.has.lock().expect("nobody panics with it");
            has.as_ref().is_some_and(|(own, runs)| own == id && *runs)
        }

        fn remove(&self, _: &dyn Service, _: &str) -> Result<usize, ServiceError> {
            self.note("remove");
            let removed = self.has.lock().expect("nobody panics with it").take();
            Ok(usize::from(removed.is_some()))
        }
    }

    /// A folder of the test with this name, and its servers by this engine.
    fn services(name: &str, engine: Option<&Arc<Pretended>>) -> Services {
        let folder = env::temp_dir().join(format!("dtx-services-{name}-{}", std::process::id()));
        let engine = engine.map(|engine| Arc::clone(engine) as Arc<dyn Engine>);
        Services { folder, asked: None, engine }
    }

    fn clear(services: &Services) {
        fs::remove_dir_all(&services.folder).expect("it is ours");
    }

    #[test]
    fn what_the_environment_names_comes_first_and_then_a_container() {
        let engine = Arc::new(Pretended::default());
        let services = services("order", Some(&engine));
        let found = services.up(&GIVEN, false).expect("it is given");
        assert_eq!(found.from, Source::Given);
        assert!(engine.asked().is_empty());
        let found = services.up(&BARE, false).expect("the engine starts it");
        assert_eq!(found.from, Source::Started(Way::Containers));
        assert_eq!(engine.asked(), ["remove", "start"], "what others left goes first");
        let again = services.up(&BARE, false).expect("it runs");
        assert_eq!((again.from, again.url), (Source::Running(Way::Containers), found.url));
        assert!(services.down(&BARE).expect("it is removed"));
        assert_eq!(engine.asked(), ["remove"]);
        assert!(!services.down(&BARE).expect("there is nothing"));
        clear(&services);
    }

    #[test]
    fn without_an_engine_the_native_server_is_next() {
        let silent = Arc::new(Pretended { is_silent: true, ..Pretended::default() });
        for engine in [None, Some(&silent)] {
            let services = services("silent", engine);
            let error = services.up(&BARE, false).expect_err("it has no programs");
            assert!(matches!(error, ServiceError::Missing { .. }), "{error}");
            clear(&services);
            let error = services.via(Way::Containers).up(&BARE, false).expect_err("no engine");
            let text = error.to_string();
            assert!(matches!(error, ServiceError::NoEngine { .. }), "{text}");
            assert!(text.contains("DOCKER_HOST") && text.contains("--via containers"), "{text}");
        }
        assert!(silent.asked().is_empty());
    }

    #[test]
    fn one_way_alone_neither_takes_the_other_nor_what_the_environment_names() {
        let engine = Arc::new(Pretended::default());
        let services = services("alone", Some(&engine));
        let native = services.clone().via(Way::Native);
        let error = native.up(&GIVEN, false).expect_err("it has no programs");
        assert!(matches!(error, ServiceError::Missing { .. }), "{error}");
        assert!(engine.asked().is_empty() && !native.can_start(&GIVEN));
        let contained = services.clone().via(Way::Containers);
        let found = contained.up(&GIVEN, false).expect("the engine starts it");
        assert_eq!(found.from, Source::Started(Way::Containers));
        assert_eq!(native.find(&GIVEN), None);
        let error = native.up(&GIVEN, false).expect_err("it runs in a container");
        assert!(matches!(error, ServiceError::OtherWay { way: "containers", .. }), "{error}");
        clear(&services);
    }

    #[test]
    fn without_its_image_a_service_that_has_no_programs_either_says_so() {
        let engine = Arc::new(Pretended { has_no_image: true, ..Pretended::default() });
        let services = services("image", Some(&engine));
        for services in [services.clone(), services.clone().via(Way::Containers)] {
            let error = services.up(&BARE, false).expect_err("it has neither");
            assert!(error.to_string().contains("scripts/local-images"), "{error}");
        }
        clear(&services);
    }

    #[test]
    fn without_its_image_a_service_is_native_and_says_so_unless_a_container_was_asked_for() {
        let engine = Arc::new(Pretended { has_no_image: true, ..Pretended::default() });
        let services = services("passed-over", Some(&engine));
        let found = services.up(&HERE, false).expect("it is native");
        assert_eq!(found.from, Source::Started(Way::Native));
        assert!(found.passed_over.expect("it says so").contains("i:1"));
        let contained = services.clone().via(Way::Containers);
        let error = contained.up(&HERE, false).expect_err("it has no image");
        assert!(matches!(error, ServiceError::NoImage { .. }), "{error}");
        engine.asked();
        let native = services.clone().via(Way::Native).up(&HERE, false).expect("it is native");
        assert_eq!((native.from, native.passed_over), (Source::Started(Way::Native), None));
        assert!(engine.asked().is_empty());
        clear(&services);
    }

    #[test]
    fn a_container_that_has_stopped_comes_back_and_one_that_is_gone_is_made_anew() {
        let engine = Arc::new(Pretended::default());
        let services = services("stopped", Some(&engine));
        services.up(&BARE, false).expect("it starts");
        engine.set(Some(("new", false)));
        engine.asked();
        let found = services.up(&BARE, false).expect("it comes back");
        assert_eq!(found.from, Source::Started(Way::Containers));
        assert_eq!(engine.asked(), ["start again"]);
        engine.set(None);
        services.up(&BARE, false).expect("there is a new one");
        assert_eq!(engine.asked(), ["start again", "remove", "start"]);
        clear(&services);
    }

    #[test]
    fn a_container_is_not_forgotten_while_its_engine_is_silent() {
        let engine = Arc::new(Pretended::default());
        let with = services("forgotten", Some(&engine));
        with.up(&BARE, false).expect("it starts");
        let without = Services { engine: None, ..with.clone() };
        let error = without.down(&BARE).expect_err("nobody can remove it");
        assert!(matches!(error, ServiceError::NoEngine { .. }), "{error}");
        assert!(with.down(&BARE).expect("it is still known"));
        clear(&with);
    }

    #[test]
    fn what_a_killed_caller_left_is_removed_although_nothing_is_remembered() {
        let engine = Arc::new(Pretended::default());
        engine.set(Some(("left", true)));
        let services = services("left", Some(&engine));
        assert!(services.down(&BARE).expect("it is removed"));
    }
}
