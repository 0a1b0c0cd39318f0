//! Where the server is, and how tests share it.

/// What a report calls the store.
pub(crate) const NAME: &str = "redis";

/// The service that the tests need.
pub(crate) const SERVICE: &str = "redis-cluster";

/// The variable with the URL of the server.
pub(crate) const VARIABLE: &str = "DTX_TEST_REDIS_CLUSTER_URL";

/// The part of a URL that keeps tests apart.
pub(crate) const APART: &str = "prefix";

/// A server that is not there.
pub(crate) const NOBODY: &str = "redis://ann:s3cret@127.0.0.1:1";

/// A part that no store can have.
pub(crate) const WRONG: &str = "redis://h:1?prefix=a:b";
