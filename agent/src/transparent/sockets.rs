//! What the system knows of a redirected connection, and what it must be told to let one through.
//!
//! In: sockets. Out: the same with their options set, or what one of them says.
//! Left out on purpose: other systems than Linux, where listeners in these modes are refused at the start.
//! Source: `ip(7)` (`IP_TRANSPARENT`), `socket(7)` (`SO_MARK`), Linux's `nf_conntrack` (`SO_ORIGINAL_DST`).

use std::io;
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::config::ListenMode;

/// Where `stream` was going before it came here.
///
/// # Errors
/// The system does not know: the connection was not redirected.
pub(crate) fn destination(stream: &TcpStream, mode: ListenMode) -> io::Result<SocketAddr> {
    let here = stream.local_addr()?;
    match mode {
        ListenMode::Proxy | ListenMode::Tproxy => Ok(canonical(here)),
        ListenMode::Redirect => original(stream, here),
    }
}

/// IPv4 within IPv6 as IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Lets `listener` take connections to addresses that are not this host's.
///
/// # Errors
/// The agent has no `CAP_NET_ADMIN`.
pub(crate) fn accept_any_address(listener: &TcpListener) -> io::Result<()> {
    let address = listener.local_addr()?;
    any_address(&SockRef::from(listener), address)
}

/// A socket to connect to `to` with; from `source`, which need not be this host's.
///
/// # Errors
/// An option is refused, most likely for want of `CAP_NET_ADMIN`.
pub(crate) fn dialling(
    to: SocketAddr,
    source: Option<SocketAddr>,
    mark: Option<u32>,
) -> io::Result<TcpSocket> {
    let socket = of_family(to)?;
    if let Some(mark) = mark {
        set_mark(&SockRef::from(&socket), mark)?;
    }
    if let Some(source) = source {
        any_address(&SockRef::from(&socket), source)?;
        socket.bind(source)?;
    }
    Ok(socket)
}

fn of_family(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }
}

#[cfg(target_os = "linux")]
fn original(stream: &TcpStream, here: SocketAddr) -> io::Result<SocketAddr> {
    let socket = SockRef::from(stream);
    let told = if here.ip().to_canonical().is_ipv4() {
        socket.original_dst_v4()?
    } else {
        socket.original_dst_v6()?
    };
    let address = told.as_socket().map(canonical);
    address.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(target_os = "linux")]
fn any_address(socket: &SockRef<'_>, like: SocketAddr) -> io::Result<()> {
    if like.is_ipv4() {
        socket.set_ip_transparent_v4(true)
    } else {
        socket.set_ip_transparent_v6(true)
    }
}

#[cfg(target_os = "linux")]
fn set_mark(socket: &SockRef<'_>, mark: u32) -> io::Result<()> {
    socket.set_mark(mark)
}

#[cfg(not(target_os = "linux"))]
fn original(_: &TcpStream, _: SocketAddr) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn any_address(_: &SockRef<'_>, _: SocketAddr) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn set_mark(_: &SockRef<'_>, _: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
