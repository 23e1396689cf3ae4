//! The same gradient for pictures that do not fit into memory at once: tile by tile, and exactly.
//!
//! A Gram matrix is a sum over places, so the sums of all tiles are the matrix of the whole. One pass over the tiles adds them
//! up; then the derivative of the loss by each matrix is known, and a second pass takes it back to the pixels. Tiles overlap by
//! more than a feature sees, and of each only the features of its core count: none is touched by an edge that is not the
//! picture's own. What a core's features pull at beyond it is added to the neighbours' pixels.

use anyhow::{Context as _, Result, ensure};

use super::objective::{
    GRADIENT, IMAGE, LOSSES, Losses, Objective, Port, Statistics, Term, content_input, mask_input, style_input,
};
use super::picture::Picture;
use super::statistics::{SMALLEST_ENERGY, roughness};
use super::targets::{Region, Targets, features_of, open};
use super::tiling::{Tile, add_planes, cut, cut_planes, lay_out, mask, plane, tile_length};
use super::vgg::{Layer, Vgg};
use crate::frame::{CHANNELS, FrameSize};
use crate::onnx::shape::image_shape;
use crate::onnx::{GraphBuilder, Model, Value};
use crate::runtime::{Bindings, Session, SessionOptions, Tensor};

/// The deepest layer whose features see no farther than tiles overlap.
const DEEPEST: Layer = Layer::new(5, 1);

/// An objective for a picture that is looked at in tiles.
pub struct TiledObjective {
    size: FrameSize,
    tile_size: FrameSize,
    tiles: Vec<Tile>,
    style: Vec<StyleTerm>,
    content: Vec<ContentTerm>,
    sums: Session,
    sums_bindings: Bindings,
    pull: Session,
    pull_bindings: Bindings,
    /// Layers whose masks are inputs, in order.
    masked: Vec<Layer>,
    /// Terms of the pixels themselves, for the whole picture.
    pixels: Option<(Session, Bindings)>,
    gradient: Vec<f32>,
}

struct StyleTerm {
    layer: Layer,
    weight: f32,
    channels: usize,
    /// Features of the whole picture: what its Gram matrix is divided by.
    count: usize,
    target: Vec<f32>,
}

struct ContentTerm {
    layer: Layer,
    weight: f32,
    /// Σ P² over the whole picture.
    energy: f32,
    /// The content's features in each tile.
    features: Vec<Tensor>,
}

impl TiledObjective {
    /// Whether an objective can be looked at in tiles.
    pub fn can(objective: &Objective) -> bool {
        objective.statistics == Statistics::Gram
            && objective.regions == 0
            && objective.anchor_weight == 0.0
            && objective.layers().iter().all(|layer| *layer <= DEEPEST)
    }

    /// The size of tiles for a picture.
    pub fn tile_size(size: FrameSize, longest: usize) -> FrameSize {
        FrameSize::new(tile_length(size.width, longest), tile_length(size.height, longest))
    }

