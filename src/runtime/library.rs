//! Where the ONNX Runtime library is, and whether it is one that impasto can use.
//!
//! The search is a function of a [`LibrarySearch`], so that tests can lay out folders of their own. It looks only where
//! the user or whoever installed impasto put something, never in the working directory: a library is code that runs.

use std::ffi::{CStr, OsString};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Why ONNX Runtime cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// `ORT_DYLIB_PATH` names no file.
    #[error(
        "ORT_DYLIB_PATH is '{}', which is no file (expected the ONNX Runtime library, for example libonnxruntime.so; \
         unset it to search the usual places)", .path.display()
    )]
    DylibPathMissing {
        /// What the variable holds.
        path: PathBuf,
    },
    /// The library is in none of the places.
    #[error(
        "the ONNX Runtime library was not found (looked for {})\n  \
         in a checkout, `make demo` or `make test` puts it into .runtime/, where a binary below finds it; elsewhere \
         `pip download --no-deps onnxruntime=={RECOMMENDED}`, unpack capi/libonnxruntime from the wheel and set \
         ORT_DYLIB_PATH to that file", .searched.join(", ")
    )]
    NotFound {
        /// The places in the order of the search.
        searched: Vec<String>,
    },
    /// The file cannot be loaded as a library.
    #[error("'{}' cannot be loaded as a library (expected ONNX Runtime {OLDEST} or newer for this machine): {message}", .path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// The loader's words.
        message: String,
    },
    /// The file is a library, but another one.
    #[error("'{}' is a library but not ONNX Runtime (expected it to export OrtGetApiBase)", .path.display())]
    NotOnnxRuntime {
        /// The file.
        path: PathBuf,
    },
    /// The library is ONNX Runtime, but too old.
    #[error("'{}' is ONNX Runtime {version} (expected {OLDEST} or newer, recommended {RECOMMENDED})", .path.display())]
    TooOld {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: String,
    },
    /// The library loaded, but did not start.
    #[error("ONNX Runtime of '{}' did not start: {message}", .path.display())]
    Start {
        /// The file.
        path: PathBuf,
        /// The library's words.
        message: String,
    },
}

/// The version that impasto is tested with.
const RECOMMENDED: &str = "1.31.1";

/// The oldest version whose interface is asked for.
const OLDEST: &str = "1.24";

/// A library that was found, opened and recognized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// The file, absolute, or a bare name for the system's loader.
    pub path: PathBuf,
    /// For example `1.31.1`.
    pub version: String,
}

/// Everything that the search for the library depends on.
#[derive(Debug, Clone, Default)]
pub struct LibrarySearch {
    /// `ORT_DYLIB_PATH`: if set, no other place counts.
    pub dylib_path: Option<OsString>,
    /// The running binary.
    pub executable: Option<PathBuf>,
    /// Folders of the system to look through for versioned names, after the loader was asked for the plain one.
    pub system_folders: Vec<PathBuf>,
    /// Names that the system's loader is asked for.
    pub system_names: Vec<String>,
}

