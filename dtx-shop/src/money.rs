//! Money as people write it.

/// The largest amount of one order, in cents: a billion dollars.
pub(crate) const CENTS_MAX: u64 = 100_000_000_000;

/// Reads dollars as cents, exactly: no floating point is on the way.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn cents(text: &str) -> Result<u64, String> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || fraction.is_some_and(|fraction| !digits(fraction)) {
        return Err(format!("amount {text:?} is no amount; write dollars such as 12.50"));
    }
    let fraction = fraction.unwrap_or_default().trim_end_matches('0');
    if fraction.len() > 2 {
        return Err(format!("amount {text:?} is no whole number of cents"));
    }
    let too_large = || format!("amount {text:?} is over the largest, 1000000000.00");
    let dollars: u64 = whole.parse().map_err(|_| too_large())?;
    // Two digits at the most, filled up on the right.
    let cents = fraction.bytes().chain(std::iter::repeat(b'0')).take(2);
    let cents = cents.fold(0, |cents, digit| cents * 10 + u64::from(digit - b'0'));
    let total = dollars.checked_mul(100).and_then(|whole| whole.checked_add(cents));
    total.filter(|total| *total <= CENTS_MAX).ok_or_else(too_large)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dollars_become_cents_exactly() {
        for (text, expected) in [
            ("0", 0),
            ("0.00", 0),
            ("29.33", 2_933),
            ("0.07", 7),
            ("0.7", 70),
            ("1.10", 110),
            ("5.000", 500),
            ("1000000000.00", CENTS_MAX),
        ] {
            assert_eq!(cents(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "-1", "+1", ".5", "5.", "1.234", "1e3", "1,5", "$1", "NaN", " 1"] {
            assert!(cents(text).is_err(), "{text}");
        }
        assert!(cents("1000000000.01").is_err());
        assert!(cents("99999999999999999999").is_err());
    }

    proptest! {
        #[test]
        fn every_amount_reads_back(value in 0..=CENTS_MAX) {
            let text = format!("{}.{:02}", value / 100, value % 100);
            prop_assert_eq!(cents(&text), Ok(value));
        }
    }
}
