//! The module comes and goes: thousands of times, under traffic, with SAs, eroutes and sockets in place.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use pfkey::SaType;
use pfkey::client::Client;
use pfkey::request;
use socket2::{Domain, Protocol, Socket, Type};
use testing::kernel::times;
use testing::{KernelMemory, Netns, module, sh};
use tunnel::{Pair, Traffic};

mod tunnel;

testing::on_klips_ko!(
    loaded_and_taken_out_a_thousand_times,
    taken_out_and_put_back_under_traffic,
    sockets_hold_the_module,
    loads_that_fail_leave_nothing,
);

/// Whoever uses the module is gone a little later than it looks.
fn unload() {
    for _ in 0..200 {
        if module::unload() != Err(Errno::EAGAIN) {
            break;
        }
        sleep(Duration::from_millis(20));
    }
    assert!(
        !std::path::Path::new("/proc/net/ipsec_version").exists(),
        "{} use it still",
        module::users()
    );
}

fn load() {
    module::load()
        .unwrap_or_else(|error| panic!("not loaded: {error}\n{}", sh("dmesg | tail -n 20")));
}

fn cycles(count: u32) {
    for _ in 0..count {
        unload();
        load();
    }
}

fn loaded_and_taken_out_a_thousand_times() {
    let elsewhere = Netns::new();
    cycles(times(20));
    let before = KernelMemory::settled();
    cycles(times(1000));
    // 1 kB a load would be 1000.
    KernelMemory::settled().assert_flat_since(&before, 600);
    elsewhere.sh("ip link show ipsec3");
}

fn taken_out_and_put_back_under_traffic() {
    let pair = Pair::new();
    pair.key();
    let traffic = Traffic::start(&pair);
    traffic.goes_on(20);
    let mut before = None;
    for round in 0..times(50) {
        // No PF_KEY socket is open, so it goes, with SAs, eroutes and packets under way. The route beneath ipsec0's closes the way.
        unload();
        sleep(Duration::from_millis(u64::from(round % 7)));
        load();
        pair.key();
        traffic.goes_on(5);
        if round == 4 {
            before = Some(KernelMemory::settled());
        }
    }
    KernelMemory::settled().assert_flat_since(&before.expect("there were rounds"), 400);
    assert_eq!(pair.leaked(), 0, "plain packets on the wire");
    drop(traffic);
    // And as an administrator does it.
    pair.clear();
    unload();
    load();
}

fn pf_key() -> Socket {
    const PF_KEY_V2: i32 = 2;
    let family = Domain::from(nix::libc::PF_KEY);
    Socket::new(family, Type::RAW, Some(Protocol::from(PF_KEY_V2))).expect("the module is loaded")
}

/// Sends open files to the other end of `to`.
fn pass(to: &UnixDatagram, files: &[RawFd]) {
    let control = [ControlMessage::ScmRights(files)];
    sendmsg::<()>(
        to.as_raw_fd(),
        &[IoSlice::new(b"x")],
        &control,
        MsgFlags::empty(),
        None,
    )
    .expect("passed");
}

fn sockets_hold_the_module() {
    let first = module::users();
    let elsewhere = Netns::new();
    let (here, there) = (pf_key(), elsewhere.enter(pf_key));
    // The kernel counts a socket more than once.
    let each = (module::users() - first) / 2;
    assert!(each > 0 && module::users() == first + 2 * each);
    assert_eq!(module::unload(), Err(Errno::EAGAIN));
    // A namespace lives as long as a socket of it, and the socket works.
    drop(elsewhere);
    let mut client = Client::from(OwnedFd::from(there));
    client
        .call(|buf, ids| request::register(buf, ids, SaType::Esp))
        .expect("an answer");
    drop((here, client));
    assert_eq!(module::users(), first);

    // One that is on its way from one process to another, and then is thrown away with what it was in.
    let (left, right) = UnixDatagram::pair().expect("a pair of sockets");
    let on_its_way = pf_key();
    pass(&left, &[on_its_way.as_raw_fd()]);
    drop(on_its_way);
    assert_eq!(module::users(), first + each);
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let received = recvmsg::<()>(
        right.as_raw_fd(),
        &mut bytes,
        Some(&mut space),
        MsgFlags::empty(),
    )
    .expect("received");
    let Some(ControlMessageOwned::ScmRights(files)) = received.cmsgs().expect("a message").next()
    else {
        panic!("no file came");
    };
    // SAFETY: the kernel has just made it for us alone.
    let arrived = unsafe { Socket::from_raw_fd(files[0]) };
    pass(&left, &[arrived.as_raw_fd()]);
    drop(arrived);
    assert_eq!(module::users(), first + each);
    drop((left, right));
    gone(first);

    // In sockets that hold each other, where only the kernel's collector finds it.
    let (left, right) = UnixDatagram::pair().expect("a pair of sockets");
    let lost = pf_key();
    pass(&left, &[lost.as_raw_fd(), right.as_raw_fd()]);
    pass(&right, &[left.as_raw_fd()]);
    drop((lost, left, right));
    assert_eq!(module::users(), first + each);
    // The collector works when a socket is closed while any is on its way.
    drop(UnixDatagram::pair());
    gone(first);

    unload();
    load();
}

/// Waits until no more than `first` use the module.
#[track_caller]
fn gone(first: u32) {
    for _ in 0..100 {
        if module::users() == first {
            return;
        }
        sleep(Duration::from_millis(20));
    }
    assert_eq!(module::users(), first);
}

/// One namespace of several has a device where an ipsecN should be: what the others were given already goes again.
fn loads_that_fail_leave_nothing() {
    let (first, second, third) = (Netns::new(), Netns::new(), Netns::new());
    unload();
    second.sh("ip link add ipsec2 type dummy");
    let fail = |count: u32| {
        for _ in 0..count {
            assert_eq!(module::load(), Err(Errno::EEXIST));
        }
    };
    fail(times(10));
    let before = KernelMemory::settled();
    fail(times(100));
    KernelMemory::settled().assert_flat_since(&before, 200);
    let log = sh("dmesg | grep 'klips: ipsec' | tail -n 1");
    assert!(
        log.contains("klips: ipsec2 cannot be made, error -17"),
        "{log}"
    );
    for net in [&first, &third] {
        assert!(!net.sh("ip link").contains("ipsec"));
        assert_eq!(net.sh("ls /proc/net | grep ipsec_ || true"), "");
    }
    second.sh("ip link del ipsec2");
    load();
    third.sh("ip link show ipsec3");
}
