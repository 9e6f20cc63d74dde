//! When tickets are delivered.
//!
//! In: days and times as the operator writes them. Out: [`TicketHours`], and what is wrong with them.
//! Left out on purpose: holidays, and hours over midnight, which Alertmanager's intervals cannot tell in one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The hours of a week in which tickets are delivered. Source: Alertmanager documentation, "Time interval".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TicketHours {
    /// Days or ranges of days, in English and lower case. Default `[monday:friday]`. The week begins on Sunday, so a
    /// range cannot go from Saturday to Sunday: name both.
    pub weekdays: Vec<String>,
    /// When the hours begin, as `HH:MM`. Default `09:00`.
    pub from: String,
    /// When the hours end, as `HH:MM` later on the same day, at most `24:00`. Default `17:00`.
    pub to: String,
    /// The time zone, by its IANA name, for example `Europe/Berlin`. Default: UTC. Needs Alertmanager 0.25, and its host
    /// or image must hold the time zone database.
    pub location: Option<String>,
}

impl Default for TicketHours {
    fn default() -> Self {
        Self {
            weekdays: vec!["monday:friday".to_owned()],
            from: "09:00".to_owned(),
            to: "17:00".to_owned(),
            location: None,
        }
    }
}

impl TicketHours {
    /// What Alertmanager would refuse, by key, message and hint.
    pub(crate) fn check(&self, say: &mut impl FnMut(&str, String, &str)) {
        let (from, to) = (minutes(&self.from), minutes(&self.to));
        for (key, text, read) in [("from", &self.from, from), ("to", &self.to, to)] {
            if read.is_none() {
                let message = format!("`{key}` is `{text}`");
                let key = format!("notify.ticket_hours.{key}");
                say(
                    &key,
                    message,
                    "write hours and minutes, such as `09:00`, up to `24:00`",
                );
            }
        }
        if let (Some(begin), Some(end)) = (from, to)
            && begin >= end
        {
            let message = format!("`to` is `{}`, which is not after `{}`", self.to, self.from);
            let hint = "write a later time of the same day: hours over midnight cannot be told";
            say("notify.ticket_hours.to", message, hint);
        }
        for days in &self.weekdays {
            if !is_weekdays(days) {
                let message = format!("`weekdays` holds `{days}`");
                let hint = "write days or ranges that do not go over Saturday, such as `monday:friday`";
                say("notify.ticket_hours.weekdays", message, hint);
            }
        }
    }
}

/// Minutes since midnight of `HH:MM`, at most those of `24:00`. Alertmanager takes no other form.
fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| {
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse::<u32>().ok())
            .flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= 24 * 60).then_some(all)
}

fn is_weekdays(text: &str) -> bool {
    const DAYS: [&str; 7] = [
        "sunday",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
    ];
    let day = |text: &str| DAYS.iter().position(|day| *day == text);
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    matches!((day(first), day(last)), (Some(first), Some(last)) if first <= last)
}
