//! Numbers as decimal digits, eight at a time: times are written several times a request, and digit by digit they cost
//! more than what they are written into.

use std::cell::Cell;

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

/// The last two.
#[must_use]
#[inline]
pub(crate) fn two(number: u64) -> [u8; 2] {
    [number / 10 % 10, number % 10].map(|digit| b'0' | digit as u8)
}

/// A day in ISO 8601, by the days since 1970: `2026-11-20`. Of a year there are the last four digits.
#[must_use]
#[inline]
pub(crate) fn date(days: u64) -> [u8; 10] {
    let (year, month, day) = civil(days);
    let digits = eight(year * 10_000 + month * 100 + day);
    let mut text = *b"0000-00-00";
    text[..4].copy_from_slice(&digits[..4]);
    text[5..7].copy_from_slice(&digits[4..6]);
    text[8..].copy_from_slice(&digits[6..]);
    text
}

/// Seconds since 1970, and the microseconds after that, in ISO 8601, to be followed by an offset:
/// `2026-11-20T23:56:35.179053`. Most are of the second that the thread has written last.
#[must_use]
#[inline]
pub(crate) fn date_time(seconds: u64, micros: u64) -> [u8; 26] {
    thread_local! {
        static LAST: Cell<(u64, [u8; 26])> = const { Cell::new((0, *b"1970-01-01T00:00:00.000000")) };
    }
    let (last, mut text) = LAST.get();
    if last != seconds {
        text = whole(seconds);
        LAST.set((seconds, text));
    }
    text[20..].copy_from_slice(&six(micros));
    text
}

/// With no microseconds.
#[inline(never)]
fn whole(seconds: u64) -> [u8; 26] {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let clock = six(hour * 10_000 + minute * 100 + second);
    let mut text = *b"0000-00-00T00:00:00.000000";
    text[..10].copy_from_slice(&date(days));
    text[11..13].copy_from_slice(&clock[..2]);
    text[14..16].copy_from_slice(&clock[2..4]);
    text[17..19].copy_from_slice(&clock[4..]);
    text
}

/// Year, month and day, by the days since 1970: Howard Hinnant's `civil_from_days`, whose years begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let since = days + 719_468;
    let (era, day) = (since / ERA, since % ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year + era * 400 + u64::from(month <= 2), month, of_month)
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
            prop_assert_eq!(two(number), &text.as_bytes()[18..]);
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
