//! Letters for pictures of our own, drawn here so that a picture is the same on every machine and needs no font of the
//! system. Enough for names and figures: small letters, digits and a few signs; capitals are written
//! small, and other letters are boxes.

use std::ops::DerefMut;

use image::{ImageBuffer, Rgb};

/// Pixels of the picture for each of a letter's.
const SCALE: u32 = 2;
/// Columns of a letter and the space after it.
const ADVANCE: u32 = 6 * SCALE;

/// Rows of a line, from the tops of the letters to the ends of those that go below it.
pub const LINE_HEIGHT: u32 = 9 * SCALE;

/// Columns that a text takes.
pub fn text_width(text: &str) -> u32 {
    text.chars().count() as u32 * ADVANCE
}

/// Writes a text with its upper left corner at (`x`, `y`); what does not fit into the picture is left out.
pub fn write<C>(picture: &mut ImageBuffer<Rgb<u8>, C>, x: u32, y: u32, text: &str, color: Rgb<u8>)
where
    C: DerefMut<Target = [u8]>,
{
    for (index, letter) in text.chars().enumerate() {
        for (row, bits) in glyph(letter.to_ascii_lowercase()).into_iter().enumerate() {
            for column in (0..5).filter(|column| bits & (0b10000 >> column) != 0) {
                let (x, y) = (x + index as u32 * ADVANCE + column * SCALE, y + row as u32 * SCALE);
                for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                    if let Some(pixel) = picture.get_pixel_mut_checked(x + dx, y + dy) {
                        *pixel = color;
                    }
                }
            }
        }
    }
}

/// What stands for a letter that has no shape here: a box.
const UNKNOWN: [u8; 9] = [0b11111, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11111, 0, 0];

