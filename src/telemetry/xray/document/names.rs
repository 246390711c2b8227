//! Names that X-Ray takes.

use std::borrow::Cow;

use unicode_general_category::{GeneralCategory, get_general_category};

/// The most characters of a name.
const LONGEST: usize = 200;
/// The most characters of an annotation's key.
const LONGEST_KEY: usize = 500;
/// Where nothing legal is left.
const NAMELESS: &str = "unnamed";

/// A segment's or subsegment's name: letters, numbers and separators of any script, and `_.:/%&#=+-@`; what is
/// illegal is left out, as X-Ray's SDKs do.
pub(in super::super) fn legal(name: &str) -> Cow<'_, str> {
    // Most are, and have a letter to show.
    if !name.is_empty() && name.len() <= LONGEST && name.bytes().all(|byte| USUAL[usize::from(byte)]) {
        return name.into();
    }
    let legal: String = name.chars().filter(|c| is_name_character(*c)).take(LONGEST).collect();
    if legal.trim().is_empty() { NAMELESS.into() } else { legal.into() }
}

/// The bytes that most names are made of, and that X-Ray takes.
static USUAL: [bool; 256] = {
    let (mut usual, mut byte) = ([false; 256], 0_u8);
    while byte < u8::MAX {
        usual[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
        byte += 1;
    }
    usual
};

/// Whether a character may stand in the name of a segment.
#[must_use]
pub fn is_name_character(c: char) -> bool {
    use GeneralCategory::{
        DecimalNumber, LetterNumber, LineSeparator, LowercaseLetter, ModifierLetter, OtherLetter,
        OtherNumber, ParagraphSeparator, SpaceSeparator, TitlecaseLetter, UppercaseLetter,
    };
    c.is_ascii_alphanumeric()
        || matches!(c, '_' | '.' | ':' | '/' | '%' | '&' | '#' | '=' | '+' | '-' | '@' | ' ')
        || (!c.is_ascii()
            && matches!(
                get_general_category(c),
                UppercaseLetter
                    | LowercaseLetter
                    | TitlecaseLetter
                    | ModifierLetter
                    | OtherLetter
                    | DecimalNumber
                    | LetterNumber
                    | OtherNumber
                    | SpaceSeparator
                    | LineSeparator
                    | ParagraphSeparator
            ))
}

/// An annotation's key: ASCII letters, digits and `_`, since a key with anything else is dropped by the service
/// without a word.
pub(super) fn annotation_key(key: &str) -> Cow<'_, str> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !key.is_empty() && key.len() <= LONGEST_KEY && key.bytes().all(is_legal) {
        return key.into();
    }
    let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let key: String = key.chars().map(legal).take(LONGEST_KEY).collect();
    if key.is_empty() { "_".into() } else { key.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_what_is_legal() {
        for (raw, expected) in [
            ("cruddur-backend", "cruddur-backend"),
            ("GET /a?b=c;d*e!", "GET /ab=cde"),
            ("für Elise №1 Ⅷ", "für Elise 1 Ⅷ"),
            ("emoji 🦀", "emoji "),
            ("e\u{301}", "e"),
            ("back\\slash\n\u{0}", "backslash"),
            ("", "unnamed"),
            ("🦀", "unnamed"),
        ] {
            assert_eq!(legal(raw), expected, "{raw:?}");
        }
        assert_eq!(legal(&"ü".repeat(300)).chars().count(), 200);
    }

    #[test]
    fn annotation_keys_are_words() {
        assert_eq!(annotation_key("user.handle-ü"), "user_handle__");
        assert_eq!(annotation_key(""), "_");
    }
}
