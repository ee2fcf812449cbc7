//! Some rows of `make interop`'s matrix, so that no change breaks what works with the peers.

use testing::Keys;
use testing::interop::{Mode, Role, Wrap, try_rows};
use testing::peer::Kind;

testing::in_test_kernel!(strongswan_on_klipsd, libreswan_on_klipsd);
testing::on_klips_ko!(strongswan_on_klips_ko, libreswan_on_klips_ko);

fn strongswan_on_klipsd() {
    try_rows(Kind::Strongswan, |row| {
        row.suite.ours[1] == "aes128-sha1"
            && row.wrap == Wrap::Esp
            && row.pfs
            && row.keys == Keys::Rsa
            && row.mode == Mode::Tunnel
    });
}

fn libreswan_on_klipsd() {
    try_rows(Kind::Libreswan, |row| {
        row.suite.ours[1] == "3des-sha1" && row.role == Role::They && row.mode == Mode::Tunnel
    });
}

fn strongswan_on_klips_ko() {
    try_rows(Kind::Strongswan, |row| {
        row.suite.ours[1] == "3des-sha1" && row.keys == Keys::Psk && row.mode == Mode::Transport
    });
}

fn libreswan_on_klips_ko() {
    try_rows(Kind::Libreswan, |row| {
        row.suite.ours[1] == "aes128-sha1"
            && row.keys == Keys::Rsa
            && row.wrap == Wrap::Esp
            && row.pfs
    });
}
