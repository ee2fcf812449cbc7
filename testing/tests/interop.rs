//! Some rows of `make interop`'s matrix, so that no change breaks what works with the peers.

use testing::Keys;
use testing::interop::{Mode, Role, Row, Wrap, try_rows};
use testing::peer::Kind;

testing::in_test_kernel!(strongswan_on_klipsd, libreswan_on_klipsd);
testing::on_klips_ko!(
    strongswan_on_klips_ko,
    libreswan_on_klips_ko,
    libipsec_on_klips_ko,
);

/// A row with this ESP proposal, PFS, and nothing else than ESP.
fn plain(row: &Row, esp: &str) -> bool {
    row.suite.ours[1] == esp && row.pfs && row.wrap == Wrap::Esp
}

fn strongswan_on_klipsd() {
    try_rows(Kind::Strongswan, |row| {
        plain(row, "aes128-sha1") && row.keys == Keys::Rsa && row.mode == Mode::Tunnel
    });
}

fn strongswan_on_klips_ko() {
    try_rows(Kind::Strongswan, |row| {
        (plain(row, "3des-sha1")
            && row.keys == Keys::Psk
            && row.role == Role::We
            && row.mode == Mode::Transport)
            || (row.wrap == Wrap::Compressed && row.role == Role::They && row.mode == Mode::Tunnel)
    });
}

fn libreswan_on_klipsd() {
    try_rows(Kind::Libreswan, |row| {
        plain(row, "3des-sha1") && row.keys == Keys::Psk && row.mode == Mode::Tunnel
    });
}

fn libreswan_on_klips_ko() {
    try_rows(Kind::Libreswan, |row| {
        plain(row, "aes128-sha1") && row.keys == Keys::Rsa && row.role == Role::They
    });
}

fn libipsec_on_klips_ko() {
    try_rows(Kind::Libipsec, |row| {
        plain(row, "aes_gcm128-null") && row.role == Role::We
    });
}

/// strongSwan with ESP in user space, which needs no test kernel.
#[test]
fn libipsec_in_namespaces() {
    try_rows(Kind::Libipsec, |row| {
        plain(row, "aes128-sha1") || (plain(row, "aes_gcm256-null") && row.role == Role::They)
    });
}
