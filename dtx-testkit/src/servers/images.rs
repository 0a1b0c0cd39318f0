//! The images that containers are made from.

use std::env;

/// The image of a service: an official one of a fixed version, unless a variable names another,
/// such as one that `scripts/local-images` has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// The service.
    pub service: &'static str,
    /// Its name and tag in the registry.
    pub official: &'static str,
    /// The environment variable that names another.
    pub variable: &'static str,
}

/// The images of all services that can run in a container.
pub const IMAGES: [Image; 4] = [
    Image { service: "postgres", official: "postgres:17.5", variable: "DTX_TEST_POSTGRES_IMAGE" },
    Image { service: "redis", official: "redis:7.2.5", variable: "DTX_TEST_REDIS_IMAGE" },
    Image { service: "kafka", official: "apache/kafka:4.1.0", variable: "DTX_TEST_KAFKA_IMAGE" },
    Image { service: "nats", official: "nats:2.10.22", variable: "DTX_TEST_NATS_IMAGE" },
];

impl Image {
    /// That of this service.
    pub fn of(service: &str) -> Option<&'static Self> {
        IMAGES.iter().find(|image| image.service == service)
    }

    /// The image to use: what the variable names, else the official one.
    pub fn chosen(&self) -> String {
        let named = env::var(self.variable).ok().filter(|image| !image.is_empty());
        named.unwrap_or_else(|| self.official.to_owned())
    }
}

/// Name and tag of an image. The port of a registry is no tag, and no tag means `latest`.
pub(super) fn name_and_tag(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::servers::{SERVICES, named};

    #[test]
    fn every_image_has_a_service_and_a_fixed_version() {
        for image in IMAGES {
            let service = named(image.service).expect("a service has this name");
            assert!(service.recipe(image.official, 1).is_some(), "{image:?}");
            let (name, tag) = name_and_tag(image.official);
            assert!(!name.is_empty() && tag.split('.').all(|part| part.parse::<u32>().is_ok()));
            let variable = service.name().to_uppercase().replace('-', "_");
            assert_eq!(image.variable, format!("DTX_TEST_{variable}_IMAGE"));
        }
        let names: BTreeSet<_> = IMAGES.iter().map(|image| image.service).collect();
        assert_eq!(names.len(), IMAGES.len());
    }

    #[test]
    fn a_service_without_an_image_has_no_container() {
        let is_native = |name: &str| Image::of(name).is_none();
        for service in SERVICES {
            let has_none = service.recipe("x:1", 1).is_none();
            assert_eq!(has_none, is_native(service.name()), "{}", service.name());
        }
        assert!(is_native("redis-cluster"));
    }

    #[test]
    fn the_port_of_a_registry_is_no_tag() {
        assert_eq!(name_and_tag("dtx/postgres:15"), ("dtx/postgres", "15"));
        assert_eq!(name_and_tag("here:5000/redis"), ("here:5000/redis", "latest"));
        assert_eq!(name_and_tag("here:5000/redis:7"), ("here:5000/redis", "7"));
        assert_eq!(name_and_tag("nats"), ("nats", "latest"));
    }
}
