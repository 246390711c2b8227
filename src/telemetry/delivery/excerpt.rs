//! What a destination said, for people.

/// The text on one line, and `most` characters of it, to be put behind what it was said about; empty where nothing was
/// said.
#[must_use]
pub fn excerpt(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).take(most).collect();
    if line.is_empty() { line } else { format!(" (it said: {line})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_line_and_not_too_long() {
        assert_eq!(excerpt("a\r\n  b\u{7}\tc", 9), " (it said: a b c)");
        assert_eq!(excerpt("ääää", 3), " (it said: äää)");
        assert_eq!(excerpt(" \n", 9), "");
    }
}
