//! Which network a style is painted by, and which of its styles it is.
//!
//! A name of the catalog is a style of every bundled network: which of them paints is chosen, or follows from the device. A
//! learnt style has its network, and the path of a network is one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::catalog::{self, Catalog};
use super::folder;
use super::learned::LearnedStyle;
use super::spec::{StyleChoice, StyleRef, StyleSpec};
use crate::onnx::Model;

/// Which of the bundled networks paints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkChoice {
    /// The one that a learnt style is of, else the one that suits the device.
    #[default]
    Auto,
    /// The small one, for processors.
    Lite,
    /// The large one, for GPUs.
    Full,
}

impl NetworkChoice {
    /// The choices by name.
    pub const NAMES: [(&str, Self); 3] = [("auto", Self::Auto), ("lite", Self::Lite), ("full", Self::Full)];

    /// The catalog's name of the network, on a device that is a GPU or none; see [`crate::runtime::Providers::is_gpu`].
    pub fn on(self, is_gpu: bool) -> &'static str {
        match self {
            Self::Lite => "impasto-lite",
            Self::Full => "impasto-full",
            Self::Auto if is_gpu => Self::Full.on(is_gpu),
            Self::Auto => Self::Lite.on(is_gpu),
        }
    }

    /// The choice that names a network of the catalog; [`NetworkChoice::Auto`] where none does.
    pub fn of(network: &str) -> Self {
        [Self::Lite, Self::Full].into_iter().find(|choice| choice.on(false) == network).unwrap_or_default()
    }
}

/// The word that chooses it.
impl std::fmt::Display for NetworkChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Self::NAMES.iter().find(|(_, choice)| choice == self).map_or("", |(name, _)| name))
    }
}

/// A choice that does not go with the network, or of a network that does not go with the style.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NetworkMisuse {
    /// The style is a network of its own.
    #[error("'{}' is itself a network, so '{asked}' cannot paint its style", .path.display())]
    OtherNetwork {
        /// The file that was given as the style.
        path: PathBuf,
        /// The network that was asked for.
        asked: &'static str,
    },
    /// The style was learnt for another one of the bundled networks.
    #[error("the style '{}' was learnt for '{network}', so '{asked}' cannot paint it", .path.display())]
    LearntForOther {
        /// The file of the style.
        path: PathBuf,
        /// The network that it was learnt for.
        network: &'static str,
        /// The network that was asked for.
        asked: &'static str,
    },
    /// The network takes its style from a picture, and none was given.
    #[error("this network paints in the style of any painting and needs one as its style image")]
    NoStyleImage,
    /// The network does not take its style from a picture.
    #[error("this network has its own styles and takes no style image (expected none, got '{}')", .path.display())]
    StyleImage {
        /// The picture that was given.
        path: PathBuf,
    },
    /// The network has no form in 8-bit integers, or a style brings convolutions that have none.
    #[error("it has no form in 8-bit integers")]
    NoIntegers,
}

/// Where a network's file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// In the binary, by its name in the catalog.
    Bundled(&'static str),
    File(PathBuf),
}

impl Location {
    pub fn label(&self) -> String {
        match self {
            Self::Bundled(network) => format!("the bundled network '{network}'"),
            Self::File(path) => format!("the style network '{}'", path.display()),
        }
    }

    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Bundled(_) => None,
            Self::File(path) => Some(path),
        }
    }

    /// The graph; that with convolutions in 8-bit integers, if so asked and there is one.
    pub fn read(&self, is_int8: bool) -> Result<Model> {
        match self {
            Self::Bundled(network) => {
                let catalog = Catalog::bundled()?;
                match catalog.network_int8_bytes(network)?.filter(|_| is_int8) {
                    Some(bytes) => Ok(Model::from_bytes(bytes)?),
                    None => catalog.network_model(network),
                }
            }
            Self::File(path) => Model::load(path),
        }
    }
}

/// A style of a network and its share.
pub(super) struct Choice {
    /// `None`: the network has only one.
    pub style: Option<StyleChoice>,
    pub weight: f32,
}

