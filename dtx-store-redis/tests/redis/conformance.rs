//! The store passes the suite on one server.

dtx_testkit::store_conformance!(crate::harness::Harness<crate::SharedServer>);
