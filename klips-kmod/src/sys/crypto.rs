//! Transforms of the kernel's crypto API, and its deflate.
//!
//! Only synchronous implementations: the core transforms a packet in one call, softirqs off, and has nowhere to put one that is
//! half done. What hardware behind a queue would win is less than what the queue costs for a packet.
//!
//! Making a transform sleeps; everything else here does not, keys included.

use core::ffi::CStr;
use core::ptr::NonNull;

use klips::CryptoError;
use klips::home::MAX_MAC;

use super::c;

/// The longest IV, in bytes.
const MAX_IV: usize = klips::transform::MAX_IV;
/// The most segments one MAC is taken over.
const MAX_SEGMENTS: usize = 16;

/// A cipher. The crypto API wipes its key when it is freed.
pub(crate) struct Skcipher(NonNull<c::crypto_sync_skcipher>);

// SAFETY: a transform whose key is set is only read, by as many requests at a time as there are; setting the key takes `&mut`.
unsafe impl Send for Skcipher {}
// SAFETY: as above.
unsafe impl Sync for Skcipher {}

impl Skcipher {
    /// The cipher of this name, without a key yet. May sleep.
    pub(crate) fn new(name: &CStr) -> Result<Self, CryptoError> {
        // SAFETY: the name ends in a zero byte; the caller may sleep.
        let made = unsafe { c::klips_h_cipher_new(name.as_ptr().cast()) };
        NonNull::new(made).map(Self).ok_or(CryptoError::Unsupported)
    }

    /// Sets the key.
    pub(crate) fn set_key(&mut self, key: &[u8]) -> Result<(), CryptoError> {
        // SAFETY: the transform is ours alone, the key readable for its length.
        match unsafe { c::klips_h_cipher_key(self.0.as_ptr(), key.as_ptr(), key.len() as u32) } {
            0 => Ok(()),
            _ => Err(CryptoError::BadKey),
        }
    }

    /// Encrypts or decrypts `data` in place.
    pub(crate) fn crypt(&self, encrypt: bool, iv: &[u8], data: &mut [u8]) -> Result<(), CryptoError> {
        // The crypto API leaves the next IV in the place of the one it was given, and takes as many bytes as the cipher wants.
        let mut own = [0; MAX_IV];
        own.get_mut(..iv.len()).ok_or(CryptoError::BadLength)?.copy_from_slice(iv);
        let len = u32::try_from(data.len()).map_err(|_| CryptoError::BadLength)?;
        // SAFETY: the transform has its key; `own` is as long as any IV of the table, `data` writable for its length.
        match unsafe { c::klips_h_crypt(self.0.as_ptr(), encrypt, own.as_mut_ptr(), data.as_mut_ptr(), len) } {
            0 => Ok(()),
            _ => Err(CryptoError::BadLength),
        }
    }
}

impl Drop for Skcipher {
    fn drop(&mut self) {
        // SAFETY: ours, and not used afterwards; works with softirqs off.
        unsafe { c::klips_h_cipher_free(self.0.as_ptr()) }
    }
}

/// A keyed hash. The crypto API wipes its key when it is freed.
pub(crate) struct Shash(NonNull<c::crypto_shash>);

// SAFETY: as for Skcipher; the state of a computation is on the stack.
unsafe impl Send for Shash {}
// SAFETY: as above.
unsafe impl Sync for Shash {}

impl Shash {
    /// The hash of this name, without a key yet. May sleep.
    pub(crate) fn new(name: &CStr) -> Result<Self, CryptoError> {
        // SAFETY: the name ends in a zero byte; the caller may sleep.
        let made = unsafe { c::klips_h_mac_new(name.as_ptr().cast()) };
        NonNull::new(made).map(Self).ok_or(CryptoError::Unsupported)
    }

    /// Sets the key.
    pub(crate) fn set_key(&mut self, key: &[u8]) -> Result<(), CryptoError> {
        // SAFETY: the transform is ours alone, the key readable for its length.
        match unsafe { c::klips_h_mac_key(self.0.as_ptr(), key.as_ptr(), key.len() as u32) } {
            0 => Ok(()),
            _ => Err(CryptoError::BadKey),
        }
    }

    /// The hash over the segments, at the start of `out`.
    pub(crate) fn digest(&self, segments: &[&[u8]], out: &mut [u8; MAX_MAC]) -> Result<(), CryptoError> {
        let mut list = [c::klips_segment { at: core::ptr::null(), len: 0 }; MAX_SEGMENTS];
        let count = segments.len();
        let filled = list.get_mut(..count).ok_or(CryptoError::BadLength)?;
        for (entry, segment) in filled.iter_mut().zip(segments) {
            *entry = c::klips_segment { at: segment.as_ptr(), len: segment.len() };
        }
        // SAFETY: the transform has its key; each segment is readable for its length, `out` writable for its.
        match unsafe { c::klips_h_mac(self.0.as_ptr(), list.as_ptr(), count, out.as_mut_ptr(), out.len()) } {
            0 => Ok(()),
            _ => Err(CryptoError::BadLength),
        }
    }
}

impl Drop for Shash {
    fn drop(&mut self) {
        // SAFETY: ours, and not used afterwards; works with softirqs off.
        unsafe { c::klips_h_mac_free(self.0.as_ptr()) }
    }
}

/// Makes deflate's workspaces, one a CPU. May sleep.
pub(crate) fn init() -> Result<(), i32> {
    // SAFETY: called once, at load, where sleeping is allowed.
    match unsafe { c::klips_h_deflate_init() } {
        0 => Ok(()),
        error => Err(error),
    }
}

/// Gives them back, once nothing of the module runs.
pub(crate) fn exit() {
    // SAFETY: called last of all, when no packet can be in `deflate` or `inflate`.
    unsafe { c::klips_h_deflate_exit() }
}

/// Compresses `buffer[..len]` in place. Inside the gate only.
pub(crate) fn deflate(buffer: &mut [u8], len: usize) -> Result<usize, CryptoError> {
    let data = buffer.get_mut(..len).ok_or(CryptoError::BadLength)?;
    // SAFETY: `data` is writable for its length; inside the gate nothing else on this CPU uses its workspace.
    let now = unsafe { c::klips_h_deflate(data.as_mut_ptr(), data.len()) };
    usize::try_from(now).map_err(|_| CryptoError::BadData)
}

/// Decompresses `buffer[..len]` in place, into all of `buffer` at most. Inside the gate only.
pub(crate) fn inflate(buffer: &mut [u8], len: usize) -> Result<usize, CryptoError> {
    if len > buffer.len() {
        return Err(CryptoError::BadLength);
    }
    // SAFETY: `buffer` is writable for its length, which `len` does not exceed; inside the gate nothing else on this CPU uses
    // its workspace.
    let now = unsafe { c::klips_h_inflate(buffer.as_mut_ptr(), len, buffer.len()) };
    usize::try_from(now).map_err(|_| CryptoError::BadData)
}
