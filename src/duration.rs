//! Times as people write them: a number with its unit.

use std::time::Duration;

use chrono::TimeDelta;

/// `90s`, `45m`, `2h`: over 0 and at most 7 days.
pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    match time(text)? {
        time if time.is_zero() || time > Duration::from_secs(7 * 86_400) => {
            Err("a time is over 0 and at most 7 days")
        }
        time => Ok(time),
    }
}

/// `36h`, `30d`: at most ten years.
pub(crate) fn age(text: &str) -> Result<TimeDelta, &'static str> {
    match TimeDelta::from_std(time(text)?) {
        Ok(age) if age <= TimeDelta::days(3_660) => Ok(age),
        _ => Err("an age is at most ten years"),
    }
}

fn time(text: &str) -> Result<Duration, &'static str> {
    const HELP: &str = "write a time as a number with a unit, e.g. 500ms, 90s, 45m, 2h or 30d";
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(HELP)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| HELP)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(HELP),
    };
    let milliseconds = number.checked_mul(milliseconds).ok_or(HELP)?;
    Ok(Duration::from_millis(milliseconds))
}
