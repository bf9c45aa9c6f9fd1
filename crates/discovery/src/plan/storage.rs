//! Quantities of bytes, as Kubernetes writes them.

/// Not a quantity of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no quantity of bytes; write it as 1Gi or 500M")]
pub struct QuantityError(String);

/// How many bytes `text` is; a fraction of a byte is left out.
///
/// # Errors
/// [`QuantityError`], also for more bytes than 64 bits count.
pub fn bytes_of(text: &str) -> Result<u64, QuantityError> {
    let wrong = || QuantityError(text.to_owned());
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '.');
    let (number, suffix) = text.split_at(end.unwrap_or(text.len()));
    let scale: u128 = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "E" => 1_000_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        "Ei" => 1 << 60,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let parts: u128 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    let bytes = u128::from(whole) * scale + parts * scale / 1_000_000_000;
    u64::try_from(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_does() {
        for (text, bytes) in [
            ("1Gi", 1 << 30),
            ("500M", 500_000_000),
            ("1.5Ki", 1536),
            ("7", 7),
            ("0", 0),
        ] {
            assert_eq!(bytes_of(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "Gi", "1gi", "-1", "1.", ".5", "1.2.3", "99999999999E", "1 Gi"] {
            assert!(bytes_of(text).unwrap_err().to_string().contains("1Gi"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_quantity_or_refused(text in "[0-9.]{0,30}[kMGTPEi]{0,2}|\\PC{0,20}") {
            let _ = bytes_of(&text);
        }
    }
}
