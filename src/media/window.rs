//! A window of the desktop for pictures, and the keys that are pressed in it, through OpenCV.
//!
//! What is shown and what a key means is the caller's to say. Toolkits want their windows on the main thread.

use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use opencv::core::{Mat, MatTraitConst, MatTraitManual};
use opencv::highgui;

use crate::frame::{CHANNELS, Frame, FrameSize};

/// Why no window can be opened.
#[derive(Debug, thiserror::Error)]
pub enum NoDisplay {
    /// Nobody has said where the screen is.
    #[error("there is no display to open a window on (neither DISPLAY nor WAYLAND_DISPLAY is set)")]
    Unset,
    /// Nobody answers there.
    #[error("the display '{0}' does not answer")]
    Dead(String),
}

/// An open window.
pub struct Window {
    name: String,
    /// Blue, green, red: what OpenCV shows.
    picture: Mat,
    /// Of the frame in the picture, which may have bars beside it.
    inside: FrameSize,
    is_full_screen: bool,
    has_shown: bool,
}

impl Window {
    /// The longer side of a new window at most, in pixels of the screen; larger pictures are shown smaller.
    const LONGEST_SIDE: usize = 1600;
    /// A picture and its bars are at most so many times as large as the picture.
    const MOST_BARS: usize = 8;

    /// Opens a window for pictures of `size`.
    ///
    /// # Errors
    /// [`NoDisplay`], or when the toolkit fails.
    pub fn open(name: &str, size: FrameSize) -> Result<Self> {
        // Without a display the toolkit would end the process. An X server may start anew when its last caller
        // leaves, so this one stays until the toolkit is there.
        let _caller = call_display(|name| std::env::var(name).ok())?;
        // The bars that keep a picture in shape are ours: a toolkit's own may be of any color.
        let flags = highgui::WINDOW_NORMAL | highgui::WINDOW_FREERATIO | highgui::WINDOW_GUI_NORMAL;
        highgui::named_window(name, flags).context("open a window")?;
        let mut window = Self {
            name: name.to_owned(),
            picture: Mat::default(),
            inside: size,
            is_full_screen: false,
            has_shown: false,
        };
        window.fit(size)?;
        Ok(window)
    }

    /// Makes the window as large as pictures of `size`.
    ///
    /// # Errors
    /// When the toolkit fails.
    pub fn fit(&mut self, size: FrameSize) -> Result<()> {
        let size = size.with_long_side_at_most(Self::LONGEST_SIDE);
        highgui::resize_window(&self.name, i32::try_from(size.width)?, i32::try_from(size.height)?)
            .context("resize the window")
    }

    /// Shows a picture; it is on the screen after the next [`Window::poll_key`].
    ///
    /// # Errors
    /// When the toolkit fails.
    pub fn show(&mut self, frame: &Frame) -> Result<()> {
        let size = self.with_bars(frame.size);
        let (rows, columns) = (i32::try_from(size.height)?, i32::try_from(size.width)?);
        if (self.picture.rows(), self.picture.cols(), self.inside) != (rows, columns, frame.size) {
            self.picture = Mat::new_rows_cols_with_default(rows, columns, opencv::core::CV_8UC3, 0.0.into())?;
            self.inside = frame.size;
        }
        let bytes = self.picture.data_bytes_mut()?;
        ensure!(bytes.len() == size.bytes(), "a picture of {size} does not fit the window's");
        let (left, top) = ((size.width - frame.size.width) / 2, (size.height - frame.size.height) / 2);
        let targets = bytes.chunks_exact_mut(size.width * CHANNELS).skip(top);
        for (target, source) in targets.zip(frame.pixels().chunks_exact(frame.size.width * CHANNELS)) {
            let target = target[left * CHANNELS..].as_chunks_mut::<CHANNELS>().0.iter_mut();
            for ([blue, green, red], source) in target.zip(source.as_chunks::<CHANNELS>().0) {
                [*red, *green, *blue] = *source;
            }
        }
        highgui::imshow(&self.name, &self.picture).context("show a picture")?;
        self.has_shown = true;
        Ok(())
    }

    /// The size of a picture together with the black bars that give it the shape of the window.
    fn with_bars(&self, size: FrameSize) -> FrameSize {
        match highgui::get_window_image_rect(&self.name) {
            Ok(place) if place.width > 0 && place.height > 0 => {
                let with_bars = size.in_shape_of(FrameSize::new(place.width as usize, place.height as usize));
                // A strip of a window has no room for a picture.
                if with_bars.pixels() <= Self::MOST_BARS * size.pixels() { with_bars } else { size }
            }
            _ => size,
        }
    }

    /// Lets the toolkit work for a millisecond; the character of a key that was pressed.
    ///
    /// # Errors
    /// When the toolkit fails.
    pub fn poll_key(&mut self) -> Result<Option<char>> {
        Ok(character(highgui::wait_key_ex(1).context("ask the window for keys")?))
    }

    /// Whether somebody has closed it.
    pub fn is_closed(&self) -> bool {
        // Before its first picture a toolkit may not have opened it yet.
        self.has_shown
            && !highgui::get_window_property(&self.name, highgui::WND_PROP_VISIBLE).is_ok_and(|value| value >= 1.0)
    }

