//! Why something was not accepted.

use super::store::StoreError;

/// What is wrong with what was sent; it reads as the code that the frontend knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A user page was asked for without saying whose.
    #[error("blank_user_handle")]
    BlankUserHandle,
    /// A search for nothing.
    #[error("search_term_blank")]
    SearchTermBlank,
    /// Nothing was written.
    #[error("message_blank")]
    MessageBlank,
    /// More was written than fits.
    #[error("message_exceed_max_chars")]
    MessageExceedMaxChars,
    /// No time to live, or none of those offered.
    #[error("ttl_blank")]
    TtlBlank,
    /// A message to nobody. The misspelling is the frontend's contract.
    #[error("user_reciever_handle_blank")]
    UserReceiverHandleBlank,
}

/// An operation was refused, or could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// What was sent is not valid: the sender's to mend.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store failed: ours to mend.
    #[error(transparent)]
    Store(#[from] StoreError),
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