impl LibrarySearch {
    /// The search as this process does it.
    pub fn of_this_process() -> Self {
        Self {
            dylib_path: std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()),
            executable: std::env::current_exe().ok(),
            system_folders: system_folders(),
            system_names: vec![PLAIN_NAME.to_owned(), SONAME.to_owned()],
        }
    }

    /// The first library in the order: `ORT_DYLIB_PATH`; beside the binary; `../lib/impasto` seen from the binary;
    /// `.runtime` in the binary's folder or any folder above; the system's.
    ///
    /// A file that is found but cannot be used ends the search: going on would hide it.
    ///
    /// # Errors
    /// All of [`RuntimeError`] but [`RuntimeError::Start`].
    pub fn find(&self) -> Result<Library, RuntimeError> {
        if let Some(dylib_path) = &self.dylib_path {
            let path = PathBuf::from(dylib_path);
            let file = if path.is_dir() { library_in(&path) } else { path.is_file().then(|| path.clone()) };
            let file = file.ok_or(RuntimeError::DylibPathMissing { path })?;
            return inspect(&std::path::absolute(&file).unwrap_or(file));
        }
        let mut searched = Vec::new();
        for folder in self.folders_by_binary() {
            if let Some(file) = library_in(&folder) {
                return inspect(&file);
            }
            searched.push(folder.join(PLAIN_NAME).display().to_string());
        }
        for name in &self.system_names {
            match inspect(Path::new(name)) {
                Err(RuntimeError::NotALibrary { .. }) => searched.push(format!("{name} by the system's loader")),
                found => return found,
            }
        }
        for folder in &self.system_folders {
            if let Some(file) = library_in(folder) {
                return inspect(&file);
            }
            searched.push(folder.display().to_string());
        }
        Err(RuntimeError::NotFound { searched })
    }

    fn folders_by_binary(&self) -> Vec<PathBuf> {
        let Some(folder) = self.executable.as_deref().and_then(Path::parent) else { return Vec::new() };
        let mut folders = vec![folder.to_owned()];
        folders.extend(folder.parent().map(|prefix| prefix.join("lib").join("impasto")));
        folders.extend(folder.ancestors().map(|ancestor| ancestor.join(".runtime")).filter(|folder| folder.is_dir()));
        folders
    }
}

#[cfg(target_os = "windows")]
const PLAIN_NAME: &str = "onnxruntime.dll";
#[cfg(target_os = "macos")]
const PLAIN_NAME: &str = "libonnxruntime.dylib";
#[cfg(not(any(target_os = "windows", target_os = "macos")))]
const PLAIN_NAME: &str = "libonnxruntime.so";

#[cfg(target_os = "windows")]
const SONAME: &str = "onnxruntime.dll";
#[cfg(target_os = "macos")]
const SONAME: &str = "libonnxruntime.1.dylib";
#[cfg(not(any(target_os = "windows", target_os = "macos")))]
const SONAME: &str = "libonnxruntime.so.1";

/// Whether `name` is the library's with a version in it: `libonnxruntime.so.1.31.1`, `libonnxruntime.1.31.1.dylib`.
fn is_versioned_name(name: &str) -> bool {
    let stem = PLAIN_NAME.split('.').next().unwrap_or(PLAIN_NAME);
    let Some(rest) = name.strip_prefix(stem) else { return false };
    rest.starts_with(".so.1") || (rest.starts_with(".1") && rest.ends_with(".dylib"))
}

/// The library of a folder: the plain name, else the newest versioned one.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let plain = folder.join(PLAIN_NAME);
    if plain.is_file() {
        return Some(plain);
    }
    let version_of = |path: &PathBuf| -> Vec<u32> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.split('.').filter_map(|part| part.parse().ok()).collect()
    };
    std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_versioned_name))
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .max_by_key(version_of)
}

fn system_folders() -> Vec<PathBuf> {
    let folders: &[&str] = if cfg!(target_os = "windows") {
        &[]
    } else if cfg!(target_os = "macos") {
        &["/opt/homebrew/lib", "/usr/local/lib"]
    } else {
        &["/usr/local/lib", "/usr/lib64", "/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"]
    };
    folders.iter().map(PathBuf::from).filter(|folder| folder.is_dir()).collect()
}

/// Keeps ONNX Runtime from collecting what it would tell its maker: which program runs it, and on what machine. Its interface
/// can only turn that off when the first of it is collected; before that its variable of the environment does. What
/// somebody set there stays.
///
/// To be called before other threads are started: they could read the environment while it changes. Loading the library does
/// it too.
#[allow(unsafe_code)]
pub fn forbid_telemetry() {
    const NAME: &str = "ORT_DISABLE_TELEMETRY";
    if std::env::var_os(NAME).is_none() {
        // SAFETY: the standard library's own readers are kept out; of others see above.
        unsafe { std::env::set_var(NAME, "1") };
    }
}