    /// Prepares tiles of at most `longest` pixels a side.
    ///
    /// # Errors
    /// When the objective cannot be looked at in tiles, or a graph cannot be opened.
    pub fn new(
        vgg: &Vgg,
        objective: &Objective,
        content: &Picture,
        regions: &[Region],
        longest: usize,
        options: &SessionOptions,
    ) -> Result<Self> {
        ensure!(Self::can(objective), "only Gram matrices of one style, up to {DEEPEST}, can be added up over tiles");
        let size = content.size;
        let tile_size = Self::tile_size(size, longest);
        let tiles = lay_out(size, tile_size);
        let style_only = Objective { content_weight: 0.0, ..objective.clone() };
        let targets = if objective.style_weight > 0.0 {
            Targets::new(vgg, &style_only, content, regions, options)?
        } else {
            Targets::default()
        };
        let mut style = Vec::new();
        for (layer, weight) in objective.style_shares() {
            let target = targets.value(&style_input("gram", layer, 0)).context("a Gram matrix is missing")?;
            let channels = vgg.channels(layer)?;
            let places = (size.width >> layer.halvings()) * (size.height >> layer.halvings());
            style.push(StyleTerm { layer, weight, channels, count: channels * places, target: target.data.clone() });
        }
        let mut content_terms: Vec<ContentTerm> = objective
            .content_shares()
            .into_iter()
            .map(|(layer, weight)| ContentTerm { layer, weight, energy: 0.0, features: Vec::new() })
            .collect();
        let content_layers: Vec<Layer> = content_terms.iter().map(|term| term.layer).collect();
        for tile in tiles.iter().filter(|_| !content_layers.is_empty()) {
            let part = cut(content, *tile, tile_size);
            let features = features_of(vgg, objective.pooling, &part, &content_layers, options)?;
            for (term, features) in content_terms.iter_mut().zip(features) {
                let mask = mask(term.layer, *tile, tile_size);
                let square = |(index, value): (usize, &f32)| f64::from(value * value * mask[index % mask.len()]);
                term.energy += features.data.iter().enumerate().map(square).sum::<f64>() as f32;
                term.features.push(features);
            }
        }
        let graphs = Graphs { vgg, objective, tile_size, style: &style, content: &content_terms };
        let (model, masked) = graphs.sums()?;
        let (sums, sums_bindings) = graphs.bind_sums(&model, &masked, options)?;
        let (model, masked_too) = graphs.pull()?;
        ensure!(masked == masked_too, "the two passes look at other layers");
        let (pull, pull_bindings) = graphs.bind_pull(&model, &masked, options)?;
        let pixels = pixel_terms(objective, size, options)?;
        let gradient = vec![0.0; size.pixels() * CHANNELS];
        Ok(Self {
            size,
            tile_size,
            tiles,
            style,
            content: content_terms,
            sums,
            sums_bindings,
            pull,
            pull_bindings,
            masked,
            pixels,
            gradient,
        })
    }

    /// The derivative of the total by each number of the picture that was looked at last.
    pub fn gradient(&self) -> &[f32] {
        &self.gradient
    }

    /// Looks at a picture, `[3, height, width]`: its losses, and its gradient. Blocks for two passes over all tiles.
    ///
    /// # Errors
    /// When a graph cannot be run.
    pub fn evaluate(&mut self, planes: &[f32]) -> Result<Losses> {
        ensure!(planes.len() == self.gradient.len(), "a picture of another size than {}", self.size);
        let mut terms = Vec::new();
        let mut sums: Vec<Vec<f32>> = self.style.iter().map(|term| vec![0.0; term.channels.pow(2)]).collect();
        for tile in self.tiles.iter().filter(|_| !self.style.is_empty()) {
            cut_planes(planes, self.size, *tile, self.tile_size, self.sums_bindings.input_mut(0));
            for (index, layer) in self.masked.iter().enumerate() {
                self.sums_bindings.input_mut(1 + index).copy_from_slice(&mask(*layer, *tile, self.tile_size));
            }
            self.sums.run_bound(&mut self.sums_bindings)?;
            for (index, sum) in sums.iter_mut().enumerate() {
                sum.iter_mut().zip(self.sums_bindings.output(index)).for_each(|(sum, part)| *sum += part);
            }
        }
        // The derivative of each style loss by its unnormalized matrix takes the place of the matrix.
        let mut style_losses = Vec::with_capacity(sums.len());
        for (term, sum) in self.style.iter().zip(&mut sums) {
            let energy = term.target.iter().map(|value| f64::from(value * value)).sum::<f64>() as f32
                + SMALLEST_ENERGY * term.target.len() as f32;
            let count = term.count as f32;
            let mut error = 0.0f64;
            for (value, target) in sum.iter_mut().zip(&term.target) {
                let difference = *value / count - target;
                error += f64::from(difference * difference);
                *value = 2.0 * term.weight * difference / (count * energy);
            }
            style_losses.push((Term::Style(term.layer, 0), term.weight * error as f32 / energy));
        }
        self.gradient.fill(0.0);
        let mut content_losses = vec![0.0f64; self.content.len()];
        for (at, tile) in self.tiles.iter().enumerate() {
            let bindings = &mut self.pull_bindings;
            cut_planes(planes, self.size, *tile, self.tile_size, bindings.input_mut(0));
            let mut input = 1;
            for layer in &self.masked {
                bindings.input_mut(input).copy_from_slice(&mask(*layer, *tile, self.tile_size));
                input += 1;
            }
            for matrix in &sums {
                bindings.input_mut(input).copy_from_slice(matrix);
                input += 1;
            }
            for term in &self.content {
                bindings.input_mut(input).copy_from_slice(&term.features[at].data);
                input += 1;
            }
            self.pull.run_bound(bindings)?;
            for (loss, part) in content_losses.iter_mut().zip(bindings.output(0)) {
                *loss += f64::from(*part);
            }
            add_planes(bindings.output(1), *tile, self.tile_size, self.size, &mut self.gradient);
        }
        for (term, loss) in self.content.iter().zip(content_losses) {
            terms.push((Term::Content(term.layer), loss as f32));
        }
        terms.extend(style_losses);
        if let Some((session, bindings)) = &mut self.pixels {
            bindings.input_mut(0).copy_from_slice(planes);
            session.run_bound(bindings)?;
            terms.push((Term::Roughness, bindings.output(0).first().copied().unwrap_or(f32::NAN)));
            self.gradient.iter_mut().zip(bindings.output(1)).for_each(|(sum, part)| *sum += part);
        }
        let total = terms.iter().map(|(_, loss)| loss).sum();
        Ok(Losses { terms, total })
    }
}

