//! What a caller speaks, from its first bytes.
//!
//! In: the bytes so far. Out: a [`Protocol`], or that more are needed.
//! Left out on purpose: names of what is not HTTP; all of that passes as it is.
//! Source: RFC 9112, section 3 (request line); RFC 9113, section 3.4 (preface); RFC 8446, section 5.1 (record layer).

/// Longest method that is waited for; longer ones are no HTTP that anybody speaks.
const MAX_METHOD: usize = 32;
/// Bytes of a request line that are waited for; of a longer one the beginning decides.
pub(crate) const MAX_LINE: usize = 8 << 10;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a caller speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// A request line of HTTP/1.
    Http1,
    /// The preface of HTTP/2.
    Http2,
    /// The first record of a TLS handshake.
    Tls,
    /// HTTP/1 as one speaks to a proxy: `CONNECT`, or an absolute target.
    ToProxy,
    /// Something else.
    Other,
}

/// What `bytes` begin; `None` where more of them are needed to say. More bytes never change what was said.
pub(crate) fn recognise(bytes: &[u8]) -> Option<Protocol> {
    match bytes {
        [] => None,
        // A handshake record; versions 3.0 to 3.4 stand for SSL 3 to TLS 1.3.
        [0x16, rest @ ..] => match rest {
            [] => None,
            [0x03, ..] => Some(Protocol::Tls),
            _ => Some(Protocol::Other),
        },
        _ if PREFACE.starts_with(bytes) || bytes.starts_with(PREFACE) => {
            (bytes.len() >= PREFACE.len()).then_some(Protocol::Http2)
        }
        _ => request_line(bytes),
    }
}

/// What to do with a caller that began and went silent: a request line that is still incomplete is one.
pub(crate) fn settle(bytes: &[u8]) -> Protocol {
    let line = split_method(bytes).is_some_and(|(_, target)| target.starts_with(b"/"));
    if line { Protocol::Http1 } else { Protocol::Other }
}

fn request_line(bytes: &[u8]) -> Option<Protocol> {
    let Some((method, rest)) = split_method(bytes) else {
        let may_be_method = bytes.len() <= MAX_METHOD && bytes.iter().copied().all(is_token);
        return if may_be_method {
            None
        } else {
            Some(Protocol::Other)
        };
    };
    match rest.first() {
        None => return None,
        Some(byte) if !byte.is_ascii_graphic() => return Some(Protocol::Other),
        Some(_) => {}
    }
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
        if rest.iter().any(|byte| byte.is_ascii_control() && *byte != b'\r') {
            return Some(Protocol::Other);
        }
        return (bytes.len() >= MAX_LINE).then(|| settle(bytes));
    };
    let line = rest.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let target = [b" HTTP/1.1", b" HTTP/1.0"]
        .iter()
        .find_map(|version| line.strip_suffix(version.as_slice()));
    let Some(target) = target.filter(|target| target.iter().all(|byte| !byte.is_ascii_control())) else {
        return Some(Protocol::Other);
    };
    let origin = method != b"CONNECT" && (target.starts_with(b"/") || target == b"*");
    Some(if origin {
        Protocol::Http1
    } else {
        Protocol::ToProxy
    })
}

/// The method and what follows its space.
fn split_method(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().take(MAX_METHOD + 1).position(|byte| *byte == b' ')?;
    let (method, rest) = bytes.split_at_checked(end)?;
    (!method.is_empty() && method.iter().copied().all(is_token)).then_some((method, rest.get(1..)?))
}

/// A character of a method (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn first_bytes_say_what_a_caller_speaks() {
        use Protocol::{Http1, Http2, Other, Tls, ToProxy};
        for (bytes, expected) in [
            (&b""[..], None),
            (b"GE", None),
            (b"GET", None),
            (b"GET /orders/17 HTTP/1", None),
            (b"GET /orders/17 HTTP/1.1\r\n", Some(Http1)),
            (b"get /orders/17 HTTP/1.0\n", Some(Http1)),
            (b"OPTIONS * HTTP/1.1\r\nhost: x\r\n", Some(Http1)),
            (b"M-SEARCH / HTTP/1.1\r\n", Some(Http1)),
            (b"PRI * HTTP/2.0\r\n\r\nSM", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", Some(Http2)),
            (b"PRI * HTTP/2.0\r\n\r\nXM\r\n\r\n", Some(Other)),
            (b"CONNECT db:5432 HTTP/1.1\r\n", Some(ToProxy)),
            (b"GET http://shop/ HTTP/1.1\r\n", Some(ToProxy)),
            (b"\x16", None),
            (b"\x16\x03\x01\x02\0", Some(Tls)),
            (b"\x16\x05", Some(Other)),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Some(Other)),
            (b"PING\r\n", Some(Other)),
            (b"get key\r\n", Some(Other)),
            (b"OPTIONS rtsp://camera RTSP/1.0\r\n", Some(Other)),
            (b"*1\r\n$4\r\nPING\r\n", Some(Other)),
            (b"AMQP\0\0\x09\x01", Some(Other)),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", Some(Other)),
            (b"GET  / HTTP/1.1\r\n", Some(Other)),
            (b" GET / HTTP/1.1\r\n", Some(Other)),
            (b"GET /\0 HTTP/1.1\r\n", Some(Other)),
        ] {
            let said = recognise(bytes);
            assert_eq!(said, expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_request_line_that_never_ends_is_what_it_began_as() {
        let long = |begin: &str| [begin.as_bytes(), &vec![b'a'; MAX_LINE]].concat();
        assert_eq!(recognise(&long("GET /")), Some(Protocol::Http1));
        assert_eq!(recognise(&long("get ")), Some(Protocol::Other));
        assert_eq!(settle(b"POST /slow"), Protocol::Http1);
        assert_eq!(settle(b"POST"), Protocol::Other);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_more_of_them_change_nothing_that_was_said(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..64),
                "(GET|CONNECT|PRI|\\*)? ?(/|\\*|http://a)?[ -~\\r\\n]{0,40}( HTTP/[12]\\.[01])?(\r\n)?".prop_map(String::into_bytes),
            ],
            cut in 0_usize..64,
        ) {
            let whole = recognise(&bytes);
            let part = recognise(bytes.get(..cut).unwrap_or(&bytes));
            prop_assert!(part.is_none() || part == whole, "{part:?} became {whole:?}");
            settle(&bytes);
        }
    }
}
