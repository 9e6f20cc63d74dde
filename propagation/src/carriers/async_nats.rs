//! Headers of NATS, as async-nats has them.
//!
//! In: headers of a message. Out: the same with keys replaced.
//! Left out on purpose: an order of keys, which the client does not keep.

use ::async_nats::header::{HeaderMap, HeaderName, HeaderValue};

use crate::{Extract, Inject, Refused};

impl Extract for HeaderMap {
    fn get_all<'a>(&'a self, key: &str, found: &mut dyn FnMut(&'a [u8])) {
        self.each(&mut |name, value| {
            if name.eq_ignore_ascii_case(key) {
                found(value);
            }
        });
    }

    fn each<'a>(&'a self, found: &mut dyn FnMut(&'a str, &'a [u8])) {
        for (name, values) in self.iter() {
            for value in values {
                found(name.as_ref(), value.as_str().as_bytes());
            }
        }
    }
}

/// Refused is a key that is no header name, and a value with a line break.
impl Inject for HeaderMap {
    fn set(&mut self, key: &str, value: &str) -> Result<(), Refused> {
        if key.is_empty() {
            return Err(Refused::new(key));
        }
        let name: HeaderName = key.parse().map_err(|_| Refused::new(key))?;
        let value: HeaderValue = value.parse().map_err(|_| Refused::new(key))?;
        Inject::remove(self, key);
        self.insert(name, value);
        Ok(())
    }

    fn remove(&mut self, key: &str) {
        let is_it = |name: &HeaderName| <HeaderName as AsRef<str>>::as_ref(name).eq_ignore_ascii_case(key);
        if !self.iter().any(|(name, _)| is_it(name)) {
            return;
        }
        let taken = std::mem::take(self);
        for (name, values) in taken.iter().filter(|(name, _)| !is_it(name)) {
            for value in values {
                // Collecting would keep only the last value of a key.
                self.append(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carriers::testing::{bears_context, values};

    #[test]
    fn headers_bear_context_beside_their_own() {
        let mut headers = HeaderMap::new();
        headers.append("kept", "a");
        headers.append("kept", "b");
        bears_context(&mut headers);
        assert_eq!(values(&headers, "kept"), ["a", "b"]);
    }

    #[test]
    fn a_key_is_replaced_whatever_its_case() {
        let mut headers = HeaderMap::new();
        headers.append("TraceParent", "1");
        headers.append("traceparent", "2");
        headers.append("kept", "a");
        headers.append("kept", "b");
        headers.set("traceparent", "3").expect("room for it");
        assert_eq!(values(&headers, "traceparent"), ["3"]);
        assert_eq!(values(&headers, "kept"), ["a", "b"]);
    }

    #[test]
    fn what_would_break_the_lines_is_refused() {
        let mut headers = HeaderMap::new();
        for (key, value) in [
            ("trace parent", "x"),
            ("trace:parent", "x"),
            ("", "x"),
            ("traceparent", "x\r\ny"),
        ] {
            assert_eq!(headers.set(key, value), Err(Refused::new(key)), "{key}: {value}");
        }
        assert!(headers.is_empty());
    }
}