    /// Fills the screen, or goes back to a window.
    ///
    /// # Errors
    /// When the toolkit fails.
    pub fn set_full_screen(&mut self, is_full_screen: bool) -> Result<()> {
        if is_full_screen != self.is_full_screen {
            let value = if is_full_screen { highgui::WINDOW_FULLSCREEN } else { highgui::WINDOW_NORMAL };
            highgui::set_window_property(&self.name, highgui::WND_PROP_FULLSCREEN, f64::from(value))
                .context("change the window")?;
            self.is_full_screen = is_full_screen;
        }
        Ok(())
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // One that was closed by hand is gone already.
        let _ = highgui::destroy_window(&self.name);
    }
}

/// The character of a toolkit's code. Arrows and their like have codes beyond characters; above them stand Shift and its like.
fn character(code: i32) -> Option<char> {
    const MODIFIERS: u32 = 0xffff_0000;
    let code = u32::try_from(code).ok()? & !MODIFIERS;
    char::from_u32(code).filter(char::is_ascii)
}

/// A connection to the screen, which nothing is sent over.
#[cfg(unix)]
type Caller = std::os::fd::OwnedFd;
#[cfg(not(unix))]
type Caller = std::convert::Infallible;

/// Whether a window could be opened.
///
/// # Errors
/// [`NoDisplay`].
pub fn check_display() -> Result<(), NoDisplay> {
    call_display(|name| std::env::var(name).ok()).map(drop)
}

/// Whether a screen answers. Systems without X and Wayland have one; only X is called.
fn call_display(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Caller>, NoDisplay> {
    if !cfg!(all(unix, not(target_os = "macos"))) {
        return Ok(None);
    }
    let set = |name| variable(name).filter(|value| !value.is_empty());
    match (set("DISPLAY"), set("WAYLAND_DISPLAY")) {
        (Some(display), None) => call(&display).map(Some).ok_or(NoDisplay::Dead(display)),
        (None, None) => Err(NoDisplay::Unset),
        _ => Ok(None),
    }
}

/// A connection to the X server that listens where `display` (`host:number.screen`) says.
#[cfg(unix)]
fn call(display: &str) -> Option<Caller> {
    use std::net::{TcpStream, ToSocketAddrs};
    use std::os::unix::net::{SocketAddr, UnixStream};

    /// Where X servers listen, by their numbers.
    const X_PORT: u16 = 6000;
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);

    let (host, number) = display.rsplit_once(':')?;
    let number = number.split('.').next().unwrap_or_default();
    if !host.is_empty() && host != "unix" && !host.starts_with('/') {
        let port = X_PORT.saturating_add(number.parse().ok()?);
        let mut addresses = (host, port).to_socket_addrs().ok()?;
        return addresses.find_map(|address| TcpStream::connect_timeout(&address, PATIENCE).ok()).map(Into::into);
    }
    let path = if host.starts_with('/') {
        // XQuartz gives the path of its socket.
        PathBuf::from(format!("{host}:{number}"))
    } else {
        PathBuf::from(format!("/tmp/.X11-unix/X{number}"))
    };
    let in_files = UnixStream::connect(&path);
    #[cfg(target_os = "linux")]
    if in_files.is_err() {
        use std::os::linux::net::SocketAddrExt;
        let address: io::Result<SocketAddr> = SocketAddr::from_abstract_name(path.as_os_str().as_encoded_bytes());
        return address.and_then(|address| UnixStream::connect_addr(&address)).ok().map(Into::into);
    }
    in_files.ok().map(Into::into)
}

#[cfg(not(unix))]
fn call(_: &str) -> Option<Caller> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn check(display: Option<&str>, wayland: Option<&str>) -> Result<Option<Caller>, NoDisplay> {
        call_display(|name| if name == "DISPLAY" { display } else { wayland }.map(str::to_owned))
    }

    #[test]
    fn without_a_display_that_answers_no_window_is_tried() {
        assert!(matches!(check(None, None), Err(NoDisplay::Unset)));
        assert!(matches!(check(Some(""), Some("")), Err(NoDisplay::Unset)));
        assert!(matches!(check(Some(":54321"), None), Err(NoDisplay::Dead(_))));
        assert!(matches!(check(Some("127.0.0.1:54321"), None), Err(NoDisplay::Dead(_))));
        assert!(matches!(check(Some("nonsense"), None), Err(NoDisplay::Dead(_))));
        assert!(check(None, Some("wayland-0")).is_ok());
    }

    #[test]
    fn a_display_that_answers_is_taken() {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixListener};
        let address = SocketAddr::from_abstract_name("/tmp/.X11-unix/X54320").unwrap();
        let _server = UnixListener::bind_addr(&address).unwrap();
        assert!(check(Some(":54320.0"), None).unwrap().is_some());
    }

    #[test]
    fn only_keys_with_a_character_have_one() {
        let (shift, num_lock) = (0x1_0000, 0x10_0000);
        for (code, expected) in [
            (i32::from(b'q'), Some('q')),
            (shift | i32::from(b'?'), Some('?')),
            (num_lock | 27, Some('\x1b')),
            (-1, None),
            // Left, Up and Right of GTK, whose last bytes are Q, R and S.
            (0xff51, None),
            (0xff52, None),
            (num_lock | 0xff53, None),
        ] {
            assert_eq!(character(code), expected, "{code:x}");
        }
    }
}
