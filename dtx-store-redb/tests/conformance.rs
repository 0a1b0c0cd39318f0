//! The store passes the suite.
#![allow(missing_docs)]

mod common;

dtx_testkit::store_conformance!(common::RedbHarness);
