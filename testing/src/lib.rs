//! The testbed: hosts, links and captures for end-to-end tests.