/// Opens a library and asks for its version.
#[allow(unsafe_code)]
fn inspect(path: &Path) -> Result<Library, RuntimeError> {
    // The loader believes the file, and the system ends the process where it is not as long as it says.
    if is_cut_short(path) {
        let message = "the file is cut short".to_owned();
        return Err(RuntimeError::NotALibrary { path: path.to_owned(), message });
    }
    // SAFETY: loading a library runs its initializers. The file is where the user or the installation put ONNX
    // Runtime, whose initializers have no preconditions.
    let library = unsafe { libloading::Library::new(path) }
        .map_err(|source| RuntimeError::NotALibrary { path: path.to_owned(), message: loader_message(&source) })?;
    let not_onnx_runtime = || RuntimeError::NotOnnxRuntime { path: path.to_owned() };
    // SAFETY: `OrtGetApiBase` has had this signature since the first release of ONNX Runtime's C interface, and the
    // table that it returns is static.
    let base = unsafe {
        let get_base: libloading::Symbol<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase> =
            library.get(b"OrtGetApiBase\0").map_err(|_| not_onnx_runtime())?;
        get_base().as_ref().ok_or_else(not_onnx_runtime)?
    };
    // SAFETY: the version is a static string that ends in NUL.
    let version = unsafe { CStr::from_ptr((base.GetVersionString)()) }.to_string_lossy().into_owned();
    let too_old = || RuntimeError::TooOld { path: path.to_owned(), version: version.clone() };
    if !is_new_enough(&version) {
        return Err(too_old());
    }
    // SAFETY: asking for a table of functions has no preconditions; null means that this version has none.
    if unsafe { (base.GetApi)(ort::MINOR_VERSION) }.is_null() {
        return Err(too_old());
    }
    Ok(Library { path: path.to_owned(), version })
}

/// Whether a file of ELF with 64 bits, little end first, ends before the table of sections that its header tells of.
fn is_cut_short(path: &Path) -> bool {
    let mut header = [0; 64];
    let Ok(mut file) = std::fs::File::open(path) else { return false };
    if file.read_exact(&mut header).is_err() || !header.starts_with(b"\x7fELF\x02\x01") {
        return false;
    }
    let number =
        |at: usize, bytes: usize| (at..at + bytes).rev().fold(0u64, |value, at| value << 8 | u64::from(header[at]));
    let (table, entry, entries) = (number(0x28, 8), number(0x3a, 2), number(0x3c, 2));
    file.metadata().is_ok_and(|metadata| table.saturating_add(entry * entries) > metadata.len())
}

/// Whether the library in a file exports one of these symbols.
///
/// # Errors
/// The loader's words where it is none.
#[allow(unsafe_code)]
pub(super) fn exports(path: &Path, symbols: &[&CStr]) -> Result<bool, String> {
    // SAFETY: loading a library runs its initializers. The user named the file to have it loaded, and ONNX Runtime has
    // tried before.
    let library = unsafe { libloading::Library::new(path) }.map_err(|error| loader_message(&error))?;
    // SAFETY: the symbols are looked for and not used.
    let is_there = |name: &&CStr| unsafe { library.get::<*const ()>(name.to_bytes_with_nul()) }.is_ok();
    Ok(symbols.iter().any(is_there))
}

/// The version of TensorRT's library, loaded by this name: `10.13.2`; `None` where there is none.
#[allow(unsafe_code)]
pub(super) fn tensorrt_version(name: &str) -> Option<String> {
    // SAFETY: as in `exports`; ONNX Runtime has loaded the library before, or will.
    let library = unsafe { libloading::Library::new(name) }.ok()?;
    // SAFETY: the function has had this signature in every release since TensorRT 5 and only returns a number.
    let version = unsafe {
        let version: libloading::Symbol<unsafe extern "C" fn() -> i32> = library.get(b"getInferLibVersion\0").ok()?;
        version()
    };
    // 10 13 02 since TensorRT 10, 8 6 01 before.
    let (major, rest) = if version >= 100_000 { (10_000, 100) } else { (1000, 100) };
    Some(format!("{}.{}.{}", version / major, version % major / rest, version % rest))
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    major > 1 || (major == 1 && minor >= ort::MINOR_VERSION)
}

