//! A folder of styles that the user has learnt or was given: each is found by the name of its file.

use std::path::{Path, PathBuf};

use super::catalog::normalized;
use super::learned::EXTENSION;

/// A style in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderStyle {
    /// The name to ask for it by: that of the file, in lower case, words joined by hyphens.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

/// The styles in a folder, by name; none where there is no such folder.
pub fn list(folder: &Path) -> Vec<FolderStyle> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut styles: Vec<FolderStyle> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(EXTENSION)))
        .filter_map(|path| Some(FolderStyle { name: normalized(&path.file_stem()?.to_string_lossy()), path }))
        .collect();
    styles.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.path.cmp(&b.path)));
    styles
}

/// The style called `name` in a folder; letter case, spaces and underscores do not matter.
pub fn find(folder: &Path, name: &str) -> Option<FolderStyle> {
    find_all(folder, name).into_iter().next()
}

/// All styles called `name` in a folder: the first is taken, and hides the others.
pub fn find_all(folder: &Path, name: &str) -> Vec<FolderStyle> {
    let wanted = normalized(name);
    list(folder).into_iter().filter(|style| style.name == wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_are_found_by_the_names_of_their_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["My Fog.style", "a.STYLE", "b.onnx", "style"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let names: Vec<String> = list(folder.path()).into_iter().map(|style| style.name).collect();
        assert_eq!(names, ["a", "my-fog"]);
        assert_eq!(find(folder.path(), "MY_fog").unwrap().path, folder.path().join("My Fog.style"));
        assert_eq!(find(folder.path(), "fog"), None);
        std::fs::write(folder.path().join("my-fog.style"), "").unwrap();
        let all = find_all(folder.path(), "my fog");
        assert_eq!(
            all.iter().map(|style| style.path.file_name().unwrap()).collect::<Vec<_>>(),
            ["My Fog.style", "my-fog.style"]
        );
        assert_eq!(find(folder.path(), "my fog").as_ref(), all.first());
        assert!(list(&folder.path().join("missing")).is_empty());
    }
}
