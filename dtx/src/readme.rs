//! The code in the README is compiled with the tests.

#[doc = include_str!("../../README.md")]
struct Readme;
