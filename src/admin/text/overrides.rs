//! Overrides in words.

use std::time::{Duration, SystemTime};

use crate::admin::change::{ClearReply, OverrideReply};
use crate::control::Override;

/// What was set: `datacenter/fra is drained until 2026-11-21T10:00:00Z: maintenance`.
pub fn reply(reply: &OverrideReply) -> String {
    let mut text = format!("{}\n", sentence(&reply.over));
    if let Some(warning) = &reply.warning {
        text += &format!("warning: {warning}\n");
    }
    text
}

/// What was cleared: `the override of datacenter/fra is cleared`.
pub fn cleared(reply: &ClearReply) -> String {
    let ClearReply { target, cleared, warning } = reply;
    match (cleared, warning) {
        (false, _) => format!("there was no override of {target}\n"),
        (true, None) => format!("the override of {target} is cleared\n"),
        (true, Some(warning)) => {
            format!("the override of {target} is cleared\nwarning: {warning}\n")
        }
    }
}

/// One override as a sentence without a full stop.
pub fn sentence(over: &Override) -> String {
    format!("{} is {}", over.target, terms(over))
}

/// What an override does, until when, and why.
pub fn terms(over: &Override) -> String {
    let mut text = over.action.to_string();
    match over.until {
        Some(until) => text += &format!(" until {}", moment(until)),
        None => text += " until cleared",
    }
    if let Some(reason) = &over.reason {
        text += &format!(": {reason}");
    }
    text
}

/// Seconds since 1970 as RFC 3339.
pub fn moment(unix_seconds: u64) -> String {
    let moment = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(unix_seconds));
    // The far future of a date is not worth a panic: RFC 3339 ends with the year 9999.
    match moment {
        Some(moment) if unix_seconds < 253_402_300_800 => {
            humantime::format_rfc3339_seconds(moment).to_string()
        }
        _ => "the end of time".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Action;

    #[test]
    fn an_override_is_a_sentence() {
        let target = "datacenter/fra".parse().unwrap();
        let action = Action::Drain;
        let mut over = Override { target, action, reason: None, since: 0, until: None };
        assert_eq!(sentence(&over), "datacenter/fra is drained until cleared");
        over.until = Some(1_795_248_000);
        over.reason = Some("new racks".into());
        let expected = "datacenter/fra is drained until 2026-11-21T08:00:00Z: new racks";
        assert_eq!(sentence(&over), expected);
        assert_eq!(moment(u64::MAX), "the end of time");
    }
}
