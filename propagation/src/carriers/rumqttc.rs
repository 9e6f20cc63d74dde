//! User properties of MQTT 5, as rumqttc has them.
//!
//! In: the properties of a PUBLISH. Out: the same with keys replaced.
//! Left out on purpose: MQTT 3.1.1, whose messages have no properties.

use ::rumqttc::v5::mqttbytes::v5::PublishProperties;

use crate::{Extract, Inject, Refused};

/// The longest text that MQTT has, in bytes; rumqttc would write a wrong length for more.
const MAX_TEXT: usize = 65_535;

impl Extract for PublishProperties {
    fn get_all<'a>(&'a self, key: &str, found: &mut dyn FnMut(&'a [u8])) {
        self.user_properties.get_all(key, found);
    }

    fn each<'a>(&'a self, found: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.user_properties.each(found);
    }
}

/// Refused is a text of more than 65,535 bytes, or with a NUL.
impl Inject for PublishProperties {
    fn set(&mut self, key: &str, value: &str) -> Result<(), Refused> {
        let fits = |text: &str| text.len() <= MAX_TEXT && !text.contains('\0');
        if !fits(key) || !fits(value) {
            return Err(Refused::new(key));
        }
        self.user_properties.set(key, value)
    }

    fn remove(&mut self, key: &str) {
        Inject::remove(&mut self.user_properties, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carriers::testing::bears_context;

    #[test]
    fn properties_bear_context_beside_their_own() {
        let own = [("kept", "a"), ("Kept", "b"), ("kept", "c")];
        let own = own.map(|(key, value)| (key.to_owned(), value.to_owned()));
        bears_context(&mut PublishProperties {
            user_properties: own.to_vec(),
            ..PublishProperties::default()
        });
    }

    #[test]
    fn what_mqtt_has_no_room_for_is_refused() {
        let (mut properties, long) = (PublishProperties::default(), "x".repeat(MAX_TEXT + 1));
        for (key, value) in [("k", long.as_str()), (&long, "v"), ("k\0", "v"), ("k", "\0")] {
            assert_eq!(properties.set(key, value), Err(Refused::new(key)));
        }
        assert_eq!(properties.user_properties, []);
        assert_eq!(properties.set("k", &long[1..]), Ok(()));
    }
}