/// Five columns and seven rows and two below the line, top to bottom.
#[rustfmt::skip]
fn glyph(letter: char) -> [u8; 9] {
    match letter {
        '0' => [0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110, 0, 0],
        '1' => [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110, 0, 0],
        '2' => [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111, 0, 0],
        '3' => [0b01110, 0b10001, 0b00001, 0b00110, 0b00001, 0b10001, 0b01110, 0, 0],
        '4' => [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010, 0, 0],
        '5' => [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110, 0, 0],
        '6' => [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110, 0, 0],
        '7' => [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000, 0, 0],
        '8' => [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110, 0, 0],
        '9' => [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100, 0, 0],
        'a' => [0, 0, 0b01110, 0b00001, 0b01111, 0b10001, 0b01111, 0, 0],
        'b' => [0b10000, 0b10000, 0b11110, 0b10001, 0b10001, 0b10001, 0b11110, 0, 0],
        'c' => [0, 0, 0b01110, 0b10000, 0b10000, 0b10001, 0b01110, 0, 0],
        'd' => [0b00001, 0b00001, 0b01111, 0b10001, 0b10001, 0b10001, 0b01111, 0, 0],
        'e' => [0, 0, 0b01110, 0b10001, 0b11111, 0b10000, 0b01110, 0, 0],
        'f' => [0b00110, 0b01001, 0b01000, 0b11100, 0b01000, 0b01000, 0b01000, 0, 0],
        'g' => [0, 0, 0b01111, 0b10001, 0b10001, 0b10001, 0b01111, 0b00001, 0b01110],
        'h' => [0b10000, 0b10000, 0b10110, 0b11001, 0b10001, 0b10001, 0b10001, 0, 0],
        'i' => [0b00100, 0, 0b01100, 0b00100, 0b00100, 0b00100, 0b01110, 0, 0],
        'j' => [0b00010, 0, 0b00110, 0b00010, 0b00010, 0b00010, 0b00010, 0b10010, 0b01100],
        'k' => [0b10000, 0b10000, 0b10010, 0b10100, 0b11000, 0b10100, 0b10010, 0, 0],
        'l' => [0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110, 0, 0],
        'm' => [0, 0, 0b11010, 0b10101, 0b10101, 0b10001, 0b10001, 0, 0],
        'n' => [0, 0, 0b10110, 0b11001, 0b10001, 0b10001, 0b10001, 0, 0],
        'o' => [0, 0, 0b01110, 0b10001, 0b10001, 0b10001, 0b01110, 0, 0],
        'p' => [0, 0, 0b11110, 0b10001, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000],
        'q' => [0, 0, 0b01111, 0b10001, 0b10001, 0b10001, 0b01111, 0b00001, 0b00001],
        'r' => [0, 0, 0b10110, 0b11001, 0b10000, 0b10000, 0b10000, 0, 0],
        's' => [0, 0, 0b01111, 0b10000, 0b01110, 0b00001, 0b11110, 0, 0],
        't' => [0b01000, 0b01000, 0b11100, 0b01000, 0b01000, 0b01001, 0b00110, 0, 0],
        'u' => [0, 0, 0b10001, 0b10001, 0b10001, 0b10011, 0b01101, 0, 0],
        'v' => [0, 0, 0b10001, 0b10001, 0b10001, 0b01010, 0b00100, 0, 0],
        'w' => [0, 0, 0b10001, 0b10001, 0b10101, 0b10101, 0b01010, 0, 0],
        'x' => [0, 0, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001, 0, 0],
        'y' => [0, 0, 0b10001, 0b10001, 0b10001, 0b10001, 0b01111, 0b00001, 0b01110],
        'z' => [0, 0, 0b11111, 0b00010, 0b00100, 0b01000, 0b11111, 0, 0],
        '-' => [0, 0, 0, 0b01110, 0, 0, 0, 0, 0],
        '+' => [0, 0b00100, 0b00100, 0b11111, 0b00100, 0b00100, 0, 0, 0],
        '[' => [0b01110, 0b01000, 0b01000, 0b01000, 0b01000, 0b01000, 0b01110, 0, 0],
        ']' => [0b01110, 0b00010, 0b00010, 0b00010, 0b00010, 0b00010, 0b01110, 0, 0],
        ',' => [0, 0, 0, 0, 0, 0b01100, 0b00100, 0b01000, 0],
        '/' => [0b00001, 0b00001, 0b00010, 0b00100, 0b01000, 0b10000, 0b10000, 0, 0],
        '(' => [0b00010, 0b00100, 0b01000, 0b01000, 0b01000, 0b00100, 0b00010, 0, 0],
        ')' => [0b01000, 0b00100, 0b00010, 0b00010, 0b00010, 0b00100, 0b01000, 0, 0],
        '.' => [0, 0, 0, 0, 0, 0b01100, 0b01100, 0, 0],
        ':' => [0, 0, 0b01100, 0b01100, 0, 0b01100, 0b01100, 0, 0],
        '_' => [0, 0, 0, 0, 0, 0, 0b11111, 0, 0],
        '\'' => [0b00100, 0b00100, 0b01000, 0, 0, 0, 0, 0, 0],
        '=' => [0, 0, 0b11111, 0, 0b11111, 0, 0, 0, 0],
        '#' => [0b01010, 0b01010, 0b11111, 0b01010, 0b11111, 0b01010, 0b01010, 0, 0],
        '?' => [0b01110, 0b10001, 0b00001, 0b00110, 0b00100, 0, 0b00100, 0, 0],
        '%' => [0b11001, 0b11001, 0b00010, 0b00100, 0b01000, 0b10011, 0b10011, 0, 0],
        space if space.is_whitespace() => [0; 9],
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;

    #[test]
    fn every_letter_that_is_written_has_a_shape_of_its_own() {
        let letters = "abcdefghijklmnopqrstuvwxyz0123456789.-_:+[],/()'=#?%";
        let mut shapes: Vec<_> = letters.chars().map(glyph).collect();
        assert!(!shapes.contains(&[0; 9]) && !shapes.contains(&UNKNOWN));
        shapes.sort_unstable();
        shapes.dedup();
        assert_eq!(shapes.len(), letters.len());
        assert_eq!(glyph(' '), [0; 9]);
        assert_eq!(['日', 'é'].map(glyph), [UNKNOWN; 2]);
    }

    #[test]
    fn text_that_does_not_fit_is_cut_off() {
        let mut picture = RgbImage::new(20, 10);
        write(&mut picture, 15, 5, "Wide", Rgb([255; 3]));
        assert!(picture.pixels().any(|pixel| pixel.0 == [255; 3]));
        assert_eq!(text_width("Wide"), 48);
    }
}
