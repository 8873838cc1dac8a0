//! Descriptors that the program names by their numbers.

use std::collections::BTreeSet;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::process;
use crate::locks;

/// The numbers that are in use; two owners would close what is not theirs.
static ADOPTED: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// A descriptor that was open before. It is closed when this is dropped if it has been taken over; else it
/// stays as it is.
#[derive(Debug)]
pub(crate) struct Adopted {
    descriptor: ManuallyDrop<OwnedFd>,
    is_ours: AtomicBool,
}

impl Adopted {
    /// Begins to use a descriptor, which the program leaves alone meanwhile, as the interface demands.
    ///
    /// # Errors
    ///
    /// It is not open, or is in use by another of these.
    pub(crate) fn new(number: RawFd) -> io::Result<Self> {
        // Locked until it is noted: a descriptor that is being closed is not adopted.
        let mut adopted = locks::lock(&ADOPTED);
        // SAFETY: F_GETFD takes any number, and no pointer.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
            let kind = io::ErrorKind::InvalidInput;
            return Err(io::Error::new(kind, "it is not open"));
        }
        if !adopted.insert(number) {
            let kind = io::ErrorKind::AddrInUse;
            return Err(io::Error::new(
                kind,
                "another server of this process uses it",
            ));
        }
        // SAFETY: it is open, and so not -1. The program has named it for us to use, and closes it only after
        // this is dropped without having taken it over. No other `Adopted` has it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        Ok(Self {
            descriptor: ManuallyDrop::new(descriptor),
            is_ours: AtomicBool::new(false),
        })
    }

    /// From now on it is ours to close.
    pub(crate) fn take_over(&self) {
        self.is_ours.store(true, Ordering::SeqCst);
    }

    /// From now on it is the program's to close.
    pub(crate) fn give_back(&self) {
        self.is_ours.store(false, Ordering::SeqCst);
    }
}

impl AsFd for Adopted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        // In a forked child, which adopts nothing, the lock may have been held at the fork.
        let adopted = (!process::is_forked_child()).then(|| locks::lock(&ADOPTED));
        let number = self.descriptor.as_raw_fd();
        if self.is_ours.load(Ordering::SeqCst) {
            // SAFETY: it is dropped once, here, and not used after.
            unsafe { ManuallyDrop::drop(&mut self.descriptor) };
        }
        // Only now may the next descriptor of this number be adopted.
        if let Some(mut adopted) = adopted {
            adopted.remove(&number);
        }
    }
}
