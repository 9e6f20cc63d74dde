//! Reason codes by name.
//!
//! In: a byte. Out: nothing where all went well, and for errors the name that MQTT 5.0 has for it in section 2.4.
//! Left out on purpose: codes that only CONNACK, SUBACK and UNSUBACK bear.

/// `error.type` of a reason code, `_OTHER` for those that are not known.
pub(super) fn error(reason: u8) -> Option<&'static str> {
    Some(match reason {
        0..0x80 => return None,
        0x80 => "unspecified_error",
        0x81 => "malformed_packet",
        0x82 => "protocol_error",
        0x83 => "implementation_specific_error",
        0x87 => "not_authorized",
        0x89 => "server_busy",
        0x8b => "server_shutting_down",
        0x8d => "keep_alive_timeout",
        0x8e => "session_taken_over",
        0x8f => "topic_filter_invalid",
        0x90 => "topic_name_invalid",
        0x91 => "packet_identifier_in_use",
        0x92 => "packet_identifier_not_found",
        0x93 => "receive_maximum_exceeded",
        0x94 => "topic_alias_invalid",
        0x95 => "packet_too_large",
        0x96 => "message_rate_too_high",
        0x97 => "quota_exceeded",
        0x98 => "administrative_action",
        0x99 => "payload_format_invalid",
        0x9a => "retain_not_supported",
        0x9b => "qos_not_supported",
        0x9c => "use_another_server",
        0x9d => "server_moved",
        0x9e => "shared_subscriptions_not_supported",
        0x9f => "connection_rate_exceeded",
        0xa0 => "maximum_connect_time",
        0xa1 => "subscription_identifiers_not_supported",
        0xa2 => "wildcard_subscriptions_not_supported",
        _ => "_OTHER",
    })
}
