//! Reading Kubernetes quantities ("250m", "64Mi", "1e3") without loss.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The quantity in thousandths, rounded up, or `None` if it is not a (non-negative, representable) quantity.
///
/// Grammar: Kubernetes API conventions, `resource.Quantity` (signed number with optional binary SI, decimal SI or decimal
/// exponent suffix).
pub(super) fn thousandths(quantity: &Quantity) -> Option<u64> {
    let text = quantity.0.trim();
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let mantissa: u128 = format!("{whole}{fraction}").parse().ok()?;
    let (numerator, denominator) = factor(suffix)?;
    let scale = 10_u128
        .checked_pow(u32::try_from(fraction.len()).ok()?)?
        .checked_mul(denominator)?;
    let value = mantissa.checked_mul(numerator)?.checked_mul(1000)?.div_ceil(scale);
    u64::try_from(value).ok()
}

fn factor(suffix: &str) -> Option<(u128, u128)> {
    let decimal = |n: u32| 10_u128.pow(n);
    let binary = |n: u32| 1_u128 << (10 * n);
    Some(match suffix {
        "n" => (1, decimal(9)),
        "u" => (1, decimal(6)),
        "m" => (1, decimal(3)),
        "" => (1, 1),
        "k" => (decimal(3), 1),
        "M" => (decimal(6), 1),
        "G" => (decimal(9), 1),
        "T" => (decimal(12), 1),
        "P" => (decimal(15), 1),
        "E" => (decimal(18), 1),
        "Ki" => (binary(1), 1),
        "Mi" => (binary(2), 1),
        "Gi" => (binary(3), 1),
        "Ti" => (binary(4), 1),
        "Pi" => (binary(5), 1),
        "Ei" => (binary(6), 1),
        other => {
            let exponent: i32 = other.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_u128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_kubernetes_documents() {
        for (text, thousandths_wanted) in [
            ("1", 1000),
            ("250m", 250),
            ("0.5", 500),
            (".5", 500),
            ("1.", 1000),
            ("100n", 1), // rounded up: never reserve less than was asked for
            ("64Mi", 64 * 1024 * 1024 * 1000),
            ("128M", 128_000_000_000),
            ("1e3", 1_000_000),
            ("1E-1", 100),
            ("0", 0),
        ] {
            assert_eq!(
                thousandths(&Quantity(text.to_owned())),
                Some(thousandths_wanted),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_quantity() {
        for text in [
            "",
            ".",
            "-1",
            "1.2.3",
            "1 Gi",
            "Mi",
            "1X",
            "1e",
            "99999999999999999999999999999999999999Ei",
        ] {
            assert_eq!(thousandths(&Quantity(text.to_owned())), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = thousandths(&Quantity(text));
        }
    }
}
