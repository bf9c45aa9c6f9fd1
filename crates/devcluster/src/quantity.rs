//! `resource.Quantity`: amounts like `500m` or `128Mi`, compared and printed like Kubernetes does.

use serde_json::Value;

use crate::schema::DecodeError;

const NANO: i128 = 1_000_000_000;

/// A parsed amount in billionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i128);

fn suffix_factor(suffix: &str) -> Option<i128> {
    Some(match suffix {
        "" => NANO,
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "k" => NANO * 1_000,
        "M" => NANO * 1_000_000,
        "G" => NANO * 1_000_000_000,
        "T" => NANO * 1_000_000_000_000,
        "P" => NANO * 1_000_000_000_000_000,
        "E" => NANO * 1_000_000_000_000_000_000,
        "Ki" => NANO << 10,
        "Mi" => NANO << 20,
        "Gi" => NANO << 30,
        "Ti" => NANO << 40,
        "Pi" => NANO << 50,
        "Ei" => NANO << 60,
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let factor = 10i128.checked_pow(exponent.unsigned_abs())?;
            return if exponent < 0 {
                NANO.checked_div(factor)
            } else {
                NANO.checked_mul(factor)
            };
        }
    })
}

impl Quantity {
    /// Parses an amount.
    ///
    /// # Errors
    /// Text that is not an amount, in Kubernetes' words.
    pub fn parse(text: &str) -> Result<Self, DecodeError> {
        let bad = || {
            DecodeError(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".into(),
            )
        };
        let end = text
            .find(|c: char| !matches!(c, '+' | '-' | '.' | '0'..='9'))
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let factor = suffix_factor(suffix).ok_or_else(|| DecodeError("unable to parse quantity's suffix".into()))?;
        let (negative, digits) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 18 {
            return Err(bad());
        }
        let digit = |text: &str| {
            if text.is_empty() {
                Ok(0i128)
            } else {
                text.parse::<u64>().map(i128::from).map_err(|_| bad())
            }
        };
        let scale = 10i128.pow(u32::try_from(fraction.len()).map_err(|_| bad())?);
        let amount = digit(whole)?.checked_mul(factor).ok_or_else(bad)?;
        let part = digit(fraction)?.checked_mul(factor).ok_or_else(bad)? / scale;
        let total = amount.checked_add(part).ok_or_else(bad)?;
        Ok(Self(if negative { -total } else { total }))
    }
}

/// Brings the text into the form the server prints: no fraction, the largest suffix that needs none.
pub fn normalise(value: &mut Value) -> Result<(), DecodeError> {
    let Some(text) = value.as_str() else { return Ok(()) };
    let Quantity(amount) = Quantity::parse(text)?;
    let binary = text.ends_with('i');
    let suffixes: &[&str] = if binary {
        &["Ei", "Pi", "Ti", "Gi", "Mi", "Ki", ""]
    } else {
        &["E", "P", "T", "G", "M", "k", "", "m", "u", "n"]
    };
    let fitting = suffixes.iter().chain(&["m", "u", "n"]).find_map(|suffix| {
        let factor = suffix_factor(suffix)?;
        (amount % factor == 0).then(|| format!("{}{suffix}", amount / factor))
    });
    if amount == 0 {
        *value = "0".into();
    } else if let Some(text) = fitting {
        *value = text.into();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn amounts_compare_by_value_and_print_canonically() {
        assert_eq!(Quantity::parse("1").unwrap(), Quantity::parse("1000m").unwrap());
        assert!(Quantity::parse("0.5Gi").unwrap() < Quantity::parse("1Gi").unwrap());
        for (text, printed) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("0.5Gi", "512Mi"),
            ("1e3", "1k"),
            ("100M", "100M"),
            ("0", "0"),
        ] {
            let mut value = Value::from(text);
            normalise(&mut value).unwrap();
            assert_eq!(value, printed, "{text}");
        }
        assert!(Quantity::parse("1x").is_err());
        assert!(Quantity::parse("").is_err());
    }
}
