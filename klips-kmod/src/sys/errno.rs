// SPDX-License-Identifier: GPL-2.0

//! Errnos in and out of the kernel's calls, and those that the kernel crate has no name for.

use core::ffi::c_int;

use kernel::prelude::*;

use super::c;

/// The answer of a call that fails with a negative errno.
pub(crate) fn checked(answer: c_int) -> Result<c_int> {
    if answer < 0 {
        Err(Error::from_errno(answer))
    } else {
        Ok(answer)
    }
}

/// The same as a plain errno, negative, for parts of the module that start and stop.
pub(crate) fn plain(answer: c_int) -> Result<(), c_int> {
    if answer < 0 { Err(answer) } else { Ok(()) }
}

/// What a callback answers the kernel.
pub(crate) fn answer(result: Result<c_int>) -> c_int {
    result.unwrap_or_else(|error| error.to_errno())
}

macro_rules! names {
    ($($(#[$doc:meta])* $function:ident = $name:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $function() -> Error {
            Error::from_errno(-(c::$name as c_int))
        }
    )*};
}

names! {
    /// EMSGSIZE
    wrong_length = EMSGSIZE;
    /// EAFNOSUPPORT
    no_family = EAFNOSUPPORT;
    /// ESOCKTNOSUPPORT
    no_such_type = ESOCKTNOSUPPORT;
    /// EPROTONOSUPPORT
    no_such_protocol = EPROTONOSUPPORT;
    /// EOPNOTSUPP
    not_supported = EOPNOTSUPP;
}
