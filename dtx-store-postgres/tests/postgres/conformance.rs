//! The store passes the suite.

dtx_testkit::store_conformance!(super::harness::PgHarness);
