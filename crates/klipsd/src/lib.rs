//! KLIPS in user space: TUN devices, raw sockets, worker threads and ciphers around `klips`.
