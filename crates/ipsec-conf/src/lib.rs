//! `ipsec.conf` and policy-group files, with errors that point at file and line.
