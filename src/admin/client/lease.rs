//! What an answer says of a lease, as far as its holder has to know it.

use serde_json::Value;

/// A lease. Instants are milliseconds since 1970 of the ledger's clock, which need not be that of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) id: String,
    pub(super) fence: u64,
    pub(super) ttl: u64,
    pub(super) granted: u64,
    pub(super) expires: u64,
    /// When it ends in any case.
    pub(super) ends: Option<u64>,
    /// It is asked back, and ends then.
    pub(super) preempt: Option<u64>,
    /// What its holder is to have in the environment.
    pub(super) env: Vec<(String, String)>,
}

impl Lease {
    /// `None` where what has to be known is missing. A state that is not known is as good as active.
    pub(super) fn parse(answer: &Value) -> Option<Self> {
        let time = |member: &str| answer[member].as_str().and_then(instant);
        let expires = time("expires_at")?;
        let preempting = answer["state"] == "preempting";
        let env = answer["env"].as_object()?.iter();
        let env = env.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        Some(Self {
            id: answer["id"].as_str()?.to_owned(),
            fence: answer["fence"].as_str()?.parse().ok()?,
            ttl: answer["ttl_ms"].as_u64()?,
            granted: time("granted_at")?,
            expires,
            ends: time("ends_at"),
            preempt: preempting.then(|| time("preempt_at").unwrap_or(expires)),
            env: env.collect(),
        })
    }
}

/// An instant as the server writes it, `2025-11-30T22:53:30.123Z`, in milliseconds since 1970. The days by Howard Hinnant's
/// `days_from_civil`.
fn instant(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let number = |text: &str| text.parse::<u64>().ok();
    let [year, month, day] = three(date, '-')?;
    let [hour, minute, second] = three(time, ':')?;
    let (second, ms) = second.split_once('.').unwrap_or((second, "000"));
    let (year, month, day) = (number(year)?, number(month)?, number(day)?);
    if ms.len() != 3 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    // Years that begin in March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    let seconds = days * 86_400 + number(hour)? * 3600 + number(minute)? * 60 + number(second)?;
    Some(seconds * 1000 + number(ms)?)
}

/// A text in its three parts.
fn three(text: &str, mark: char) -> Option<[&str; 3]> {
    let mut parts = text.split(mark);
    let three = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(three)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn instants() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-02-29T00:00:00.001Z", 951_782_400_001),
            ("2025-11-30T22:53:30.123Z", 1_764_543_210_123),
            ("2100-02-28T23:59:59.999Z", 4_107_542_399_999),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000),
        ] {
            assert_eq!(instant(text), Some(ms), "{text}");
        }
        for wrong in [
            "",
            "2025-11-30",
            "2025-13-01T00:00:00.000Z",
            "2025-11-30T22:53:30.123",
            "x-y-zTa:b:cZ",
        ] {
            assert_eq!(instant(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_lease() {
        let mut answer = json!({
            "id": "l", "state": "active", "fence": "17", "granted_at": "1970-01-01T00:00:01.000Z",
            "expires_at": "1970-01-01T00:00:31.000Z", "ends_at": null, "ttl_ms": 30_000,
            "env": { "NEARSIDE_LEASE_ID": "l", "DEVICES": 2 },
        });
        let lease = Lease::parse(&answer).unwrap();
        assert_eq!(
            (lease.granted, lease.expires, lease.ends),
            (1_000, 31_000, None)
        );
        assert_eq!(
            lease.env,
            [("NEARSIDE_LEASE_ID".to_owned(), "l".to_owned())]
        );
        assert_eq!(lease.preempt, None);
        answer["state"] = json!("preempting");
        assert_eq!(Lease::parse(&answer).unwrap().preempt, Some(31_000));
        answer["preempt_at"] = json!("1970-01-01T00:00:02.000Z");
        assert_eq!(Lease::parse(&answer).unwrap().preempt, Some(2_000));
        answer["fence"] = json!(17);
        assert_eq!(Lease::parse(&answer), None);
    }
}
