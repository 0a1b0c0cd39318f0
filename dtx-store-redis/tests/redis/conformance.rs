//! The store passes the suite on one server.

dtx_testkit::store_conformance!(crate::harness::Harness<dtx_testkit::servers::Redis>);