/// The one network that all styles of a spec are of.
pub(super) struct Located {
    pub location: Location,
    /// The choice among its styles.
    pub choices: Vec<Choice>,
    /// Styles that it gets, by name, in this order behind its own.
    pub learned: Vec<(String, LearnedStyle)>,
}

/// The learnt styles of a spec.
#[derive(Default)]
struct Learned {
    styles: Vec<(String, LearnedStyle)>,
    /// The file of the first one and its network, which is that of all.
    bound: Option<(PathBuf, &'static str)>,
}

impl Learned {
    /// Reads one more; which style of the network it will be.
    fn read(&mut self, path: &Path, catalog: &'static Catalog) -> Result<StyleChoice> {
        let style = LearnedStyle::load(path)?;
        let network =
            style.description.bundled_network().with_context(|| format!("open the style '{}'", path.display()))?;
        match &self.bound {
            Some((first, bound)) if *bound != network => bail!(
                "the style '{}' was learnt for '{bound}' and '{}' for '{network}' (only styles of one network can be blended: learn one of \
                 them anew for the other's network)",
                first.display(),
                path.display()
            ),
            Some(_) => {}
            None => self.bound = Some((path.to_owned(), network)),
        }
        let index = catalog.styles().len() + self.styles.len();
        let name = path.file_stem().map(|stem| catalog::normalized(&stem.to_string_lossy())).unwrap_or_default();
        self.styles.push((name, style));
        Ok(StyleChoice::Index(index))
    }
}

/// Finds the network of `spec`; names that are not in the catalog are looked for in `style_folder`. `is_gpu` says of which kind the
/// device is.
///
/// # Errors
/// [`NetworkMisuse`] where `network` does not go with the spec; else when a style is not there or its file is none, or when styles
/// are of different networks.
pub(super) fn locate(
    spec: &StyleSpec,
    style_folder: Option<&Path>,
    network: NetworkChoice,
    is_gpu: bool,
) -> Result<Located> {
    let catalog = Catalog::bundled()?;
    let asked = (network != NetworkChoice::Auto).then(|| network.on(is_gpu));
    // The first style, and its network where that is a file.
    let mut first: Option<(Option<&Path>, &StyleRef)> = None;
    let mut choices = Vec::new();
    let mut learned = Learned::default();
    for term in spec.terms() {
        let (file, style) = match &term.style {
            StyleRef::Named(name) => match catalog.find(name) {
                Ok(style) => (None, Some(StyleChoice::Index(style.index))),
                Err(_) => {
                    let own = style_folder.map(folder::list).unwrap_or_default();
                    let found = style_folder.and_then(|folder| folder::find(folder, name));
                    let found = found.ok_or_else(|| catalog.unknown(name, &own))?;
                    (None, Some(learned.read(&found.path, catalog)?))
                }
            },
            StyleRef::Learned(path) => (None, Some(learned.read(path, catalog)?)),
            StyleRef::Network { path, choice } => (Some(path.as_path()), choice.clone()),
        };
        match &first {
            Some((first, first_style)) if *first != file => bail!(
                "styles '{first_style}' and '{}' are of different networks (only styles of one network can be blended)",
                term.style
            ),
            Some(_) => {}
            None => first = Some((file, &term.style)),
        }
        choices.push(Choice { style, weight: term.weight });
    }
    let (file, _) = first.context("no style was named")?;
    let location = match (file, asked, learned.bound) {
        (Some(path), Some(asked), _) => return Err(NetworkMisuse::OtherNetwork { path: path.to_owned(), asked }.into()),
        (Some(path), None, _) => Location::File(path.to_owned()),
        (None, Some(asked), Some((path, network))) if network != asked => {
            return Err(NetworkMisuse::LearntForOther { path, network, asked }.into());
        }
        (None, _, Some((_, network))) => Location::Bundled(network),
        (None, _, None) => Location::Bundled(network.on(is_gpu)),
    };
    Ok(Located { location, choices, learned: learned.styles })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Device, DeviceChoice, DeviceError, Provider, Providers, choose};

    /// A machine all of whose providers work, with a library of one processor and one GPU.
    struct Machine(Vec<Provider>);

