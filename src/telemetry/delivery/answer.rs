//! What a destination answers: read within bounds, and said in one line.

use std::error::Error;
use std::iter::successors;

use reqwest::Response;

/// How much of an answer is read, in bytes: it says little, and nothing that may fill the memory.
const LONGEST: usize = 64 * 1024;

/// Appends the beginning of an answer's body to `body`: all of it, as a rule.
///
/// # Errors
///
/// The answer breaks off; what has come of it is in `body`.
pub(crate) async fn read_beginning(response: &mut Response, body: &mut Vec<u8>) -> reqwest::Result<()> {
    while body.len() < LONGEST
        && let Some(chunk) = response.chunk().await?
    {
        body.extend_from_slice(&chunk);
    }
    Ok(())
}

/// The text on one line, and `most` characters of it, to be put behind what it was said about; empty where nothing was
/// said.
#[must_use]
pub(crate) fn excerpt(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.chars().filter(|c| !c.is_control()).take(most).collect();
    if line.is_empty() { line } else { format!(" (it said: {line})") }
}

/// An error and its sources on one line, each unless it has been said: the outermost alone rarely says what happened.
#[must_use]
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    successors(error.source(), |&source| source.source()).fold(error.to_string(), |mut text, source| {
        let said = source.to_string();
        if !text.contains(&said) {
            text.extend([": ", &said]);
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http_body::{Body, Frame};

    use super::*;

    #[test]
    fn an_excerpt_is_one_line_and_not_too_long() {
        assert_eq!(excerpt("a\r\n  b\u{7}\tc", 9), " (it said: a b c)");
        assert_eq!(excerpt("ääää", 3), " (it said: äää)");
        assert_eq!(excerpt(" \n", 9), "");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{said}")]
    struct Outer {
        said: &'static str,
        source: io::Error,
    }

    #[test]
    fn what_an_error_and_its_sources_say_is_said_once() {
        let outer = |said| Outer { said, source: io::Error::other("no route") };
        assert_eq!(chain(&outer("not sent")), "not sent: no route");
        assert_eq!(chain(&outer("not sent: no route")), "not sent: no route");
    }

    /// A body that comes in pieces of the same length, until it breaks off if it ever does.
    struct Pieces {
        piece: usize,
        left: usize,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            let Some(left) = self.left.checked_sub(1) else {
                return Poll::Ready(Some(Err(io::Error::other("reset"))));
            };
            self.left = left;
            Poll::Ready(Some(Ok(Frame::data(vec![b'x'; self.piece].into()))))
        }
    }

    async fn read(piece: usize, pieces: usize) -> (bool, usize) {
        let body = reqwest::Body::wrap(Pieces { piece, left: pieces });
        let (mut response, mut read) = (http::Response::new(body).into(), Vec::new());
        let whole = read_beginning(&mut response, &mut read).await;
        (whole.is_ok(), read.len())
    }

    #[tokio::test]
    async fn of_an_endless_answer_only_the_beginning_is_read() {
        assert_eq!(read(LONGEST / 2 + 1, usize::MAX).await, (true, LONGEST + 2));
    }

    #[tokio::test]
    async fn of_an_answer_that_breaks_off_there_is_what_came() {
        assert_eq!(read(4, 1).await, (false, 4));
    }
}
