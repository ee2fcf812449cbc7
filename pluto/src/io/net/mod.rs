//! The network as pluto sees it: which addresses there are (`interfaces`), the IKE sockets on them
//! (`sockets`), those for first messages (`first`), those for NAT traversal (`encap`), the default routes (`routes`), and what
//! routers and peers complain about (`errors`).

pub mod encap;
pub mod errors;
pub mod first;
pub mod interfaces;
pub mod routes;
pub mod sockets;
