//! Numbers as decimal digits, eight at a time: times are written several times a request, and digit by digit they cost
//! more than what they are written into.

/// The last eight digits of a number, with zeros in front.
#[must_use]
#[inline]
pub(crate) fn eight(number: u64) -> [u8; 8] {
    let number = number % 100_000_000;
    // Two numbers of four digits side by side, then four of two, then eight of one; the first is in the lowest bits. The
    // quotients by 100 and by 10 are exact for what has four and two digits.
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | ((fours - hundreds * 100) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    let ones = tens | ((twos - tens * 10) << 8);
    (ones | u64::from_le_bytes([b'0'; 8])).to_le_bytes()
}

/// The last six.
#[must_use]
#[inline]
pub(crate) fn six(number: u64) -> [u8; 6] {
    let [_, _, digits @ ..] = eight(number % 1_000_000);
    digits
}

/// The last ten.
#[must_use]
#[inline]
pub(crate) fn ten(number: u64) -> [u8; 10] {
    let ([.., tens, ones], [a, b, c, d, e, f, g, h]) = (eight(number / 100_000_000), eight(number));
    [tens, ones, a, b, c, d, e, f, g, h]
}

/// A year, month and day, a second of that day and its microseconds in ISO 8601, to be followed by an offset:
/// `2026-11-20T23:56:35.179053`. Of a year there are the last four digits.
#[must_use]
#[inline]
pub(crate) fn date_time((year, month, day): (u64, u64, u64), second: u64, micros: u64) -> [u8; 26] {
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let date = eight(year * 10_000 + month * 100 + day);
    let clock = six(hour * 10_000 + minute * 100 + second);
    let mut text = *b"0000-00-00T00:00:00.000000";
    text[..4].copy_from_slice(&date[..4]);
    text[5..7].copy_from_slice(&date[4..6]);
    text[8..10].copy_from_slice(&date[6..]);
    text[11..13].copy_from_slice(&clock[..2]);
    text[14..16].copy_from_slice(&clock[2..4]);
    text[17..19].copy_from_slice(&clock[4..]);
    text[20..].copy_from_slice(&six(micros));
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digits_are_those_that_display_writes(number in prop_oneof![any::<u64>(), 0..100_000_u64]) {
            let text = format!("{number:020}");
            prop_assert_eq!(eight(number), &text.as_bytes()[12..]);
            prop_assert_eq!(six(number), &text.as_bytes()[14..]);
            prop_assert_eq!(ten(number), &text.as_bytes()[10..]);
        }
    }

    #[test]
    fn all_numbers_of_four_digits_are_right() {
        for number in 0..10_000 {
            assert_eq!(eight(number * 10_001), format!("{number:04}{number:04}").as_bytes());
        }
    }
}
