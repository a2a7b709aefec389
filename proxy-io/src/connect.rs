//! Outgoing connections.
//!
//! monoio's own connect makes the socket itself, without the options that the core may ask for, so the socket is made
//! here, connected without waiting, and watched until it is writable.

use std::io;
use std::net::SocketAddr;

use proxy_core::command::{Address, ConnectOptions, IoError};
use socket2::{Domain, SockAddr, Socket as StdSocket, Type};

use crate::errno;
use crate::kernel::Socket;
use crate::listen::to_address;

/// Connects to `address`; the result is the socket and its own address.
pub(crate) async fn connect(
    address: Address,
    options: ConnectOptions,
    nonblocking: bool,
) -> Result<(Socket, Address), IoError> {
    connect_socket(&address, &options, nonblocking).await.map_err(|error| errno::number(&error))
}

async fn connect_socket(
    address: &Address,
    options: &ConnectOptions,
    nonblocking: bool,
) -> io::Result<(Socket, Address)> {
    let (domain, to) = match address {
        Address::Ip(ip) => (Domain::for_address(*ip), SockAddr::from(*ip)),
        Address::Unix(path) => (Domain::UNIX, SockAddr::unix(&**path)?),
    };
    let kind = if options.datagram { Type::DGRAM } else { Type::STREAM };
    // A datagram socket gets a random port from the kernel here, and what others send to it never arrives.
    let socket = StdSocket::new(domain, kind.nonblocking(), None)?;
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.recv_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    if domain != Domain::UNIX && !options.datagram {
        socket.set_tcp_nodelay(true)?;
        if options.keepalive {
            socket.set_keepalive(true)?;
        }
        if let Some(address) = options.bind {
            bind(&socket, address, options.transparent)?;
        }
    }
    let waiting = match socket.connect(&to) {
        Ok(()) => false,
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => true,
        Err(error) => return Err(error),
    };
    let socket = Socket::new(socket)?;
    if waiting {
        socket.writable().await?;
        if let Some(error) = socket.options().take_error()? {
            return Err(error);
        }
    }
    if !nonblocking {
        socket.options().set_nonblocking(false)?;
    }
    let local = to_address(&socket.options().local_addr()?);
    Ok((socket, local))
}

/// Binds an outgoing socket. Without a port of its own the system chooses one when it connects, so that the same one
/// may serve connections to several servers.
fn bind(socket: &StdSocket, address: SocketAddr, transparent: bool) -> io::Result<()> {
    if transparent {
        match address {
            SocketAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
            SocketAddr::V6(_) => crate::kernel::set_transparent_v6(socket)?,
        }
    }
    if address.port() == 0 {
        // Not every kernel has it, and without it the port is only chosen earlier.
        let _ = crate::kernel::set_bind_address_no_port(socket);
    } else {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&SockAddr::from(address))
}
