//! Record headers of Kafka, as rdkafka has them.
//!
//! In: headers of a message that came, or of one that is made. Out: the same with keys replaced in their place.
//! Left out on purpose: header keys that are not UTF-8, at which rdkafka itself panics.

use ::rdkafka::message::{BorrowedHeaders, Header, Headers, OwnedHeaders};

use crate::{Extract, Inject, Refused};

/// A header without a value counts as one with an empty value.
impl Extract for BorrowedHeaders {
    fn get_all<'a>(&'a self, key: &str, found: &mut dyn FnMut(&'a [u8])) {
        self.each(&mut |name, value| {
            if name.eq_ignore_ascii_case(key) {
                found(value);
            }
        });
    }

    fn each<'a>(&'a self, found: &mut dyn FnMut(&'a str, &'a [u8])) {
        for header in self.iter() {
            found(header.key, header.value.unwrap_or_default());
        }
    }
}

impl Extract for OwnedHeaders {
    fn get_all<'a>(&'a self, key: &str, found: &mut dyn FnMut(&'a [u8])) {
        self.as_borrowed().get_all(key, found);
    }

    fn each<'a>(&'a self, found: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.as_borrowed().each(found);
    }
}

/// Refused is a key with a NUL, which librdkafka would cut there.
impl Inject for OwnedHeaders {
    fn set(&mut self, key: &str, value: &str) -> Result<(), Refused> {
        if key.contains('\0') {
            return Err(Refused::new(key));
        }
        replace(self, key, Some(value));
        Ok(())
    }

    fn remove(&mut self, key: &str) {
        replace(self, key, None);
    }
}

/// Puts `value` in the place of the first header of `key`, or behind all others; without one only takes those away.
fn replace(headers: &mut OwnedHeaders, key: &str, mut value: Option<&str>) {
    let taken = std::mem::take(headers);
    let is_it = |header: &Header<'_, &[u8]>| header.key.eq_ignore_ascii_case(key);
    let entry = |value: &mut Option<&str>, kept: OwnedHeaders| match value.take() {
        Some(value) => kept.insert(Header {
            key,
            value: Some(value),
        }),
        None => kept,
    };
    if !taken.iter().any(|header| is_it(&header)) {
        *headers = entry(&mut value, taken);
        return;
    }
    let mut kept = OwnedHeaders::new_with_capacity(taken.count());
    for header in taken.iter() {
        kept = if is_it(&header) {
            entry(&mut value, kept)
        } else {
            kept.insert(header)
        };
    }
    *headers = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carriers::testing::{bears_context, pairs, values};

    fn headers(list: &[(&str, Option<&str>)]) -> OwnedHeaders {
        list.iter().fold(OwnedHeaders::new(), |headers, &(key, value)| {
            headers.insert(Header { key, value })
        })
    }

    #[test]
    fn headers_bear_context_beside_their_own() {
        bears_context(&mut headers(&[
            ("kept", Some("a")),
            ("Kept", Some("b")),
            ("kept", None),
        ]));
    }

    #[test]
    fn a_replaced_header_keeps_the_place_of_the_first_of_its_key() {
        let list = [
            ("a", None),
            ("TraceParent", Some("1")),
            ("b", Some("")),
            ("traceparent", Some("2")),
        ];
        let mut headers = headers(&list);
        assert_eq!(values(&headers, "traceparent"), ["1", "2"]);
        headers.set("traceparent", "3").expect("room for it");
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            pairs(&headers),
            [pair("a", ""), pair("traceparent", "3"), pair("b", "")]
        );
        let first = headers.try_get(0).map(|header| header.value);
        assert_eq!(first, Some(None), "what has no value still has none");
    }

    #[test]
    fn a_key_that_would_be_cut_is_refused() {
        assert_eq!(
            OwnedHeaders::new().set("trace\0parent", "x"),
            Err(Refused::new("trace\0parent"))
        );
    }
}
