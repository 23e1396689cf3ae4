//! ONNX Runtime's own messages: to the log of this program, and on demand to whoever looks for the reason of an error.

use std::sync::Mutex;

use ort::logging::LogLevel;

/// What was logged since somebody asked for it; `None` while nobody does.
static RECORD: Mutex<Option<String>> = Mutex::new(None);

/// Messages are for developers: errors come back as results, the rest is of interest with a log only.
pub(super) fn log_to_tracing(level: LogLevel, category: &str, _id: &str, location: &str, message: &str) {
    match level {
        LogLevel::Fatal | LogLevel::Error | LogLevel::Warning => {
            if let Some(record) = RECORD.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).as_mut() {
                record.push_str(message);
                record.push('\n');
            }
            tracing::debug!(target: "onnxruntime", category, location, "{message}");
        }
        LogLevel::Info | LogLevel::Verbose => tracing::trace!(target: "onnxruntime", category, location, "{message}"),
    }
}

/// Does `work`, and returns what ONNX Runtime complained of meanwhile: the loader's words stand there and nowhere else.
pub(super) fn recorded<T>(work: impl FnOnce() -> T) -> (T, String) {
    let record = || RECORD.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    *record() = Some(String::new());
    let result = work();
    let text = record().take().unwrap_or_default();
    (result, text)
}
