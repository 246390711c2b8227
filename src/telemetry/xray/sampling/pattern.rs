//! Wildcards as X-Ray's rules have them.

use std::fmt;

/// A text in which `*` stands for any characters or none and `?` for exactly one. Upper and lower case are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    folded: Box<str>,
}

impl Pattern {
    /// Any text is a pattern.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), folded: text.chars().map(fold).collect() }
    }

    /// Whether all of `text` is as the pattern says.
    ///
    /// Takes time linear in `text` for a given pattern, and at most the product of both lengths: when something
    /// does not fit, only the last `*` takes one character more, because the earlier ones have done their part.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let (mut pattern, mut text) = (self.folded.chars(), text.chars());
        let mut last_star = None;
        loop {
            let before = text.clone();
            match (pattern.next(), text.next()) {
                (Some('*'), _) if pattern.as_str().is_empty() => return true,
                (Some('*'), _) => {
                    last_star = Some((pattern.clone(), before.clone()));
                    text = before;
                }
                (Some(wanted), Some(found)) if wanted == '?' || wanted == fold(found) => {}
                (None, None) => return true,
                // Were the star to take more, even less would be left.
                (Some(_), None) => return false,
                (_, Some(_)) => {
                    let Some((after_star, taken)) = &mut last_star else { return false };
                    taken.next();
                    (pattern, text) = (after_star.clone(), taken.clone());
                }
            }
        }
    }

    /// Whether it says nothing: it is made of stars alone.
    #[must_use]
    pub fn is_anything(&self) -> bool {
        !self.text.is_empty() && self.text.chars().all(|c| c == '*')
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn fold(c: char) -> char {
    if c.is_ascii() { c.to_ascii_lowercase() } else { c.to_lowercase().next().unwrap_or(c) }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_characters() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("*", "", true),
            ("*", "anything", true),
            ("***", "", true),
            ("?", "", false),
            ("?", "é", true),
            ("??", "é", false),
            ("*?", "a", true),
            ("?*", "", false),
            ("/api/*", "/api/activities/home", true),
            ("/api/*", "/API/x", true),
            ("/api/*", "/health", false),
            ("*.gitpod.io", "4567-x.ws-eu77.gitpod.io", true),
            ("*4567-*.gitpod.io*", "4567-x.ws-eu77.gitpod.io:443", true),
            ("cruddur-backend", "Cruddur-Backend", true),
            ("cruddur-backend", "cruddur-backend2", false),
            ("a*b*c", "axxbyybzzc", true),
            ("a*b*c", "axxbyybzz", false),
            ("*abab", "abababab", true),
            ("ÉTÉ", "été", true),
            ("[a]", "a", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn only_stars_are_anything() {
        for (pattern, expected) in [("*", true), ("**", true), ("", false), ("*?", false), ("a", false)] {
            assert_eq!(Pattern::new(pattern).is_anything(), expected, "{pattern}");
        }
    }

    /// A matcher that tries every way would take longer than the universe has existed.
    #[test]
    fn many_stars_do_not_blow_up() {
        let begun = Instant::now();
        let pattern = Pattern::new(&format!("{}b", "a*".repeat(64)));
        assert!(!pattern.matches(&"a".repeat(16 * 1024)));
        let worst = Pattern::new(&format!("*{}b", "a".repeat(126)));
        assert!(!worst.matches(&"a".repeat(16 * 1024)));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    fn naive(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => {
                naive(rest, text) || matches!(text, [_, tail @ ..] if naive(pattern, tail))
            }
            ([wanted, rest @ ..], [found, tail @ ..]) => {
                (*wanted == '?' || fold(*wanted) == fold(*found)) && naive(rest, tail)
            }
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn agrees_with_a_naive_matcher(pattern in "[abAé*?]{0,9}", text in "[abBÉ]{0,12}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = naive(&chars(&pattern), &chars(&text));
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), expected);
        }
    }
}
