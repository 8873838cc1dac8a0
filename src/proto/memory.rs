//! Allocations that may fail.

use std::collections::TryReserveError;

/// Calls a function in which an allocation of up to so many bytes is guaranteed to succeed. Returns false,
/// without calling it, when that cannot be guaranteed. With it, the owner of a session
/// controls the allocations of the compression library, which has no fallible ones.
pub type Promise = fn(usize, &mut dyn FnMut()) -> bool;

/// A promise that relies on the system's allocator.
pub(super) fn trust(_bytes: usize, work: &mut dyn FnMut()) -> bool {
    work();
    true
}

/// Creates a value for which so many bytes are allocated at once.
#[cfg(feature = "deflate")]
pub(super) fn make<T>(
    promise: Promise,
    bytes: usize,
    mut make: impl FnMut() -> T,
) -> Result<T, Refused> {
    let mut made = None;
    promise(bytes, &mut || made = Some(make()));
    made.ok_or(Refused)
}

/// Allocates a box. It differs from a box of `T` only in its type.
pub(super) fn one<T>(value: T) -> Result<Box<[T; 1]>, Refused> {
    let mut one = Vec::new();
    one.try_reserve_exact(1)?;
    one.push(value);
    one.try_into().map_err(|_| Refused)
}

/// Allocates zeroed bytes.
pub(super) fn zeros(len: usize) -> Result<Box<[u8]>, Refused> {
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(len)?;
    zeros.resize(len, 0);
    Ok(zeros.into_boxed_slice())
}

/// Appends to a list.
pub(super) fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), Refused> {
    list.try_reserve(1)?;
    list.push(item);
    Ok(())
}

/// Copies a text.
pub(super) fn copy(text: &str) -> Result<String, Refused> {
    let mut copy = String::new();
    copy.try_reserve_exact(text.len())?;
    copy.push_str(text);
    Ok(copy)
}

/// An allocation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused;

impl From<TryReserveError> for Refused {
    fn from(_: TryReserveError) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "deflate")]
    #[test]
    fn what_cannot_be_promised_is_not_made() {
        fn never(_bytes: usize, _work: &mut dyn FnMut()) -> bool {
            false
        }

        assert_eq!(make(trust, 1, || 7), Ok(7));
        assert_eq!(make(never, 1, || 7), Err(Refused));
    }

    #[test]
    fn what_is_made_is_whole() {
        assert_eq!(one("x").as_deref(), Ok(&["x"]));
        assert_eq!(zeros(3).as_deref(), Ok(&[0; 3][..]));
        assert_eq!(copy("text").as_deref(), Ok("text"));
        let mut list = vec![1];
        assert_eq!((push(&mut list, 2), list), (Ok(()), vec![1, 2]));
    }
}
