//! Messages of the kernel about links and addresses (rtnetlink(7)). Their content is not read: what matters is that
//! something happened.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR` of linux/rtnetlink.h.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;
/// Read at once; messages that do not fit are cut off, which does no harm here.
const BUFFER_BYTES: usize = 4096;

pub(super) struct Events(AsyncFd<OwnedFd>);

impl Events {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for want of a trait; an OwnedFd keeps the promise it asks for"
    )]
    pub(super) fn subscribe() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkRoute,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        AsyncFd::with_interest(socket, Interest::READABLE).map(Self)
    }

    /// Waits until something happened.
    pub(super) async fn next(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            if let Ok(result) = ready.try_io(|socket| read(socket.get_ref())) {
                return result;
            }
        }
    }

    /// Drops what else has arrived.
    pub(super) fn drain(&mut self) {
        while read(self.0.get_ref()).is_ok() {}
    }
}

fn read(socket: &OwnedFd) -> io::Result<()> {
    let mut buffer = [0; BUFFER_BYTES];
    match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        // More messages than the kernel keeps for us: certainly something happened.
        Ok(_) | Err(Errno::ENOBUFS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
