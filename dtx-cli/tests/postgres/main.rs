//! The program on a real PostgreSQL server, whose URL is in `DTX_TEST_POSTGRES_URL`.