impl std::fmt::Debug for TiledObjective {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TiledObjective")
            .field("size", &self.size)
            .field("tiles", &self.tiles.len())
            .finish_non_exhaustive()
    }
}

/// A layer, its features `[C, h·w]`, and its mask `[1, h·w]`.
type MaskedFeatures = (Layer, Value, Value);

/// The two graphs of a tile.
struct Graphs<'a> {
    vgg: &'a Vgg,
    objective: &'a Objective,
    tile_size: FrameSize,
    style: &'a [StyleTerm],
    content: &'a [ContentTerm],
}

impl Graphs<'_> {
    /// The features of a tile at each layer with that layer's mask, `[1, h·w]`.
    fn features(&self, graph: &mut GraphBuilder) -> Result<(Value, Vec<MaskedFeatures>)> {
        let image = graph.input(IMAGE, &Picture::shape(self.tile_size));
        let layers = self.objective.layers();
        let features = self.vgg.features(graph, &image, &layers, self.objective.pooling)?;
        let found = layers.into_iter().zip(features).map(|(layer, features)| {
            let [_, channels, height, width] = image_shape(&features.shape)?;
            let flat = graph.reshape(&features, &[channels, height * width]);
            let mask = graph.input(&mask_input(layer, 0), &[1, height * width]);
            Ok((layer, flat, mask))
        });
        Ok((image, found.collect::<Result<_>>()?))
    }

    /// From a tile to the sums of its core for each matrix of the style.
    fn sums(&self) -> Result<(Model, Vec<Layer>)> {
        let mut graph = GraphBuilder::new();
        let (_, features) = self.features(&mut graph)?;
        for term in self.style {
            let (_, flat, mask) = find(&features, term.layer)?;
            let masked = graph.mul(flat, mask);
            let turned = graph.transpose_matrix(&masked);
            let product = graph.matmul(&masked, &turned);
            graph.output(&style_input("sum", term.layer, 0), &product);
        }
        if self.style.is_empty() {
            let (_, flat, mask) = features.first().context("nothing is asked for")?;
            let masked = graph.mul(flat, mask);
            graph.output("unused", &masked);
        }
        Ok((graph.finish()?, features.into_iter().map(|(layer, ..)| layer).collect()))
    }

    /// From a tile, the derivatives by the matrices and the content's features to the content's losses and the gradient.
    fn pull(&self) -> Result<(Model, Vec<Layer>)> {
        let mut graph = GraphBuilder::new();
        let (image, features) = self.features(&mut graph)?;
        let mut total = graph.scalar(0.0);
        for term in self.style {
            let (_, flat, mask) = find(&features, term.layer)?;
            let slope = graph.input(&style_input("slope", term.layer, 0), &[term.channels, term.channels]);
            let masked = graph.mul(flat, mask);
            let turned = graph.transpose_matrix(&masked);
            let product = graph.matmul(&masked, &turned);
            let along = graph.mul(&product, &slope);
            let along = graph.sum(&along);
            total = graph.add(&total, &along);
        }
        let mut losses = Vec::new();
        for term in self.content {
            let (_, flat, mask) = find(&features, term.layer)?;
            let target = graph.input(&content_input(term.layer), &flat.shape.clone());
            let difference = graph.sub(flat, &target);
            let square = graph.square(&difference);
            let masked = graph.mul(&square, mask);
            let sum = graph.sum(&masked);
            let loss = graph.scale(&sum, term.weight / term.energy.max(SMALLEST_ENERGY));
            total = graph.add(&total, &loss);
            losses.push(graph.reshape(&loss, &[1]));
        }
        let gradient = graph.gradients(&total, std::slice::from_ref(&image))?.remove(0);
        let zero = graph.constant(&[1], &[0.0]);
        let listed: Vec<&Value> = losses.iter().chain([&zero]).collect();
        let listed = graph.concat(&listed, 0);
        graph.output(LOSSES, &listed);
        graph.output(GRADIENT, &gradient);
        Ok((graph.finish()?, features.into_iter().map(|(layer, ..)| layer).collect()))
    }

    fn mask_shapes(&self, masked: &[Layer]) -> Vec<Port> {
        masked.iter().map(|&layer| (mask_input(layer, 0), vec![1, plane(layer, self.tile_size).pixels()])).collect()
    }

    fn bind_sums(&self, model: &Model, masked: &[Layer], options: &SessionOptions) -> Result<(Session, Bindings)> {
        let mut outputs: Vec<Port> = self
            .style
            .iter()
            .map(|term| (style_input("sum", term.layer, 0), vec![term.channels, term.channels]))
            .collect();
        if outputs.is_empty() {
            let layer = masked.first().copied().context("nothing is asked for")?;
            let places = plane(layer, self.tile_size).pixels();
            outputs.push(("unused".to_owned(), vec![self.vgg.channels(layer)?, places]));
        }
        bind(model, &self.with_image(self.mask_shapes(masked)), &outputs, options)
    }

    fn bind_pull(&self, model: &Model, masked: &[Layer], options: &SessionOptions) -> Result<(Session, Bindings)> {
        let mut inputs = self.mask_shapes(masked);
        let slopes =
            self.style.iter().map(|term| (style_input("slope", term.layer, 0), vec![term.channels, term.channels]));
        inputs.extend(slopes);
        for term in self.content {
            let places = plane(term.layer, self.tile_size).pixels();
            inputs.push((content_input(term.layer), vec![self.vgg.channels(term.layer)?, places]));
        }
        let gradient = Picture::shape(self.tile_size).to_vec();
        let outputs = [(LOSSES.to_owned(), vec![self.content.len() + 1]), (GRADIENT.to_owned(), gradient)];
        bind(model, &self.with_image(inputs), &outputs, options)
    }

    fn with_image(&self, others: Vec<Port>) -> Vec<Port> {
        let image = (IMAGE.to_owned(), Picture::shape(self.tile_size).to_vec());
        [image].into_iter().chain(others).collect()
    }
}

