//! Waiting for a descriptor or for being told to stop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Tells any number of threads to stop; stays told.
#[derive(Debug)]
pub struct Stop(EventFd);

impl Stop {
    /// Not told yet.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self(EventFd::from_flags(
            EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
        )?))
    }

    /// Tells them.
    pub fn stop(&self) {
        let _ = self.0.write(1);
    }

    /// Waits until one of `fds` is readable or broken (`true`), or stop was told (`false`).
    pub fn wait(&self, fds: &[BorrowedFd<'_>]) -> bool {
        let mut polled: Vec<PollFd<'_>> = std::iter::once(self.0.as_fd())
            .chain(fds.iter().copied())
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        // An interrupted poll is as good as a spurious wake-up: whoever waits reads without blocking.
        let _ = poll(&mut polled, PollTimeout::NONE);
        !polled
            .first()
            .is_some_and(|stop| stop.any().unwrap_or(false))
    }
}

/// Wakes one thread that polls it; can be taken back and used again.
#[derive(Debug)]
pub struct Wake(EventFd);

impl Wake {
    /// Not woken yet.
    ///
    /// # Errors
    /// Out of file descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self(EventFd::from_flags(
            EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
        )?))
    }

    /// Makes it readable.
    pub fn wake(&self) {
        let _ = self.0.write(1);
    }

    /// Makes it unreadable.
    pub fn clear(&self) {
        let _ = self.0.read();
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
