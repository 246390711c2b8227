//! Stacks, made readable: symbols are looked up where nobody waits for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use backtrace::{Backtrace, BacktraceFrame};

/// The most frames that a stack is shown with.
pub const MOST: usize = 100;

/// The longest name of a function, in bytes.
const LONGEST: usize = 500;

/// One call of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The source file: relative to the repository where it is ours (`src/…`).
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The function, with its module and without the compiler's hash.
    pub function: String,
    /// Whether it is this application's own code, told by its path.
    pub in_app: bool,
}

/// Stacks by the addresses of their calls.
type Known = HashMap<Vec<usize>, Arc<[Frame]>>;

/// How many stacks are remembered: a service fails in few places, but it may fail there very often.
const REMEMBERED: usize = 256;

/// The frames of a stack, innermost first, without those that captured it. Takes milliseconds, and the first time
/// in a process 0.1 s, because symbol tables are read: for workers, not for requests. A stack that is known takes a
/// microsecond.
#[must_use]
pub fn resolve(captured: &Backtrace) -> Arc<[Frame]> {
    static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
    let addresses: Vec<usize> = captured.frames().iter().map(|frame| frame.ip().addr()).collect();
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(frames) = known().as_ref().and_then(|known| known.get(&addresses)) {
        return Arc::clone(frames);
    }
    // Not under the lock: those who know their stack need not wait for those who do not.
    let frames: Arc<[Frame]> = look_up(captured).into();
    let mut known = known();
    let known = known.get_or_insert_default();
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(addresses, Arc::clone(&frames));
    frames
}

/// How long symbol tables are kept after the last lookup. They take a hundred megabytes.
const KEPT: Duration = Duration::from_secs(60);

fn look_up(captured: &Backtrace) -> Vec<Frame> {
    static TABLES: Idle = Idle(Mutex::new(None));
    let mut resolved = captured.clone();
    resolved.resolve();
    TABLES.release_after(KEPT, backtrace::clear_symbol_cache);
    resolved.frames().iter().flat_map(of_frame).skip_while(is_noticing).take(MOST).collect()
}

/// Something that is given back when it has not been used for a while: when it was used last, while somebody watches.
struct Idle(Mutex<Option<Instant>>);

impl Idle {
    /// It has just been used. Where no thread can be started, it is kept.
    fn release_after(&'static self, idle: Duration, release: impl FnOnce() + Send + 'static) {
        if self.last().replace(Instant::now()).is_some() {
            return;
        }
        let watch = move || {
            while let Some(left) = self.left(idle) {
                thread::park_timeout(left);
            }
            release();
        };
        if thread::Builder::new().name("symbols".to_owned()).spawn(watch).is_err() {
            *self.last() = None;
        }
    }

    /// How long it is to be kept; `None` once, when that is over.
    fn left(&self, idle: Duration) -> Option<Duration> {
        let mut last = self.last();
        let left = last.and_then(|last| idle.checked_sub(last.elapsed())).filter(|left| !left.is_zero());
        if left.is_none() {
            *last = None;
        }
        left
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_frame(frame: &BacktraceFrame) -> Vec<Frame> {
    let of_symbol = |symbol: &backtrace::BacktraceSymbol| {
        let name = shortened(format!("{:#}", symbol.name()?));
        let file = symbol.filename().map(|path| path.display().to_string());
        let in_app = file.as_deref().is_some_and(is_own);
        let file = file.map(|path| if in_app { relative(&path).to_owned() } else { path });
        Some(Frame { file, line: symbol.lineno(), function: name, in_app })
    };
    frame.symbols().iter().filter_map(of_symbol).collect()
}

/// A future of many layers has a name of kilobytes, of which the beginning says which it is.
fn shortened(mut name: String) -> String {
    if name.len() > LONGEST {
        name.truncate(name.floor_char_boundary(LONGEST));
        name.push('…');
    }
    name
}

/// Whether an innermost frame belongs to noticing the failure and not to the failure: the capturing itself, the
/// standard library's panicking, the conversion that `?` makes.
fn is_noticing(frame: &Frame) -> bool {
    const NOTICING: [&str; 7] = [
        "backtrace::",
        "cruddur::telemetry::observe::fault::Fault",
        "cruddur::telemetry::observe::panic::",
        "__rustc::",
        "alloc::",
        "core::",
        "std::",
    ];
    // What is inlined may have lost its module, but not its file.
    const FILES: [&str; 5] =
        ["/library/alloc/", "/library/core/", "/library/std/", "observe/fault.rs", "observe/panic.rs"];
    let function = frame.function.trim_start_matches('<');
    let file = frame.file.as_deref().unwrap_or_default();
    NOTICING.iter().any(|prefix| function.starts_with(prefix))
        || function.contains(" as core::convert::From<")
        || FILES.iter().any(|part| file.contains(part))
}

/// Ours is what was compiled from this very directory, and not from the registry's or the compiler's.
fn is_own(path: &str) -> bool {
    const ROOT: &str = env!("CARGO_MANIFEST_DIR");
    let own = path.strip_prefix(ROOT).is_some_and(|rest| !rest.starts_with("/target/"));
    own || path.starts_with("src/") || path.starts_with("./src/")
}

fn relative(path: &str) -> &str {
    const ROOT: &str = env!("CARGO_MANIFEST_DIR");
    path.strip_prefix(ROOT).unwrap_or(path).trim_start_matches("./").trim_start_matches('/')
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn what_is_idle_is_released_and_what_is_used_again_is_kept_by_who_watches() {
        static KEPT: Idle = Idle(Mutex::new(None));
        let releasing = |idle: &'static Idle, after| {
            let (released, end) = mpsc::channel();
            idle.release_after(after, move || released.send(()).unwrap());
            end
        };
        let hour = Duration::from_secs(3600);
        let first = releasing(&KEPT, hour);
        let again = releasing(&KEPT, hour);
        assert!(again.recv().is_err(), "somebody watches already");
        assert_eq!(first.try_recv(), Err(mpsc::TryRecvError::Empty), "it is in use");
        static RELEASED: Idle = Idle(Mutex::new(None));
        for _ in 0..2 {
            releasing(&RELEASED, Duration::ZERO).recv().unwrap();
        }
    }
    use crate::telemetry::observe::Fault;

    #[test]
    fn a_function_is_known_by_the_beginning_of_its_name() {
        assert_eq!(shortened("poll<F>".to_owned()), "poll<F>");
        assert_eq!(
            shortened(format!("{}é{}", "x".repeat(499), "y".repeat(9))),
            format!("{}…", "x".repeat(499))
        );
    }

    #[inline(never)]
    fn fails() -> Fault {
        Fault::capture(&std::fmt::Error)
    }

    #[test]
    fn the_innermost_frame_is_where_the_error_was_captured() {
        let frames = resolve(fails().backtrace());
        let first = frames.first().unwrap();
        assert!(first.function.ends_with("frames::tests::fails"), "{first:?}");
        assert_eq!(first.file.as_deref(), Some("src/telemetry/observe/frames.rs"));
        assert!(first.in_app && first.line.is_some(), "{first:?}");
        assert!(frames.iter().any(|frame| !frame.in_app), "the test harness is not ours: {frames:?}");
    }
}
