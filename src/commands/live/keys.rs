//! The keys of `impasto live`: one table for what they do, for the list in the window, for `--help` and for the README.

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Fade to the style after this one.
    NextStyle,
    /// Fade to the style before this one.
    PreviousStyle,
    /// More of the style.
    MoreStrength,
    /// Less of the style.
    LessStrength,
    /// Hold painted frames longer.
    MoreSmoothing,
    /// Hold painted frames for less time.
    LessSmoothing,
    /// Original and painting side by side.
    Split,
    /// Colors of the camera or of the style.
    KeepColor,
    /// Left and right change places.
    Mirror,
    /// Save a picture.
    Snapshot,
    /// Start or end a recording.
    Record,
    /// Figures over the picture.
    Overlay,
    /// The whole screen or a window.
    FullScreen,
    /// This list.
    Help,
    /// End.
    Quit,
}

/// A line of the table.
#[derive(Debug)]
pub struct Key {
    /// Characters that mean the same.
    pub characters: &'static [char],
    /// How they are written for people.
    pub label: &'static str,
    /// What happens.
    pub action: Action,
    /// The same in words.
    pub meaning: &'static str,
}

const fn key(characters: &'static [char], label: &'static str, action: Action, meaning: &'static str) -> Key {
    Key { characters, label, action, meaning }
}

/// Escape, as a toolkit reports it.
const ESCAPE: char = '\u{1b}';

/// Every key.
pub const KEYS: &[Key] = &[
    key(&['n', ' '], "n, space", Action::NextStyle, "next style, faded in over a second"),
    key(&['p'], "p", Action::PreviousStyle, "previous style"),
    key(&['+', '='], "+", Action::MoreStrength, "more of the style"),
    key(&['-'], "-", Action::LessStrength, "less of the style"),
    key(&[']', '.'], "]", Action::MoreSmoothing, "hold the painting longer"),
    key(&['[', ','], "[", Action::LessSmoothing, "hold it for less time"),
    key(&['v'], "v", Action::Split, "original beside the painting"),
    key(&['c'], "c", Action::KeepColor, "keep the colours of the camera"),
    key(&['m'], "m", Action::Mirror, "mirror"),
    key(&['s'], "s", Action::Snapshot, "save a picture"),
    key(&['r'], "r", Action::Record, "start or end a recording"),
    key(&['o'], "o", Action::Overlay, "figures: rate, latency, provider"),
    key(&['f'], "f", Action::FullScreen, "full screen"),
    key(&['h', '?'], "h", Action::Help, "this list"),
    key(&['q', ESCAPE], "q, Esc", Action::Quit, "quit"),
];

/// What a key does; letter case does not matter.
pub fn action_of(character: char) -> Option<Action> {
    let character = character.to_ascii_lowercase();
    KEYS.iter().find(|key| key.characters.contains(&character)).map(|key| key.action)
}

/// The table as lines of text, keys first.
pub fn lines() -> impl Iterator<Item = String> {
    let width = KEYS.iter().map(|key| key.label.len()).max().unwrap_or_default();
    KEYS.iter().map(move |key| format!("{:<width$}  {}", key.label, key.meaning))
}

/// What `--help` says after the options.
pub fn help() -> String {
    let mut text = String::from(
        "\
Examples:
  impasto live --style great-wave
  impasto live --camera 'HD Webcam' --size 1280x720 --fps 30 --quality auto
  impasto live --camera rtsp://192.168.0.5/live --reconnect --record evening.mkv
  impasto live --camera clip.mp4 --no-window --stream udp://192.168.0.9:5000
  impasto live --virtual-camera /dev/video10

Keys in the window:",
    );
    for line in lines() {
        text.push_str("\n  ");
        text.push_str(&line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_means_two_things() {
        let mut characters: Vec<char> = KEYS.iter().flat_map(|key| key.characters).copied().collect();
        let count = characters.len();
        characters.sort_unstable();
        characters.dedup();
        assert_eq!(characters.len(), count);
        for key in KEYS {
            assert_eq!(key.characters.first().copied().and_then(action_of), Some(key.action));
        }
        assert_eq!(action_of('Q'), Some(Action::Quit));
        assert_eq!(action_of('x'), None);
    }

    #[test]
    fn the_readme_lists_the_same_keys() {
        let readme = include_str!("../../../README.md");
        for key in KEYS {
            let line = format!("| `{}` | {} |", key.label.replace(", ", "`, `"), key.meaning);
            assert!(readme.contains(&line), "README.md lacks the line {line}");
        }
    }
}