    impl Providers for Machine {
        fn in_build(&self) -> Vec<Provider> {
            self.0.clone()
        }

        fn check(&self, _device: &Device) -> Result<(), DeviceError> {
            Ok(())
        }

        fn library_has_gpu(&self, _name: &str, index: u32) -> bool {
            index == 1
        }
    }

    /// What paints on the device that is taken.
    fn chosen(network: NetworkChoice, device: &DeviceChoice, in_build: &[Provider]) -> &'static str {
        let machine = Machine(in_build.to_vec());
        choose(device, &machine, |device| Ok(network.on(machine.is_gpu(device)))).unwrap().value
    }

    #[test]
    fn the_device_that_is_taken_says_which_network_paints() {
        use Provider::{CoreMl, Cpu, Cuda, DirectMl, OpenVino, WebGpu};
        let auto = |in_build: &[Provider]| chosen(NetworkChoice::Auto, &DeviceChoice::Auto, in_build);
        for gpu in [Cuda, CoreMl, DirectMl, WebGpu] {
            assert_eq!(auto(&[Cpu, gpu.clone()]), "impasto-full", "{gpu}");
        }
        assert_eq!([auto(&[Cpu]), auto(&[Cpu, OpenVino])], ["impasto-lite"; 2]);
        for (device, expected) in
            [("cpu", "lite"), ("openvino", "lite"), ("tensorrt", "full"), ("own:0", "lite"), ("own:1", "full")]
        {
            let device = device.parse().unwrap();
            assert_eq!(chosen(NetworkChoice::Auto, &device, &[Cpu]), format!("impasto-{expected}"), "{device:?}");
            assert_eq!(chosen(NetworkChoice::Lite, &device, &[Cpu]), "impasto-lite");
            assert_eq!(chosen(NetworkChoice::Full, &device, &[Cpu]), "impasto-full");
        }
    }

    #[test]
    fn every_network_of_the_catalog_can_be_chosen_by_its_word() {
        for network in Catalog::bundled().unwrap().networks() {
            let choice = NetworkChoice::of(&network.name);
            assert_eq!(choice.on(false), network.name);
            assert_eq!(network.name, format!("impasto-{choice}"));
        }
        assert_eq!(NetworkChoice::of("another"), NetworkChoice::Auto);
    }

    fn located(spec: &str, network: NetworkChoice, is_gpu: bool) -> Result<Location> {
        Ok(locate(&spec.parse()?, None, network, is_gpu)?.location)
    }

    #[test]
    fn a_style_of_the_catalog_is_the_same_entry_of_either_network() {
        let location = |network, is_gpu| located("wave:0.5,scream:0.5", network, is_gpu).unwrap();
        assert_eq!(location(NetworkChoice::Auto, false), Location::Bundled("impasto-lite"));
        assert_eq!(location(NetworkChoice::Auto, true), Location::Bundled("impasto-full"));
        assert_eq!(location(NetworkChoice::Lite, true), Location::Bundled("impasto-lite"));
        let indices = |network| -> Vec<Option<StyleChoice>> {
            let located = locate(&"wave,scream".parse().unwrap(), None, network, false).unwrap();
            located.choices.into_iter().map(|choice| choice.style).collect()
        };
        assert_eq!(indices(NetworkChoice::Lite), indices(NetworkChoice::Full));
    }

    #[test]
    fn a_network_in_a_file_is_painted_by_itself_alone() {
        for is_gpu in [false, true] {
            let location = located("their.onnx#2", NetworkChoice::Auto, is_gpu).unwrap();
            assert_eq!(location, Location::File("their.onnx".into()));
        }
        let error = located("their.onnx", NetworkChoice::Full, true).unwrap_err();
        let expected = NetworkMisuse::OtherNetwork { path: "their.onnx".into(), asked: "impasto-full" };
        assert_eq!(error.downcast_ref(), Some(&expected));
        let error = located("wave,their.onnx", NetworkChoice::Auto, false).unwrap_err().to_string();
        assert!(error.contains("'wave' and 'their.onnx' are of different networks"), "{error}");
    }
}