/// The loader's words; `libloading` keeps them in the source on some platforms.
pub(super) fn loader_message(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn the_oldest_version_named_in_messages_is_the_one_that_is_asked_for() {
        assert_eq!(OLDEST, format!("1.{}", ort::MINOR_VERSION));
        assert!(is_new_enough("1.31.1") && is_new_enough("1.24.0") && is_new_enough("2.0.0"));
        assert!(!is_new_enough("1.23.3") && !is_new_enough("") && !is_new_enough("x.y"));
    }

    #[test]
    fn a_dylib_path_that_is_no_file_is_an_error_and_not_a_reason_to_look_elsewhere() {
        let search = LibrarySearch { dylib_path: Some("/no/such/file.so".into()), ..LibrarySearch::of_this_process() };
        let error = search.find().unwrap_err();
        assert!(matches!(error, RuntimeError::DylibPathMissing { .. }));
        assert!(error.to_string().contains("/no/such/file.so"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_library_is_named() {
        let folder = folder();
        let file = folder.path().join(PLAIN_NAME);
        std::fs::write(&file, "not a library").unwrap();
        let search = LibrarySearch { dylib_path: Some(file.clone().into()), ..Default::default() };
        let error = search.find().unwrap_err();
        assert!(matches!(error, RuntimeError::NotALibrary { .. }));
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_library_that_is_cut_short_is_told_before_it_is_loaded() {
        let whole = std::fs::read("/proc/self/exe").unwrap();
        let folder = folder();
        let file = folder.path().join(PLAIN_NAME);
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        let search = LibrarySearch { dylib_path: Some(file.clone().into()), ..Default::default() };
        let error = search.find().unwrap_err().to_string();
        assert!(error.contains("the file is cut short"), "{error}");
        std::fs::write(&file, &whole).unwrap();
        assert!(!is_cut_short(&file));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn another_library_is_recognized_as_such() {
        let libc = LibrarySearch { system_names: vec!["libc.so.6".to_owned()], ..Default::default() };
        assert!(matches!(libc.find(), Err(RuntimeError::NotOnnxRuntime { .. })));
    }

    #[test]
    fn when_nothing_is_found_every_place_is_listed_with_what_to_do() {
        let folder = folder();
        let search = LibrarySearch {
            executable: Some(folder.path().join("bin/impasto")),
            system_names: vec!["libno-such-library.so".to_owned()],
            ..Default::default()
        };
        let error = search.find().unwrap_err().to_string();
        for part in ["bin", "lib/impasto", "libno-such-library.so", "make demo", "pip download", "ORT_DYLIB_PATH"] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }

    #[test]
    fn the_nearest_place_wins_and_the_newest_version_in_it() {
        let root = folder();
        let bin = root.path().join("target/release");
        let runtime = root.path().join(".runtime");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(&runtime).unwrap();
        let search = LibrarySearch { executable: Some(bin.join("impasto")), ..Default::default() };
        let versioned = |version: &str| match PLAIN_NAME {
            "libonnxruntime.dylib" => format!("libonnxruntime.{version}.dylib"),
            name => format!("{name}.{version}"),
        };
        if cfg!(not(target_os = "windows")) {
            for version in ["1.9.0", "1.31.1"] {
                std::fs::write(runtime.join(versioned(version)), "").unwrap();
            }
            let error = search.find().unwrap_err().to_string();
            assert!(error.contains(&versioned("1.31.1")), "{error}");
        }
        std::fs::write(runtime.join(PLAIN_NAME), "").unwrap();
        let error = search.find().unwrap_err().to_string();
        assert!(error.contains(&runtime.join(PLAIN_NAME).display().to_string()), "{error}");
        std::fs::write(bin.join(PLAIN_NAME), "").unwrap();
        let error = search.find().unwrap_err().to_string();
        assert!(error.contains(&bin.join(PLAIN_NAME).display().to_string()), "{error}");
    }
}
