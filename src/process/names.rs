//! Resolves a name to the addresses of one family or of both: the standard library can only ask for
//! both.
#![allow(unsafe_code, reason = "getaddrinfo can only be called with unsafe calls")]

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, c_int};

/// `EAI_NODATA` of netdb.h, the same number in glibc and musl; the bindings lack it.
const NO_DATA: c_int = -5;

/// Which kinds of addresses to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Any,
    Four,
    Six,
}

/// Why a name has no address.
#[derive(Clone, Debug)]
pub(crate) enum NoAddress {
    /// There is no such name; in the C library's words.
    Unknown(String),
    /// The name has no address of this kind.
    Empty(String),
    /// A name server failed or did not answer.
    Failed(String),
    /// A system call failed with this errno.
    System(i32),
}

/// Asks the C library, which reads `/etc/hosts` and asks name servers (getaddrinfo(3)). This can
/// take long and cannot be interrupted. The port of each address is 0.
///
/// # Errors
/// Why there is no address.
pub(crate) fn addresses(name: &str, family: Family) -> Result<Vec<SocketAddr>, NoAddress> {
    // No name contains a NUL byte; such a name becomes the empty one, which is not a name either.
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: all-zero is a valid `addrinfo`: numbers, and null pointers.
    let mut hints: libc::addrinfo = unsafe { MaybeUninit::zeroed().assume_init() };
    hints.ai_family = match family {
        Family::Any => libc::AF_UNSPEC,
        Family::Four => libc::AF_INET,
        Family::Six => libc::AF_INET6,
    };
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut list = ptr::null_mut();
    // SAFETY: the name ends with a NUL byte. The name and the hints outlive the call, which writes
    // nothing but the list.
    let code =
        unsafe { libc::getaddrinfo(name.as_ptr(), ptr::null(), &raw const hints, &raw mut list) };
    if code != 0 {
        return Err(understood(code));
    }
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: getaddrinfo made the list; each entry is valid until the list is freed, and the last
    // one has a null `ai_next`.
    while let Some(entry) = unsafe { next.as_ref() } {
        found.extend(address(entry));
        next = entry.ai_next;
    }
    // SAFETY: the list comes from getaddrinfo and is not used after this.
    unsafe { libc::freeaddrinfo(list) };
    Ok(found)
}

fn address(entry: &libc::addrinfo) -> Option<SocketAddr> {
    match entry.ai_family {
        libc::AF_INET => {
            // SAFETY: an entry of this family holds an address of this type, which may be
            // unaligned.
            let address = unsafe { ptr::read_unaligned(entry.ai_addr.cast::<libc::sockaddr_in>()) };
            let ip = Ipv4Addr::from_bits(u32::from_be(address.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(ip, 0)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let address =
                unsafe { ptr::read_unaligned(entry.ai_addr.cast::<libc::sockaddr_in6>()) };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, 0, 0, address.sin6_scope_id)))
        }
        _ => None,
    }
}

fn understood(code: c_int) -> NoAddress {
    if code == libc::EAI_SYSTEM {
        return NoAddress::System(Errno::last_raw());
    }
    // SAFETY: gai_strerror returns text that is never changed or freed.
    let words = unsafe { CStr::from_ptr(libc::gai_strerror(code)) }.to_string_lossy().into_owned();
    match code {
        libc::EAI_NONAME => NoAddress::Unknown(words),
        NO_DATA => NoAddress::Empty(words),
        _ => NoAddress::Failed(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_its_own_addresses_alone() {
        let four = "192.0.2.7:0".parse().expect("an address");
        let six = "[2001:db8::7]:0".parse().expect("an address");
        for (name, family, expected) in [
            ("192.0.2.7", Family::Any, Some(four)),
            ("192.0.2.7", Family::Four, Some(four)),
            ("192.0.2.7", Family::Six, None),
            ("2001:db8::7", Family::Any, Some(six)),
            ("2001:db8::7", Family::Four, None),
            ("2001:db8::7", Family::Six, Some(six)),
        ] {
            assert_eq!(addresses(name, family).ok(), expected.map(|found| vec![found]), "{name}");
        }
    }

    #[test]
    fn what_is_no_name_has_no_address() {
        for name in ["", "a\0b", "a..b"] {
            assert!(matches!(addresses(name, Family::Any), Err(NoAddress::Unknown(_))), "{name:?}");
        }
    }
}
