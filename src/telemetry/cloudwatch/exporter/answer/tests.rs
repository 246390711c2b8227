use super::*;

fn kind(failure: &Failure) -> &'static str {
    match failure {
        Failure::NotThere(_) => "not there",
        Failure::Other(SendError::Retry { .. }) => "retry",
        Failure::Other(SendError::Split { .. }) => "split",
        Failure::Other(SendError::Hold { .. }) => "hold",
        Failure::Other(SendError::Reject { .. }) => "reject",
    }
}

#[test]
fn every_refusal_has_its_consequence() {
    for (status, code, message, expected) in [
        (400, "ResourceNotFoundException", "The specified log stream does not exist.", "not there"),
        (400, "ThrottlingException", "Rate exceeded", "retry"),
        (400, "OperationAbortedException", "", "retry"),
        (503, "ServiceUnavailableException", "", "retry"),
        (500, "", "", "retry"),
        (200, "", "", "retry"),
        (500, "InternalFailure", "", "retry"),
        (429, "", "", "retry"),
        (400, "InvalidParameterException", "Log events in a single request must be in order.", "split"),
        (400, "InvalidParameterException", "The specified KMS key is disabled", "hold"),
        (400, "InvalidParameterException", "1 validation error: Value 'a:b' at 'logStreamName'", "hold"),
        (400, "InvalidParameterException", "Value '' at 'logEvents.1.member.message', logGroupName", "split"),
        (400, "SerializationException", "", "split"),
        (413, "", "", "split"),
        (400, "AccessDeniedException", "User is not authorized", "hold"),
        (400, "UnrecognizedClientException", "The security token is invalid", "hold"),
        (400, "ExpiredTokenException", "", "hold"),
        (403, "InvalidSignatureException", "", "hold"),
        (404, "", "", "hold"),
        (301, "", "", "hold"),
        (400, "UnknownOperationException", "", "hold"),
    ] {
        assert_eq!(kind(&refused(status, code, message)), expected, "{status} {code}");
    }
}

#[test]
fn rejected_lines_are_counted_by_the_documented_indices() {
    let info = |old: Option<i32>, expired: Option<i32>, new: Option<i32>| {
        RejectedLogEventsInfo::builder()
            .set_too_old_log_event_end_index(old)
            .set_expired_log_event_end_index(expired)
            .set_too_new_log_event_start_index(new)
            .build()
    };
    for (info, expected) in [
        (info(None, None, None), vec![]),
        (info(Some(3), None, None), vec![("too_old", 3)]),
        (info(None, Some(2), None), vec![("expired", 2)]),
        (info(Some(1), Some(4), Some(8)), vec![("too_old", 1), ("expired", 3), ("too_new", 2)]),
        (info(None, None, Some(0)), vec![("too_new", 10)]),
        (info(None, None, Some(10)), vec![]),
        (info(Some(99), None, Some(-1)), vec![("too_old", 10)]),
    ] {
        let sent = accepted(Some(&info), 10);
        assert_eq!(sent.rejected, expected, "{info:?}");
        assert_eq!(sent.said.is_empty(), expected.is_empty());
    }
    assert_eq!(accepted(None, 10), Sent::default());
}

#[test]
fn refusals_are_explained_for_people() {
    let said = |code, message| refused(400, code, message).or_retry().to_string();
    assert!(said("AccessDeniedException", "").contains("logs:PutLogEvents"));
    assert!(said("ExpiredTokenException", "").contains("AWS_SESSION_TOKEN"));
    assert!(said("InvalidSignatureException", "").contains("clock"));
    let long = said("Whatever", &"x\n".repeat(1000));
    assert!(long.len() < 500 && !long.contains('\n'), "{long}");
}
