// SPDX-License-Identifier: GPL-2.0

//! Transforms of the kernel's crypto API, and its deflate.
//!
//! Only synchronous implementations: the core transforms a packet in one call, softirqs off, and
//! has nowhere to put one that is half done. What hardware behind a queue would win is less than
//! what the queue costs for a packet.
//!
//! Making a transform sleeps, and so does setting an AEAD's key; everything else here does not.

use core::ffi::CStr;
use core::ptr::NonNull;

use klips::CryptoError;
use klips::home::{MAX_MAC, NONCE};

use super::c;
use super::gate::Inside;

/// The longest IV, in bytes.
const MAX_IV: usize = klips::transform::MAX_IV;
/// The most segments one MAC is taken over.
const MAX_SEGMENTS: usize = 16;

/// The kernel's -ENOMEM and -EBADMSG.
const ENOMEM: i32 = -12;
const EBADMSG: i32 = -74;

/// What `make` made, or why it made nothing.
fn made<T>(make: impl FnOnce(*mut i32) -> *mut T) -> Result<NonNull<T>, CryptoError> {
    let mut error = 0;
    let made = make(&raw mut error);
    NonNull::new(made).ok_or(if error == ENOMEM {
        CryptoError::NoMemory
    } else {
        CryptoError::Unsupported
    })
}

/// A cipher. The crypto API wipes its key when it is freed.
pub(crate) struct Skcipher(NonNull<c::crypto_sync_skcipher>);

// SAFETY: a transform whose key is set is only read, by as many requests at a time as there are;
// setting the key takes `&mut`.
unsafe impl Send for Skcipher {}
// SAFETY: as above.
unsafe impl Sync for Skcipher {}

