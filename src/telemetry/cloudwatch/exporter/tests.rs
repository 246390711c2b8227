use super::*;

#[test]
fn a_call_takes_a_mebibyte_and_less_than_a_day() {
    let line = |timestamp, bytes| Line { timestamp, turn: 0, quoted: "x".repeat(bytes).into() };
    let full = LARGEST / 4 - document::OVERHEAD;
    for (lines, expected) in [
        (vec![], false),
        (vec![line(0, full), line(0, full), line(0, full), line(0, full)], false),
        (vec![line(0, full), line(0, full), line(0, full), line(0, full + 1)], true),
        (vec![line(0, 1), line(DAY - 1, 1)], false),
        (vec![line(0, 1), line(DAY, 1)], true),
        // One line is the service's to refuse.
        (vec![line(0, LARGEST)], false),
    ] {
        assert_eq!(is_too_much(&lines.iter().collect::<Vec<_>>()), expected, "{} lines", lines.len());
    }
}
