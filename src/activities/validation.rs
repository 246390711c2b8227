//! Why something was not accepted.

use super::store::StoreError;

/// What is wrong with what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// A user page was asked for without saying whose.
    BlankUserHandle,
    /// A search for nothing.
    SearchTermBlank,
    /// Nothing was written.
    MessageBlank,
    /// More was written than fits.
    MessageExceedMaxChars,
    /// No time to live, or none of those offered.
    TtlBlank,
    /// A message to nobody.
    UserReceiverHandleBlank,
}

impl Invalid {
    /// The code that the frontend knows it by; the misspelt one is misspelt there too.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::BlankUserHandle => "blank_user_handle",
            Self::SearchTermBlank => "search_term_blank",
            Self::MessageBlank => "message_blank",
            Self::MessageExceedMaxChars => "message_exceed_max_chars",
            Self::TtlBlank => "ttl_blank",
            Self::UserReceiverHandleBlank => "user_reciever_handle_blank",
        }
    }
}

/// An operation was refused, or could not be done.
///
/// Deliberately not a `std::error::Error`: a face that turns every error into its own failure by `?` would take a
/// refusal for one.
#[derive(Debug)]
pub enum Refused {
    /// What was sent is not valid: the sender's to mend.
    Invalid(Invalid),
    /// The store failed: ours to mend.
    Store(StoreError),
}

impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What was written, if it is neither blank nor longer than `max` characters.
///
/// Characters are code points, as the frontend's counter and the original backend have them: 280 emoji fit in a
/// crud, though they are 1,120 bytes.
pub(super) fn message(message: Option<String>, max: usize) -> Result<String, Invalid> {
    let message = message.filter(|message| !message.is_empty()).ok_or(Invalid::MessageBlank)?;
    // No string has more characters than bytes: most need no counting.
    if message.len() > max && message.chars().count() > max {
        return Err(Invalid::MessageExceedMaxChars);
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn missing_and_empty_are_blank() {
        assert_eq!(message(None, 5), Err(Invalid::MessageBlank));
        assert_eq!(message(Some(String::new()), 5), Err(Invalid::MessageBlank));
    }

    #[test]
    fn length_is_in_code_points() {
        assert_eq!(message(Some("🖖".repeat(5)), 5), Ok("🖖".repeat(5)));
        assert_eq!(message(Some("🖖".repeat(6)), 5), Err(Invalid::MessageExceedMaxChars));
        assert_eq!(message(Some("e\u{301}e\u{301}e".to_owned()), 5), Ok("e\u{301}e\u{301}e".to_owned()));
    }

    proptest! {
        #[test]
        fn whatever_fits_is_kept_as_it_is(text in "\\PC{1,40}", max in 1_usize..40) {
            let fits = text.chars().count() <= max;
            let expected = if fits { Ok(text.clone()) } else { Err(Invalid::MessageExceedMaxChars) };
            prop_assert_eq!(message(Some(text), max), expected);
        }
    }
}
