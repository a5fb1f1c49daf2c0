//! How much of an answer must have come before it is worth waking up for.
//!
//! A broker sends what it has of each partition by itself, so an answer comes in as many pieces as there are partitions
//! with something in it. The one `unsafe` call of this folder: no crate we have offers the option.

use std::io;
use std::mem::size_of_val;
use std::os::fd::AsRawFd;

/// Until so many bytes wait to be read, polling says nothing of `socket`; its end and its errors are always told. The
/// kernel takes the number as its aim: where its own buffers hold less, it wakes for less.
pub(super) fn wake_from(socket: &impl AsRawFd, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let length = size_of_val(&bytes) as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes at the pointer during the call and keeps nothing: `bytes` is an integer of
    // that size which outlives it. The descriptor is open as long as `socket` is borrowed, and no memory hangs on it.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const bytes).cast(),
            length,
        )
    };
    if set == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
