//! Carriers: whatever holds keys and values beside a request.
//!
//! In: a key in lower case. Out: every value under it, duplicates included, and the means to replace it.
//! Left out on purpose: the header types of clients of message queues, see [`crate::carriers`]. Whoever parses their
//! frames implements the two traits; the plain ordered list here has the shape of Kafka's record headers, of MQTT's
//! user properties and of the fields of a Redis entry.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Something that context can be read from.
pub trait Extract {
    /// Hands every value of `key` to `found`, in the order in which they are carried.
    ///
    /// Keys match whatever their ASCII case. All values are handed over: that there are two `traceparent`s
    /// matters.
    fn get_all<'a>(&'a self, key: &str, found: &mut dyn FnMut(&'a [u8]));

    /// Hands every key with each of its values to `found`: what is there at all, and keys of which only the beginning is
    /// known.
    fn each<'a>(&'a self, found: &mut dyn FnMut(&'a str, &'a [u8]));
}

/// Something that context can be written to.
pub trait Inject {
    /// Replaces every value of `key`, whatever its case, by the one `value`. Both are visible ASCII or
    /// spaces.
    ///
    /// # Errors
    /// The carrier cannot hold it: it is full, or its protocol does not allow such a key or value.
    fn set(&mut self, key: &str, value: &str) -> Result<(), Refused>;

    /// Removes every value of `key`, whatever its case.
    fn remove(&mut self, key: &str);
}

/// A carrier that would not take a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("carrier cannot hold `{key}`: it is full, or its protocol does not allow that key or value")]
pub struct Refused {
    /// The key that was to be set.
    pub key: String,
}

impl Refused {
    /// A refusal of `key`.
    pub fn new(key: &str) -> Self {
        Self { key: key.to_owned() }
    }
}

impl Extract for HeaderMap {
    fn get_all<'a>(&'a self, key: &str, found: &mut dyn FnMut(&'a [u8])) {
        for value in HeaderMap::get_all(self, key) {
            found(value.as_bytes());
        }
    }

    fn each<'a>(&'a self, found: &mut dyn FnMut(&'a str, &'a [u8])) {
        for (name, value) in self {
            found(name.as_str(), value.as_bytes());
        }
    }
}

impl Inject for HeaderMap {
    fn set(&mut self, key: &str, value: &str) -> Result<(), Refused> {
        let refused = || Refused::new(key);
        let name = HeaderName::from_bytes(key.as_bytes()).map_err(|_| refused())?;
        let value = HeaderValue::from_str(value).map_err(|_| refused())?;
        // `insert` panics on a full map, and the peer decides how full it is.
        self.try_insert(name, value).map_err(|_| refused())?;
        Ok(())
    }

    fn remove(&mut self, key: &str) {
        HeaderMap::remove(self, key);
    }
}

/// An ordered list in which keys may repeat; values are `String` or `Vec<u8>`. A replaced key keeps the place of its
/// first value.
impl<V: AsRef<[u8]>> Extract for Vec<(String, V)> {
    fn get_all<'a>(&'a self, key: &str, found: &mut dyn FnMut(&'a [u8])) {
        for (name, value) in self {
            if name.eq_ignore_ascii_case(key) {
                found(value.as_ref());
            }
        }
    }

    fn each<'a>(&'a self, found: &mut dyn FnMut(&'a str, &'a [u8])) {
        for (name, value) in self {
            found(name, value.as_ref());
        }
    }
}

impl<V: for<'a> From<&'a str>> Inject for Vec<(String, V)> {
    fn set(&mut self, key: &str, value: &str) -> Result<(), Refused> {
        let entry = (key.to_owned(), V::from(value));
        match self.iter().position(|(name, _)| name.eq_ignore_ascii_case(key)) {
            None => self.push(entry),
            Some(place) => {
                Inject::remove(self, key);
                self.insert(place, entry);
            }
        }
        Ok(())
    }

    fn remove(&mut self, key: &str) {
        self.retain(|(name, _)| !name.eq_ignore_ascii_case(key));
    }
}

/// The values of one key.
pub(crate) struct Values<'a> {
    pub(crate) first: Option<&'a [u8]>,
    pub(crate) count: usize,
}

/// The first value of `key`, and how many there are.
pub(crate) fn values<'a>(carrier: &'a (impl Extract + ?Sized), key: &str) -> Values<'a> {
    let mut values = Values {
        first: None,
        count: 0,
    };
    carrier.get_all(key, &mut |value| {
        values.first = values.first.or(Some(value));
        values.count += 1;
    });
    values
}

/// All values of `key` that say anything, joined by commas in their order (RFC 9110, section 5.3).
pub(crate) fn combined(carrier: &(impl Extract + ?Sized), key: &str) -> Vec<u8> {
    let mut combined = Vec::new();
    carrier.get_all(key, &mut |value| {
        let value = crate::text::trim_ows(value);
        if !value.is_empty() && !combined.is_empty() {
            combined.push(b',');
        }
        combined.extend_from_slice(value);
    });
    combined
}
