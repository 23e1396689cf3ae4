//! The file of a journal: records behind each other, each a line with a checksum and JSON, and behind that of a packet its bytes.
//!
//! What is cut off or damaged ends the file, as if it had never been written.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Settings, Whole};

/// What stands in a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// The first one.
    Begin { impasto_video_state: u32, settings: Settings },
    /// An unfinished output, which a program that was killed could not remove.
    Temporary(String),
    /// An output that was finished although it is not the whole video: its size in bytes.
    Output(u64),
    /// What the encoder gave.
    Packet(PacketRecord),
}

/// A packet, but for its bytes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacketRecord {
    pub pts: Option<i64>,
    pub dts: Option<i64>,
    pub duration: i64,
    pub flags: i32,
    /// Set if all frames until here are complete.
    pub whole: Option<Whole>,
    /// Length of the data that follows the line.
    pub bytes: u64,
    /// Length of what the packet brings for the header of the file, behind that: some encoders know it only now.
    pub header_bytes: u64,
}

/// What a file begins with, behind the checksum.
pub const BEGIN_NAME: &[u8] = b"{\"begin\":{\"impasto_video_state\":";
/// Where in the file that stands.
pub const BEGIN: Range<usize> = 9..9 + BEGIN_NAME.len();

/// No packet is larger, in bytes.
const LARGEST_PACKET: u64 = 1 << 30;
/// No line of ours is longer, in bytes.
const LONGEST_LINE: u64 = 1 << 16;

/// Appends a record, with the data of a packet and what that brings for the header of the file behind it; gives its length.
pub fn write_record(file: &mut File, record: &Record, [data, header]: [&[u8]; 2]) -> io::Result<u64> {
    let json = serde_json::to_string(record)?;
    let mut hasher = crc32fast::Hasher::new();
    [json.as_bytes(), b"\n", data, header].into_iter().for_each(|part| hasher.update(part));
    let line = format!("{:08x} {json}\n", hasher.finalize());
    let parts = [line.as_bytes(), data, header];
    parts.into_iter().try_for_each(|part| file.write_all(part))?;
    Ok(parts.into_iter().map(|part| part.len() as u64).sum())
}

/// Reads records until one is not as it was written.
pub struct Records<'a> {
    reader: BufReader<&'a File>,
    /// Where the next one begins.
    pub at: u64,
    length: u64,
    line: Vec<u8>,
    bytes: Vec<u8>,
}

impl<'a> Records<'a> {
    /// Reads those from the byte `at` on.
    pub fn new(mut file: &'a File, at: u64) -> io::Result<Self> {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(at))?;
        Ok(Self { reader: BufReader::with_capacity(1 << 18, file), at, length, line: Vec::new(), bytes: Vec::new() })
    }

    /// The next one, with what follows its line; `None` at the end of what is good.
    pub fn next(&mut self) -> Result<Option<(Record, &[u8])>> {
        self.line.clear();
        self.bytes.clear();
        (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', &mut self.line)?;
        let Some((checksum, body)) = self.line.split_at_checked(9) else { return Ok(None) };
        let checksum =
            str::from_utf8(checksum).ok().and_then(|text| u32::from_str_radix(text.strip_suffix(' ')?, 16).ok());
        let (Some(checksum), Ok(record)) = (checksum, serde_json::from_slice::<Record>(body)) else { return Ok(None) };
        let end_of_line = self.at + self.line.len() as u64;
        let bytes = match &record {
            Record::Packet(packet) => packet.bytes.saturating_add(packet.header_bytes),
            _ => 0,
        };
        // Checked before anything of that length is allocated.
        if bytes > self.length.saturating_sub(end_of_line).min(LARGEST_PACKET) {
            return Ok(None);
        }
        (&mut self.reader).take(bytes).read_to_end(&mut self.bytes)?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(body);
        hasher.update(&self.bytes);
        if self.bytes.len() as u64 != bytes || hasher.finalize() != checksum {
            return Ok(None);
        }
        self.at = end_of_line + bytes;
        Ok(Some((record, &self.bytes)))
    }

    /// Whether something follows that is no record.
    pub fn is_damaged(&self) -> bool {
        self.at < self.length
    }
}