fn bind(model: &Model, inputs: &[Port], outputs: &[Port], options: &SessionOptions) -> Result<(Session, Bindings)> {
    let session = open(model, options)?;
    let named = |ports: &'_ [(String, Vec<usize>)]| -> Vec<Port> { ports.to_vec() };
    let (inputs, outputs) = (named(inputs), named(outputs));
    let inputs: Vec<(&str, &[usize])> = inputs.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
    let outputs: Vec<(&str, &[usize])> =
        outputs.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
    let bindings = session.bind(&inputs, &outputs)?;
    Ok((session, bindings))
}

fn find(features: &[MaskedFeatures], layer: Layer) -> Result<&MaskedFeatures> {
    features.iter().find(|(known, ..)| *known == layer).with_context(|| format!("{layer} was not reached"))
}

/// The roughness of the whole picture and its gradient: no features are needed.
fn pixel_terms(
    objective: &Objective,
    size: FrameSize,
    options: &SessionOptions,
) -> Result<Option<(Session, Bindings)>> {
    if objective.roughness_weight == 0.0 {
        return Ok(None);
    }
    let mut graph = GraphBuilder::new();
    let image = graph.input(IMAGE, &Picture::shape(size));
    let roughness = roughness(&mut graph, &image);
    let loss = graph.scale(&roughness, objective.roughness_weight);
    let gradient = graph.gradients(&loss, std::slice::from_ref(&image))?.remove(0);
    graph.output(LOSSES, &loss);
    graph.output(GRADIENT, &gradient);
    let shape = Picture::shape(size).to_vec();
    let outputs = [(LOSSES.to_owned(), Vec::new()), (GRADIENT.to_owned(), shape.clone())];
    bind(&graph.finish()?, &[(IMAGE.to_owned(), shape)], &outputs, options).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gatys::objective::{GradientGraph, StyleLayer};

    #[test]
    fn features_that_see_farther_than_tiles_overlap_are_not_looked_at_in_tiles() {
        let usual = Objective::default();
        assert!(TiledObjective::can(&usual));
        let deep = Layer::new(5, 2);
        let content = Objective { content_layers: vec![deep], ..usual.clone() };
        let style = Objective { style_layers: vec![StyleLayer { layer: deep, weight: 1.0 }], ..usual.clone() };
        assert!(!TiledObjective::can(&content) && !TiledObjective::can(&style));
        // What weighs nothing is not looked at.
        assert!(TiledObjective::can(&Objective { content_weight: 0.0, ..content }));
    }

    #[test]
    fn tiles_give_the_losses_and_the_gradient_of_the_whole() {
        let vgg = Vgg::bundled().unwrap();
        let size = FrameSize::new(371, 258);
        let (content, picture) = (Picture::noise(size, 1), Picture::noise(size, 2));
        let regions = [Region { mask: None, styles: vec![(Picture::noise(FrameSize::new(90, 80), 3), 1.0)] }];
        let (objective, options) = (Objective::default(), SessionOptions::default());

        let GradientGraph { model, terms, target_inputs: inputs } = objective.build_gradient(vgg, size).unwrap();
        let shape = Picture::shape(size).to_vec();
        let all: Vec<Port> = [(IMAGE.to_owned(), shape.clone())].into_iter().chain(inputs.clone()).collect();
        let outputs = [(LOSSES.to_owned(), vec![terms.len() + 1]), (GRADIENT.to_owned(), shape)];
        let (mut session, mut bindings) = bind(&model, &all, &outputs, &options).unwrap();
        Targets::new(vgg, &objective, &content, &regions, &options).unwrap().write(&inputs, 1, &mut bindings).unwrap();
        bindings.input_mut(0).copy_from_slice(&picture.planes);
        session.run_bound(&mut bindings).unwrap();

        let mut tiled = TiledObjective::new(vgg, &objective, &content, &regions, 224, &options).unwrap();
        assert!(tiled.tiles.len() >= 4, "{}", tiled.tiles.len());
        let losses = tiled.evaluate(&picture.planes).unwrap();
        assert_eq!(losses.terms.iter().map(|(term, _)| *term).collect::<Vec<_>>(), terms);
        for ((term, loss), whole) in losses.terms.iter().zip(bindings.output(0)) {
            assert!((loss - whole).abs() <= 1e-3 * whole.abs(), "{term}: {loss} {whole}");
        }
        let largest = bindings.output(1).iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        for (index, (tiled, whole)) in tiled.gradient().iter().zip(bindings.output(1)).enumerate() {
            assert!((tiled - whole).abs() < 2e-3 * largest, "{index}: {tiled} {whole}, largest {largest}");
        }
    }
}
