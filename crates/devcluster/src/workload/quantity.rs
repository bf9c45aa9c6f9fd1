//! Kubernetes quantities (`500m`, `1Gi`, `0.5`) as whole numbers. Pure.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Thousandths, rounded up; `None` if it is not a quantity or too large for 64 bits.
pub(crate) fn milli(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 1000)
}

/// Whole units (bytes, pods), rounded up; `None` if it is not a quantity or too large for 64 bits.
pub(crate) fn whole(quantity: &Quantity) -> Option<i64> {
    scaled(&quantity.0, 1)
}

fn scaled(text: &str, scale: i128) -> Option<i64> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    // numerator / denominator of the suffix
    let (up, down): (i128, i128) = match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => match suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()? {
            power @ 0..=18 => (10i128.pow(power.unsigned_abs()), 1),
            power @ -9..0 => (1, 10i128.pow(power.unsigned_abs())),
            _ => return None,
        },
    };
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = format!("{integer}{fraction}");
    if all_digits.is_empty() || all_digits.len() > 20 || !all_digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: i128 = all_digits.parse().ok()?;
    let down = down.checked_mul(10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
    let up = value.checked_mul(up)?.checked_mul(scale)?;
    i64::try_from(sign * up.checked_add(down - 1)?.checked_div(down)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_exactly_and_rounded_up() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("500m", Some(500)),
            ("0.5", Some(500)),
            (".25", Some(250)),
            ("1.0005", Some(1001)),
            ("100u", Some(1)),
            ("2k", Some(2_000_000)),
            ("1e3", Some(1_000_000)),
            ("", None),
            ("m", None),
            ("1x", None),
            ("1..2", None),
            ("1e99", None),
            ("99999999999999999999E", None),
        ] {
            assert_eq!(milli(&Quantity(text.to_owned())), expected, "{text}");
        }
        assert_eq!(whole(&Quantity("1Gi".to_owned())), Some(1 << 30));
        assert_eq!(whole(&Quantity("1.5Ki".to_owned())), Some(1536));
    }
}
