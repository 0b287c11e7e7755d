//! The only unsafe code of the gateway: two ioctls of the TUN driver and its registration.
#![expect(
    unsafe_code,
    reason = "TUNSETIFF, TUNSETOFFLOAD and tokio's AsyncFd have no safe wrapper"
)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::ioctl::{IntegerSetter, Opcode, Setter, ioctl, opcode};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `TUNSETIFF` and `TUNSETOFFLOAD` of `linux/if_tun.h`.
const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
const TUNSETOFFLOAD: Opcode = opcode::write::<u32>(b'T', 208);

/// `IFF_TUN | IFF_NO_PI | IFF_VNET_HDR`: IP packets, each behind a 10-byte `virtio_net_hdr`.
const FLAGS: u16 = 0x0001 | 0x1000 | 0x4000;
/// `TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6`: the kernel may hand over partial checksums and
/// TCP packets of up to 64 KiB.
const OFFLOADS: usize = 0x01 | 0x02 | 0x04;

/// `struct ifreq` of `linux/if.h` as `TUNSETIFF` reads it: a name, flags, and the rest of the union.
#[repr(C)]
struct IfReq {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// Makes `tun`, an open `/dev/net/tun`, the TUN device `name` of the current network namespace.
///
/// `name` is cut to 15 bytes.
///
/// # Errors
/// What the kernel answers; `EPERM` without `CAP_NET_ADMIN` in the namespace.
pub(super) fn attach_tun(tun: impl AsFd, name: &str) -> io::Result<()> {
    let mut request = IfReq {
        name: [0; 16],
        flags: FLAGS,
        rest: [0; 22],
    };
    for (to, from) in request.name.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    // SAFETY: TUNSETIFF reads one `struct ifreq` of 40 bytes, which `IfReq` lays out in full; the
    // kernel writes the same 40 bytes back, into the copy that the setter owns.
    unsafe { ioctl(tun, Setter::<TUNSETIFF, IfReq>::new(request)) }?;
    Ok(())
}

/// Tells the driver that partial checksums and large TCP packets are understood.
///
/// # Errors
/// What the kernel answers; `EINVAL` for a driver without these offloads.
pub(super) fn enable_offloads(tun: impl AsFd) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes a bit set by value and touches no memory of the process.
    unsafe { ioctl(tun, IntegerSetter::<TUNSETOFFLOAD>::new_usize(OFFLOADS)) }?;
    Ok(())
}

/// Registers `device` with the runtime of the current thread, for reading.
///
/// # Errors
/// What epoll(7) answers.
pub(super) fn watch(device: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped, and the `AsyncFd`
    // that takes it over deregisters before it drops it.
    let watched = unsafe { AsyncFd::register_with_interest(device, Interest::READABLE) };
    Ok(watched?)
}

#[cfg(test)]
mod tests {
    use super::{IfReq, TUNSETIFF, TUNSETOFFLOAD};

    #[test]
    fn the_request_has_the_size_and_the_numbers_of_the_kernel() {
        assert_eq!(size_of::<IfReq>(), 40);
        assert_eq!(TUNSETIFF, 0x4004_54ca);
        assert_eq!(TUNSETOFFLOAD, 0x4004_54d0);
    }
}
