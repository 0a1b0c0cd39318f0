//! The store passes the suite on a cluster.

dtx_testkit::store_conformance!(crate::harness::Harness<dtx_testkit::servers::RedisCluster>);
