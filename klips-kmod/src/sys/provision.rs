// SPDX-License-Identifier: GPL-2.0

//! What a writer brings along into the closed gate, where nothing can be had that may sleep.
//!
//! A write is tried; what it lacked is recorded here, made with the gate open, and the write is
//! tried again with all that was ever lacking at hand. The stash is reached through a variable of
//! the CPU, since the writer stays on one while the gate is closed.

use core::cell::RefCell;

use klips::{CryptoError, NoMemory};

use super::c;
use crate::home::crypto::{Kind, Object};

/// The most things one write may lack.
const MOST: usize = 12;

/// A thing that can only be made asleep.
#[derive(PartialEq, Eq)]
enum Want {
    Memory(usize),
    Transform(Kind),
}

enum Thing {
    Memory(Block),
    Transform(Object),
    /// The kernel would not make it, whoever asks.
    Refused(CryptoError),
}

/// Memory from kvmalloc that nobody uses yet.
struct Block(*mut core::ffi::c_void);

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: it came from kvmalloc, and this is its owner.
        unsafe { c::klips_h_kvfree(self.0) }
    }
}

#[derive(Default)]
struct Slot {
    want: Option<Want>,
    thing: Option<Thing>,
}

/// One writer's stash.
#[derive(Default)]
pub(crate) struct Stash {
    slots: [Slot; MOST],
    /// Something was asked for at the last try that was not here.
    lacked: bool,
    /// More was lacking than there are slots.
    overrun: bool,
    /// What lacks now is not to be had.
    given_up: bool,
}

impl Stash {
    /// Whether the last try asked for something that was not here, and that making may bring.
    pub(crate) fn lacked(&self) -> bool {
        self.lacked && !self.given_up
    }

    /// Nothing more is to be made: the next try is the last one, with what there is.
    pub(crate) fn give_up(&mut self) {
        self.given_up = true;
    }

    /// Makes what was lacking. To be called where sleeping is allowed, and with no lock held that
    /// others may want: a transform may have to be loaded.
    pub(crate) fn provide(&mut self) -> Result<(), NoMemory> {
        self.lacked = false;
        if self.overrun {
            return Err(NoMemory);
        }
        for slot in &mut self.slots {
            let (Some(want), None) = (&slot.want, &slot.thing) else {
                continue;
            };
            slot.thing = Some(match want {
                Want::Memory(bytes) => {
                    // SAFETY: the caller may sleep.
                    let at = unsafe { c::klips_h_kvmalloc(*bytes) };
                    if at.is_null() {
                        return Err(NoMemory);
                    }
                    Thing::Memory(Block(at))
                }
                Want::Transform(kind) => match kind.make(super::crypto::may_load()) {
                    Ok(object) => Thing::Transform(object),
                    Err(CryptoError::NoMemory) => return Err(NoMemory),
                    Err(error) => Thing::Refused(error),
                },
            });
        }
        Ok(())
    }

    fn take(&mut self, want: Want) -> Option<Thing> {
        let same = |slot: &&mut Slot| slot.want.as_ref() == Some(&want) && slot.thing.is_some();
        if let Some(slot) = self.slots.iter_mut().find(same) {
            return match slot.thing {
                Some(Thing::Refused(error)) => Some(Thing::Refused(error)),
                _ => slot.thing.take(),
            };
        }
        self.lacked = true;
        match self.slots.iter_mut().find(|slot| slot.want.is_none()) {
            Some(slot) => slot.want = Some(want),
            None => self.overrun = true,
        }
        None
    }
}

/// Runs `f`, a write with the gate closed, with `stash` in reach of what it calls.
pub(super) fn with<R>(stash: &RefCell<Stash>, f: impl FnOnce() -> R) -> R {
    // SAFETY: the gate is closed, so this CPU runs nothing else that could look; the pointer is
    // gone before `stash` can be.
    unsafe { c::klips_h_set_stash(core::ptr::from_ref(stash).cast_mut().cast()) };
    let answer = f();
    // SAFETY: as above.
    unsafe { c::klips_h_set_stash(core::ptr::null_mut()) };
    answer
}

fn current() -> Option<&'static RefCell<Stash>> {
    // SAFETY: the variable is empty except inside `with`, on this CPU alone, where softirqs are
    // off; then what it points to is borrowed by `with` for longer than any caller of this private
    // function keeps it.
    unsafe { c::klips_h_stash().cast::<RefCell<Stash>>().as_ref() }
}

/// Whether a writer runs here.
pub(super) fn is_open() -> bool {
    current().is_some()
}

/// `bytes` bytes that the writer brought; `None` when it has to bring them yet.
pub(super) fn take_memory(bytes: usize) -> Option<*mut core::ffi::c_void> {
    match current()?.borrow_mut().take(Want::Memory(bytes))? {
        Thing::Memory(block) => Some(core::mem::ManuallyDrop::new(block).0),
        Thing::Transform(_) | Thing::Refused(_) => None,
    }
}

/// A transform object of this kind that the writer brought; `NoMemory` when it has to bring it yet,
/// another error when there is none to be had.
pub(crate) fn take_transform(kind: Kind) -> Result<Object, CryptoError> {
    let stash = current().ok_or(CryptoError::NoMemory)?;
    match stash.borrow_mut().take(Want::Transform(kind)) {
        Some(Thing::Transform(object)) => Ok(object),
        Some(Thing::Refused(error)) => Err(error),
        Some(Thing::Memory(_)) | None => Err(CryptoError::NoMemory),
    }
}
