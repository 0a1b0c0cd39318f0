//! In which way a server is had.

use super::{Image, ServiceError};

/// How a server runs that was started here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In a container, by a Docker engine.
    Containers,
    /// From the programs on this machine.
    Native,
}

impl Way {
    /// One word for it, as on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::Native => "native",
        }
    }

    /// The way of this word.
    pub fn named(word: &str) -> Option<Self> {
        [Self::Containers, Self::Native].into_iter().find(|way| way.word() == word)
    }

    /// The way in which a service is started: the one that was asked for and no other; else a
    /// container, where the service has an image and an engine answers.
    pub(super) fn of(
        name: &'static str,
        asked: Option<Self>,
        engine: impl FnOnce() -> Result<(), ServiceError>,
    ) -> Result<Self, ServiceError> {
        let has_image = Image::of(name).is_some();
        match asked {
            Some(Self::Native) => Ok(Self::Native),
            Some(Self::Containers) if !has_image => Err(ServiceError::NoContainer { name }),
            Some(Self::Containers) => engine().map(|()| Self::Containers),
            None if has_image && engine().is_ok() => Ok(Self::Containers),
            None => Ok(Self::Native),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent() -> Result<(), ServiceError> {
        Err(ServiceError::NoEngine { name: "redis", says: "nobody is there".to_owned() })
    }

    #[test]
    fn a_container_comes_before_a_native_server_where_an_engine_answers() {
        assert_eq!(Way::of("redis", None, || Ok(())).ok(), Some(Way::Containers));
        assert_eq!(Way::of("redis", None, silent).ok(), Some(Way::Native));
        assert_eq!(Way::of("redis-cluster", None, || Ok(())).ok(), Some(Way::Native));
    }

    #[test]
    fn the_way_that_was_asked_for_is_the_only_one() {
        let native = Way::of("redis", Some(Way::Native), || panic!("no engine is looked for"));
        assert_eq!(native.ok(), Some(Way::Native));
        let asked = Some(Way::Containers);
        assert_eq!(Way::of("redis", asked, || Ok(())).ok(), Some(Way::Containers));
        let error = Way::of("redis", asked, silent).expect_err("no engine answers");
        let text = error.to_string();
        assert!(text.contains("nobody is there") && text.contains("DOCKER_HOST"), "{text}");
        let error = Way::of("redis-cluster", asked, || Ok(())).expect_err("it has no image");
        assert!(matches!(error, ServiceError::NoContainer { name: "redis-cluster" }));
    }

    #[test]
    fn words_are_those_of_the_command_line() {
        assert_eq!(Way::named("containers"), Some(Way::Containers));
        assert_eq!(Way::named("native"), Some(Way::Native));
        assert_eq!(Way::named("podman"), None);
    }
}