impl Skcipher {
    /// The cipher of this name, without a key yet; `load`: a module may be loaded for
    /// it. May sleep.
    pub(crate) fn new(name: &CStr, load: bool) -> Result<Self, CryptoError> {
        // SAFETY: the name ends in a zero byte, the error is writable; the caller may sleep.
        made(|error| unsafe { c::klips_h_cipher_new(name.as_ptr().cast(), load, error) }).map(Self)
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
    pub(crate) fn crypt(
        &self,
        encrypt: bool,
        iv: &[u8],
        data: &mut [u8],
    ) -> Result<(), CryptoError> {
        // The crypto API leaves the next IV in the place of the one it was given, and takes as many
        // bytes as the cipher wants.
        let mut own = [0; MAX_IV];
        own.get_mut(..iv.len())
            .ok_or(CryptoError::BadLength)?
            .copy_from_slice(iv);
        let len = u32::try_from(data.len()).map_err(|_| CryptoError::BadLength)?;
        // SAFETY: the transform has its key; `own` is as long as any IV of the table, `data`
        // writable for its length.
        match unsafe {
            c::klips_h_crypt(
                self.0.as_ptr(),
                encrypt,
                own.as_mut_ptr(),
                data.as_mut_ptr(),
                len,
            )
        } {
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

/// An AEAD. The crypto API wipes its key when it is freed.
pub(crate) struct Aead(NonNull<c::crypto_aead>);

// SAFETY: as for Skcipher; a request is the CPU's own.
unsafe impl Send for Aead {}
// SAFETY: as above.
unsafe impl Sync for Aead {}

impl Aead {
    /// The AEAD of this name, with an ICV of `icv` bytes and this key; `load` as above.
    /// May sleep.
    pub(crate) fn new(
        name: &CStr,
        icv: usize,
        key: &[u8],
        load: bool,
    ) -> Result<Self, CryptoError> {
        // SAFETY: the name ends in a zero byte, the error is writable; the caller may sleep.
        let aead = made(|error| unsafe {
            c::klips_h_aead_new(name.as_ptr().cast(), icv as u32, load, error)
        })
        .map(Self)?;
        // SAFETY: the transform is ours alone, the key readable for its length; the caller may
        // sleep.
        match unsafe { c::klips_h_aead_key(aead.0.as_ptr(), key.as_ptr(), key.len() as u32) } {
            0 => Ok(aead),
            ENOMEM => Err(CryptoError::NoMemory),
            _ => Err(CryptoError::BadKey),
        }
    }

    /// Encrypts and authenticates, or checks and decrypts, `data` in place, at whose end the ICV
    /// is. Any context but hard interrupts.
    pub(crate) fn crypt(
        &self,
        encrypt: bool,
        nonce: &[u8; NONCE],
        aad: &[u8],
        data: &mut [u8],
    ) -> Result<(), CryptoError> {
        let mut own = *nonce;
        let len = u32::try_from(data.len()).map_err(|_| CryptoError::BadLength)?;
        let aad_len = u32::try_from(aad.len()).map_err(|_| CryptoError::BadLength)?;
        let (iv, aad, data) = (own.as_mut_ptr(), aad.as_ptr().cast_mut(), data.as_mut_ptr());
        // SAFETY: the transform has its key, and nonces of this length; `aad` is readable for its
        // length and not written to, since it is passed on as it is where source and destination
        // are one; `data` is writable for its length. The helper turns softirqs
        // off while it uses this CPU's request.
        match unsafe {
            c::klips_h_aead_crypt(self.0.as_ptr(), encrypt, iv, aad, aad_len, data, len)
        } {
            0 => Ok(()),
            EBADMSG => Err(CryptoError::BadTag),
            _ => Err(CryptoError::BadLength),
        }
    }
}

impl Drop for Aead {
    fn drop(&mut self) {
        // SAFETY: ours, and not used afterwards; works with softirqs off.
        unsafe { c::klips_h_aead_free(self.0.as_ptr()) }
    }
}

/// A keyed hash. The crypto API wipes its key when it is freed.
pub(crate) struct Shash(NonNull<c::crypto_shash>);

// SAFETY: as for Skcipher; the state of a computation is on the stack.
unsafe impl Send for Shash {}
// SAFETY: as above.
unsafe impl Sync for Shash {}

impl Shash {
    /// The hash of this name, without a key yet; `load`: a module may be loaded for
    /// it. May sleep.
    pub(crate) fn new(name: &CStr, load: bool) -> Result<Self, CryptoError> {
        // SAFETY: the name ends in a zero byte, the error is writable; the caller may sleep.
        made(|error| unsafe { c::klips_h_mac_new(name.as_ptr().cast(), load, error) }).map(Self)
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
    pub(crate) fn digest(
        &self,
        segments: &[&[u8]],
        out: &mut [u8; MAX_MAC],
    ) -> Result<(), CryptoError> {
        let mut list = [c::klips_segment {
            at: core::ptr::null(),
            len: 0,
        }; MAX_SEGMENTS];
        let count = segments.len();
        let filled = list.get_mut(..count).ok_or(CryptoError::BadLength)?;
        for (entry, segment) in filled.iter_mut().zip(segments) {
            *entry = c::klips_segment {
                at: segment.as_ptr(),
                len: segment.len(),
            };
        }
        // SAFETY: the transform has its key; each segment is readable for its length, `out`
        // writable for its.
        match unsafe {
            c::klips_h_mac(
                self.0.as_ptr(),
                list.as_ptr(),
                count,
                out.as_mut_ptr(),
                out.len(),
            )
        } {
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

/// Whether the process at hand may have the kernel load modules: one that administers the machine's
/// network may, and not one that has only a namespace of its own.
pub(crate) fn may_load() -> bool {
    // SAFETY: no condition; process context.
    unsafe { c::klips_h_may_load() }
}

/// Makes deflate's workspaces and requests for AEADs, one a CPU, and finds out which transforms the
/// kernel has. May sleep.
pub(super) fn init() -> Result<(), i32> {
    // SAFETY: called once, at load, where sleeping is allowed.
    match unsafe { c::klips_h_deflate_init() } {
        0 => {}
        error => return Err(error),
    }
    // SAFETY: as above.
    match unsafe { c::klips_h_aead_init() } {
        0 => {
            crate::home::crypto::probe();
            Ok(())
        }
        error => {
            // SAFETY: nothing can have used them yet.
            unsafe { c::klips_h_deflate_exit() };
            Err(error)
        }
    }
}

/// Gives them back, once nothing of the module runs.
pub(super) fn exit() {
    // SAFETY: called last of all, when no packet can be in `deflate`, `inflate` or an AEAD.
    unsafe {
        c::klips_h_deflate_exit();
        c::klips_h_aead_exit();
    }
}

/// Compresses `buffer[..len]` in place, by this CPU's workspace.
pub(crate) fn deflate(_: &Inside, buffer: &mut [u8], len: usize) -> Result<usize, CryptoError> {
    let data = buffer.get_mut(..len).ok_or(CryptoError::BadLength)?;
    // SAFETY: `data` is writable for its length; inside the gate nothing else on this CPU uses its
    // workspace.
    let now = unsafe { c::klips_h_deflate(data.as_mut_ptr(), data.len()) };
    usize::try_from(now).map_err(|_| CryptoError::BadData)
}

/// Decompresses `buffer[..len]` in place, into all of `buffer` at most, by this CPU's
/// workspace.
pub(crate) fn inflate(_: &Inside, buffer: &mut [u8], len: usize) -> Result<usize, CryptoError> {
    if len > buffer.len() {
        return Err(CryptoError::BadLength);
    }
    // SAFETY: `buffer` is writable for its length, which `len` does not exceed; inside the gate
    // nothing else on this CPU uses its workspace.
    let now = unsafe { c::klips_h_inflate(buffer.as_mut_ptr(), len, buffer.len()) };
    usize::try_from(now).map_err(|_| CryptoError::BadData)
}
