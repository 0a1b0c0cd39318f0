//! The store passes the suite on a cluster.

dtx_testkit::store_conformance!(crate::harness::Harness<crate::SharedServer>);
