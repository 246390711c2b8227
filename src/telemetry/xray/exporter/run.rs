//! Datagrams of one size, which Linux takes with one call: to ask it for each of them costs more than to have them
//! sent.

use std::io;
use std::net::{SocketAddr, UdpSocket};

/// The most datagrams of one call, by the kernel's `UDP_MAX_SEGMENTS`.
const MOST: usize = 64;
/// The most bytes of one call: what a datagram could have.
const LONGEST: usize = 65_507;
/// Sizes are multiples of it, so that those a little larger than the first find room too.
const STEP: usize = 128;
/// What passes every network in one piece, as each datagram of a run has to: Ethernet's 1,500 bytes less the headers of
/// IPv6 and UDP, 1,452, in whole steps.
const WHOLE: usize = 1_452 / STEP * STEP;
/// The same where no network is in between.
const WHOLE_WITHIN: usize = 16_384;

/// How large a datagram to `address` may be to go by a run, in bytes; 0 where that is not known to work.
pub(super) fn largest(address: SocketAddr) -> usize {
    match address.ip().is_loopback() {
        _ if !cfg!(target_os = "linux") => 0,
        true => WHOLE_WITHIN,
        false => WHOLE,
    }
}

/// Documents that wait to be sent together, padded with blanks to one size: behind a JSON document they mean nothing.
#[derive(Debug, Default)]
pub(super) struct Run {
    bytes: Vec<u8>,
    /// Of each datagram.
    size: usize,
}

impl Run {
    /// Whether a datagram of this length may come next: it must not be larger than the first, nor so small that it is
    /// blanks above all.
    pub(super) fn takes(&self, length: usize) -> bool {
        let has_room = self.count() < MOST && self.bytes.len() + self.size <= LONGEST;
        self.bytes.is_empty() || (has_room && length <= self.size && length > self.size / 2)
    }

    /// Adds a datagram, a header and a document, that [`Run::takes`]; returns its size.
    pub(super) fn push(&mut self, header: &[u8], document: &[u8]) -> usize {
        if self.bytes.is_empty() {
            // At once, for what grows is copied again and again.
            self.bytes.reserve(LONGEST);
            self.size = (header.len() + document.len()).next_multiple_of(STEP);
        }
        let end = self.bytes.len() + self.size;
        self.bytes.extend_from_slice(header);
        self.bytes.extend_from_slice(document);
        self.bytes.resize(end, b' ');
        self.size
    }

    pub(super) fn count(&self) -> usize {
        self.bytes.len().checked_div(self.size).unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// One by one.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(self.size.max(1))
    }

    /// Sends all of them with one call, without waiting.
    ///
    /// # Errors
    /// Among others where the network card or the kernel cannot take them apart, and where the socket has no room for all
    /// of them; none of them is sent then.
    #[cfg(target_os = "linux")]
    pub(super) fn send(&self, socket: &UdpSocket, address: SocketAddr) -> io::Result<()> {
        let size = u16::try_from(self.size).map_err(io::Error::other)?;
        let (pieces, address, control) = ([io::IoSlice::new(&self.bytes)], address.into(), segments_of(size));
        let message = socket2::MsgHdr::new().with_addr(&address);
        let message = message.with_buffers(&pieces).with_control(&control);
        socket2::SockRef::from(socket).sendmsg(&message, 0).map(drop)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn send(&self, _: &UdpSocket, _: SocketAddr) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The control message that has the kernel take a buffer apart: a `cmsghdr` (length, `SOL_UDP`, `UDP_SEGMENT`) and the
/// size of a datagram, by `udp(7)`.
#[cfg(target_os = "linux")]
fn segments_of(size: u16) -> [u8; 24] {
    const LENGTH: usize = size_of::<usize>() + 8 + size_of::<u16>();
    const SOL_UDP: i32 = 17;
    const UDP_SEGMENT: i32 = 103;
    let [level, kind] = [SOL_UDP, UDP_SEGMENT].map(i32::to_ne_bytes);
    let mut message = [0; 24];
    let fields = [&LENGTH.to_ne_bytes()[..], &level, &kind, &size.to_ne_bytes()].concat();
    message.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_go_by_a_run_is_not_padded_to_more() {
        for address in ["127.0.0.1:2000", "192.0.2.7:2000", "[2001:db8::7]:2000"] {
            let most = largest(address.parse().unwrap());
            let mut run = Run::default();
            assert_eq!(run.push(b"{}\n", &vec![b'x'; most - 3]), most, "{address}");
        }
        assert!(largest("192.0.2.7:2000".parse().unwrap()) <= 1_452);
    }

    #[test]
    fn a_run_takes_what_is_about_as_large_as_its_first() {
        let mut run = Run::default();
        assert!(run.takes(10_000), "anything comes first");
        assert_eq!(run.push(b"{}\n", &[b'x'; 800]), 896);
        for (length, expected) in [(896, true), (897, false), (449, true), (448, false)] {
            assert_eq!(run.takes(length), expected, "{length}");
        }
        while run.takes(896) {
            run.push(b"{}\n", b"{}");
        }
        assert_eq!(run.count(), MOST);
        assert!(run.datagrams().all(|datagram| datagram.len() == 896));
        let second = run.datagrams().nth(1).unwrap();
        assert_eq!(second.trim_ascii_end(), b"{}\n{}");
        run.clear();
        assert!(run.takes(1) && run.count() == 0);
        run.push(b"", &[b'x'; 16_000]);
        while run.takes(16_000) {
            run.push(b"", &[b'x'; 16_000]);
        }
        assert_eq!(run.count(), LONGEST / 16_000);
    }
}
