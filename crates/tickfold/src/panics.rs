//! A panic ends the process, whichever command it runs.
//!
//! It is a defect, and what it left half done is not known: a task that is gone would look like health,
//! and an orderly stop would go on with the rest. The next start finds everything as after a crash, which
//! is tested more than any stop.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{StderrLock, Write as _};
use std::panic::PanicHookInfo;

use tracing::{Level, enabled, error};

/// From here on a panic on any thread is the end, and says so in the last line of standard error.
pub(crate) fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        // One of the binding of Kafka's client is caught: it has no other way to say what it met.
        if tickfold_log::panic_is_caught() {
            return;
        }
        // Held until the end, so that no other thread says anything behind the last line.
        let mut stderr = std::io::stderr().lock();
        tell(panic, &mut stderr);
        std::process::abort();
    }));
}

fn tell(panic: &PanicHookInfo<'_>, stderr: &mut StderrLock<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    // A text that was put together may quote what it is about: a body, a name, a number.
    let fixed = panic.payload().downcast_ref::<&'static str>().copied();
    let text = fixed.unwrap_or("its text may quote data and is not shown");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        // There is nowhere to say that it could not be said.
        let _ = writeln!(stderr, "{backtrace}");
    }
    if enabled!(Level::ERROR) {
        error!(place, thread, text, "panicked, the process aborts");
    } else {
        let _ = writeln!(stderr, "tickfold: panicked at {place}, the process aborts: {text}");
    }
}
