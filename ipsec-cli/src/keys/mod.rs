//! The subcommands about keys.

pub mod mailkey;
pub mod newhostkey;
pub mod ranbits;
pub mod rsasigkey;
pub mod showhostkey;

use rsa::rand_core::{TryCryptoRng, TryRng, UnwrapErr};
use std::convert::Infallible;
use std::fs::File;
use std::io::Read;

/// This host's name.
pub fn hostname() -> String {
    nix::unistd::gethostname()
        .map_or_else(|_| "localhost".into(), |n| n.to_string_lossy().into_owned())
}

/// The local time as ctime(3) writes it.
pub fn date() -> String {
    jiff::Zoned::now()
        .strftime("%a %b %e %H:%M:%S %Y")
        .to_string()
}

/// Randomness out of a device. A device that ends or fails ends the program: going on would mean a weak key.
pub struct DeviceRng {
    device: File,
    name: String,
    command: &'static str,
}

impl DeviceRng {
    /// Opens a device for a command, which is named in messages.
    pub fn open(name: &str, command: &'static str) -> Result<UnwrapErr<Self>, String> {
        let device = File::open(name).map_err(|e| format!("could not open {name} ({e})"))?;
        Ok(UnwrapErr(Self {
            device,
            name: name.to_string(),
            command,
        }))
    }
}

impl TryRng for DeviceRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        if let Err(error) = self.device.read_exact(bytes) {
            eprintln!("{}: read error on {} ({error})", self.command, self.name);
            std::process::exit(1);
        }
        Ok(())
    }
}

impl TryCryptoRng for DeviceRng {}
