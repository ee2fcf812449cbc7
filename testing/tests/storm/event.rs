//! What can happen in a storm, how it begins, and how it is undone.

use rand::rngs::StdRng;

use super::below;
use super::world::{Gateway, World};

/// Something that happens to the world. What it does is undone by [`Event::end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The public address goes, and comes back.
    AddressGoes(Gateway),
    /// Another address joins the public one, and goes again.
    AddressJoins(Gateway),
    /// The cable is pulled.
    LinkDown(Gateway),
    /// The public device vanishes, and one of the same name comes.
    DeviceGoes(Gateway),
    /// The default route goes, and comes back.
    RouteGoes(Gateway),
    /// The keying daemon dies.
    PlutoDies(Gateway),
    /// All daemons die, and nobody starts them before the end.
    DaemonsDie(Gateway),
    /// An administrator restarts everything.
    Restart(Gateway),
    /// The gateway boots anew: nobody was told, and its tables are empty.
    Boot(Gateway),
    /// A third of all packets is lost.
    Loss,
    /// Packets come late and overtake each other.
    Delay,
    /// The NAT forgets its mappings.
    NatForgets,
    /// The resolver falls silent.
    ResolverSilent,
    /// The name servers fall silent.
    NamedSilent,
    /// The clock of the machine is set forward by an hour, and back.
    ClockForward,
    /// The clock of the machine is set back by an hour, and forward.
    ClockBack,
    /// The files of the policy groups change, and change back.
    PolicyEdited,
    /// A tunnel is asked for again though it is there.
    UpAgain,
}

impl Event {
    /// Any of them, anywhere.
    pub fn random(rng: &mut StdRng) -> Event {
        let gateway = Gateway::ALL[below(rng, Gateway::ALL.len() as u32) as usize];
        match below(rng, 18) {
            0 => Event::AddressGoes(gateway),
            1 => Event::AddressJoins(gateway),
            2 => Event::LinkDown(gateway),
            3 => Event::DeviceGoes(gateway),
            4 => Event::RouteGoes(gateway),
            5 => Event::PlutoDies(gateway),
            6 => Event::DaemonsDie(gateway),
            7 => Event::Restart(gateway),
            8 => Event::Boot(gateway),
            9 => Event::Loss,
            10 => Event::Delay,
            11 => Event::NatForgets,
            12 => Event::ResolverSilent,
            13 => Event::NamedSilent,
            14 => Event::ClockForward,
            15 => Event::ClockBack,
            16 => Event::PolicyEdited,
            _ => Event::UpAgain,
        }
    }

    /// Whether the two can't overlap: they change the same thing, and the end of one would undo the other.
    pub fn clashes(&self, other: &Event) -> bool {
        match (self.gateway(), other.gateway()) {
            (Some(one), Some(two)) => one == two,
            (None, None) => self.kind() == other.kind(),
            _ => false,
        }
    }

    /// Where it happens, for what happens to one gateway.
    fn gateway(&self) -> Option<Gateway> {
        match *self {
            Event::AddressGoes(gateway)
            | Event::AddressJoins(gateway)
            | Event::LinkDown(gateway)
            | Event::DeviceGoes(gateway)
            | Event::RouteGoes(gateway)
            | Event::PlutoDies(gateway)
            | Event::DaemonsDie(gateway)
            | Event::Restart(gateway)
            | Event::Boot(gateway) => Some(gateway),
            _ => None,
        }
    }

    /// What it changes, for what happens to all.
    fn kind(&self) -> u8 {
        match self {
            Event::Loss | Event::Delay => 1,
            Event::NatForgets => 2,
            Event::ResolverSilent | Event::NamedSilent => 3,
            Event::ClockForward | Event::ClockBack => 4,
            Event::PolicyEdited => 5,
            _ => 6,
        }
    }

    /// Makes it happen.
    pub fn begin(&self, world: &World<'_>) {
        match *self {
            Event::AddressGoes(gateway) => {
                world.run(
                    gateway,
                    &format!("ip addr del {}/24 dev eth1", gateway.address()),
                );
            }
            Event::AddressJoins(gateway) => {
                world.run(
                    gateway,
                    &format!("ip addr add {}/24 dev eth1", gateway.second_address()),
                );
            }
            Event::LinkDown(gateway) => world.run(gateway, "ip link set eth1 down"),
            Event::DeviceGoes(gateway) => world.run(gateway, "ip link del eth1"),
            Event::RouteGoes(gateway) => world.run(gateway, "ip route del default"),
            Event::PlutoDies(gateway) => world.run(gateway, "pkill -9 -x pluto"),
            Event::DaemonsDie(gateway) => {
                // Whoever watches them first, or they are started again at once.
                world.run(gateway, "pkill -9 -x ipsec; pkill -9 -x 'pluto|klipsd'");
            }
            Event::Restart(gateway) => world.run(gateway, "ipsec setup restart"),
            Event::Boot(gateway) => world.shut_down(gateway),
            Event::Loss => world.lose(30.0),
            Event::Delay => world.netem("delay 40ms 30ms"),
            Event::NatForgets => world.nat_forgets(),
            Event::ResolverSilent => world.net.stop_resolver(),
            Event::NamedSilent => world.net.stop_named(),
            Event::ClockForward => world.step_clock(3600),
            Event::ClockBack => world.step_clock(-3600),
            Event::PolicyEdited => world.edit_policies("192.0.4.0/24\n"),
            Event::UpAgain => world.run(Gateway::West, "ipsec auto --up net-to-net"),
        }
    }

    /// Undoes it.
    pub fn end(&self, world: &World<'_>) {
        match *self {
            Event::AddressGoes(gateway) => {
                world.run(
                    gateway,
                    &format!("ip addr add {}/24 dev eth1", gateway.address()),
                );
                world.default_route(gateway);
            }
            Event::AddressJoins(gateway) => {
                world.run(
                    gateway,
                    &format!("ip addr del {}/24 dev eth1", gateway.second_address()),
                );
            }
            Event::LinkDown(gateway) => {
                world.run(gateway, "ip link set eth1 up");
                world.default_route(gateway);
            }
            Event::DeviceGoes(gateway) => {
                world.attach(gateway);
                world.default_route(gateway);
            }
            Event::RouteGoes(gateway) => world.default_route(gateway),
            Event::DaemonsDie(gateway) => world.run(gateway, "ipsec setup start"),
            Event::Boot(gateway) => world.boot(gateway),
            Event::Loss => world.lose(0.0),
            Event::Delay => world.netem(""),
            Event::ResolverSilent => world.net.start_resolver(),
            Event::NamedSilent => world.net.start_named(),
            Event::ClockForward => world.step_clock(-3600),
            Event::ClockBack => world.step_clock(3600),
            Event::PolicyEdited => world.edit_policies(""),
            Event::PlutoDies(_) | Event::Restart(_) | Event::NatForgets | Event::UpAgain => {}
        }
    }
}
