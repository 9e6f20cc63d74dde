//! Pages of a contestant, and the samples on them.
//!
//! In: an address and a path. Out: the body, or the sum of the samples that match.
//! Left out on purpose: everything of HTTP that a scrape on loopback does not need.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Failure;

const PATIENCE: Duration = Duration::from_secs(10);

/// The body of `GET path`, where the answer is 200.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String, Failure> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    // Of a 1.0 request no server chunks the answer.
    write!(connection, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or("an answer without an end of its head")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(format!("`{path}` at {address} answered `{status}`, not 200").into());
    }
    Ok(body.to_owned())
}

/// The sum of the samples of `name` whose labels hold `label` (`outcome="sent"`; empty for all).
pub(crate) fn sum(text: &str, name: &str, label: &str) -> f64 {
    let samples = text.lines().filter_map(|line| line.strip_prefix(name));
    let ours = samples.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label));
    ours.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
