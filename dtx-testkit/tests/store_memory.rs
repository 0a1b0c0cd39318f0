//! The store in memory passes the suite.
#![allow(missing_docs)]

dtx_testkit::store_conformance!(dtx_testkit::store::MemoryHarness);
