//! Colours of one picture given to another: Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer", §3.1.

use super::picture::Picture;
use crate::frame::CHANNELS;

type Matrix = [[f64; CHANNELS]; CHANNELS];

/// Added to each variance (of colours of 0–1), so that a picture of one colour can be given others.
const LEAST_VARIANCE: f64 = 1e-5;

/// Moves the colours of `style` linearly so that their mean and covariance are those of `content`; what comes to lie
/// outside 0–1 is held.
pub fn match_colors(style: &mut Picture, content: &Picture) {
    let (style_mean, content_mean) = (style.mean_color(), content.mean_color());
    let style_root = cholesky(covariance(style, style_mean));
    let content_root = cholesky(covariance(content, content_mean));
    let transform = product(content_root, inverse_of_lower(style_root));
    let count = style.size.pixels();
    for index in 0..count {
        let color = [0, 1, 2].map(|channel| f64::from(style.planes[channel * count + index]) - style_mean[channel]);
        for channel in 0..CHANNELS {
            let moved: f64 = (0..CHANNELS).map(|from| transform[channel][from] * color[from]).sum();
            style.planes[channel * count + index] = (moved + content_mean[channel]).clamp(0.0, 1.0) as f32;
        }
    }
}

fn covariance(picture: &Picture, mean: [f64; CHANNELS]) -> Matrix {
    let count = picture.size.pixels();
    let mut covariance = [[0.0; CHANNELS]; CHANNELS];
    for index in 0..count {
        let color = [0, 1, 2].map(|channel| f64::from(picture.planes[channel * count + index]) - mean[channel]);
        for (row, a) in covariance.iter_mut().zip(color) {
            row.iter_mut().zip(color).for_each(|(sum, b)| *sum += a * b);
        }
    }
    for (index, row) in covariance.iter_mut().enumerate() {
        row.iter_mut().for_each(|sum| *sum /= count.max(1) as f64);
        row[index] += LEAST_VARIANCE;
    }
    covariance
}

/// The lower triangle L with L·Lᵀ = `matrix`.
fn cholesky(matrix: Matrix) -> Matrix {
    let mut lower = [[0.0; CHANNELS]; CHANNELS];
    for row in 0..CHANNELS {
        for column in 0..=row {
            let known: f64 = (0..column).map(|index| lower[row][index] * lower[column][index]).sum();
            let rest = matrix[row][column] - known;
            lower[row][column] = if row == column { rest.max(1e-12).sqrt() } else { rest / lower[column][column] };
        }
    }
    lower
}

fn inverse_of_lower([[a, ..], [b, c, _], [d, e, f]]: Matrix) -> Matrix {
    [[1.0 / a, 0.0, 0.0], [-b / (a * c), 1.0 / c, 0.0], [(b * e - c * d) / (a * c * f), -e / (c * f), 1.0 / f]]
}

fn product(a: Matrix, b: Matrix) -> Matrix {
    let entry = |row: usize, column: usize| (0..CHANNELS).map(|index| a[row][index] * b[index][column]).sum();
    [0, 1, 2].map(|row| [0, 1, 2].map(|column| entry(row, column)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FrameSize;

    #[test]
    fn the_style_gets_mean_and_covariance_of_the_content() {
        let size = FrameSize::new(40, 30);
        let mut style = Picture::noise(size, 1);
        let mut content = Picture::noise(size, 2);
        // Reddish, with less blue, and green that follows red.
        let count = size.pixels();
        for index in 0..count {
            content.planes[count + index] = 0.5 * content.planes[index] + 0.2;
            content.planes[2 * count + index] *= 0.4;
        }
        match_colors(&mut style, &content);
        let (style_mean, content_mean) = (style.mean_color(), content.mean_color());
        let (a, b) = (covariance(&style, style_mean), covariance(&content, content_mean));
        for channel in 0..CHANNELS {
            assert!((style_mean[channel] - content_mean[channel]).abs() < 0.01, "{style_mean:?} {content_mean:?}");
            for other in 0..CHANNELS {
                assert!((a[channel][other] - b[channel][other]).abs() < 2e-3, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_picture_of_one_color_gives_and_takes_colors() {
        let size = FrameSize::new(8, 8);
        let mut style = Picture::noise(size, 1);
        match_colors(&mut style, &Picture::gray(size, 0.3));
        assert!(style.mean_color().iter().all(|mean| (mean - 0.3).abs() < 0.01));
        let mut flat = Picture::gray(size, 0.3);
        match_colors(&mut flat, &Picture::noise(size, 1));
        assert!(flat.planes.iter().all(|value| value.is_finite()));
    }
}
