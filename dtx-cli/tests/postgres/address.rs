//! Where the server is, and how tests share it.

/// What a report calls the store.
pub(crate) const NAME: &str = "postgres";

/// The service that the tests need.
pub(crate) const SERVICE: &str = "postgres";

/// The variable with the URL of the server.
pub(crate) const VARIABLE: &str = "DTX_TEST_POSTGRES_URL";

/// The part of a URL that keeps tests apart.
pub(crate) const APART: &str = "schema";

/// A server that is not there.
pub(crate) const NOBODY: &str = "postgres://ann:s3cret@127.0.0.1:1/d";

/// A part that no store can have.
pub(crate) const WRONG: &str = "postgres://h/d?schema=a-b";
