//! Opportunism: policy groups and their files (`groups`), tunnels to whoever has a key in DNS (`initiate`), belief in whoever
//! comes (`respond`), what DNS is asked (`lookup`), and what stands where no tunnel does (`shunts`).
//!
//! Not here: the exchanges (`ike`), routes and eroutes (`route`), and the resolver, which is the driver's.

mod groups;

pub(crate) use groups::Groups;

/// All that opportunism remembers; the field `Engine::oppo`.
#[derive(Debug, Default)]
pub(crate) struct Oppo {
    pub(crate) groups: Groups,
}
