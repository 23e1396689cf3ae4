//! What a graph gives away about itself before it runs: which input is the picture, and which chooses the style.
//!
//! Everything that can be wrong with a file that is no style network is said here, in one sentence that names the tensor.

use anyhow::{Context as _, Result, bail};

use super::contract::{Hints, Known, Origin, StyleInput, check_size};
use super::pixels::Layout;
use crate::frame::{CHANNELS, FrameSize};
use crate::onnx::schema::NodeProto;
use crate::onnx::schema::tensor_proto::DataType;
use crate::onnx::shape::block_size;
use crate::onnx::{Dimension, Model, Port};

/// The inputs and outputs of a style network, each with its part.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ports {
    pub image_input: Known<String>,
    pub image_output: Known<String>,
    pub layout: Known<Layout>,
    /// Height and width as the graph declares them, where it declares both.
    pub declared_size: Option<FrameSize>,
    pub style: StyleInput,
    pub strength_input: Option<(String, Vec<usize>)>,
}

/// Finds each input's part by the hints, its shape and its name.
///
/// # Errors
/// When the graph is no style network; the message says what is wrong and what was expected.
pub(super) fn find_ports(model: &Model, hints: &Hints) -> Result<Ports> {
    check_blocks(model.nodes())?;
    let inputs = model.inputs();
    let mut outputs = model.outputs();
    inputs.iter().try_for_each(check_element_type)?;
    // A picture that goes in is none that was painted, even where it comes out as well.
    outputs.retain(|port| inputs.iter().all(|input| input.name != port.name));
    // What else a network tells beside its picture is not read.
    let is_asked = |port: &Port| hints.output.as_ref().is_some_and(|known| known.value == port.name);
    if outputs.iter().any(|port| port.element_type == Some(DataType::Float)) {
        outputs.retain(|port| port.element_type == Some(DataType::Float) || is_asked(port));
    }
    let (image, image_origin) = find_image_input(&inputs, hints)?;
    let (layout, layout_origin) = find_layout(model, image, hints)?;
    let (output, output_origin) = find_image_output(&outputs, layout, hints)?;
    check_element_type(output)?;
    let (style, strength_input) = find_style_inputs(&inputs, image, layout, hints)?;
    Ok(Ports {
        declared_size: declared_size(image, layout)?,
        image_input: Known { value: image.name.clone(), origin: image_origin },
        image_output: Known { value: output.name.clone(), origin: output_origin },
        layout: Known { value: layout, origin: layout_origin },
        style,
        strength_input,
    })
}

/// Refuses blocks of a size that ends the process inside ONNX Runtime, which divides by it.
fn check_blocks(nodes: &[NodeProto]) -> Result<()> {
    for node in nodes {
        if matches!(node.op_type(), "DepthToSpace" | "SpaceToDepth") {
            block_size(node).with_context(|| format!("operator {}", node.op_type()))?;
        }
        node.attribute.iter().filter_map(|part| part.g.as_ref()).try_for_each(|graph| check_blocks(&graph.node))?;
    }
    Ok(())
}

fn check_element_type(port: &Port) -> Result<()> {
    match port.element_type {
        Some(DataType::Float) => Ok(()),
        Some(kind) => bail!(
            "tensor '{}' holds {} elements (expected FLOAT, 32 bits: export or convert the network with 32-bit inputs and outputs)",
            port.name,
            kind.as_str_name()
        ),
        None => bail!("'{}' is no tensor (expected tensors of FLOAT elements)", port.name),
    }
}

fn find_image_input<'a>(inputs: &'a [Port], hints: &Hints) -> Result<(&'a Port, Origin)> {
    if let Some(known) = &hints.input {
        let port = inputs
            .iter()
            .find(|port| port.name == known.value)
            .with_context(|| format!("it has no input '{}' (expected one of {})", known.value, names(inputs)))?;
        return Ok((port, known.origin.clone()));
    }
    let pictures: Vec<&Port> = inputs.iter().filter(|port| may_be_picture(port)).collect();
    match pictures.as_slice() {
        [] => bail!(
            "no input takes a picture: {} (expected a tensor [1, 3, height, width] or [1, height, width, 3])",
            shapes(inputs)
        ),
        [only] => Ok((only, Origin::Graph("the only picture input".to_owned()))),
        several => {
            let content = several.iter().find(|port| !port.name.to_lowercase().contains("style"));
            match (content, several.len()) {
                (Some(content), 2) => Ok((content, Origin::Graph("the picture input not called style".to_owned()))),
                _ => bail!(
                    "it has {} picture inputs: {} (expected one, or one for the content and one called style; say which \
                     with `input` and `style_input` in a description beside the network)",
                    several.len(),
                    shapes(inputs)
                ),
            }
        }
    }
}

fn find_layout(model: &Model, image: &Port, hints: &Hints) -> Result<(Layout, Origin)> {
    let shape = image.shape.as_deref();
    if let Some(shape) = shape.filter(|shape| shape.len() != 4) {
        bail!(
            "input '{}' has shape {} (expected four dimensions, [1, 3, height, width] or [1, height, width, 3])",
            image.name,
            shape_text(shape)
        );
    }
    let is_channels = |axis: usize| shape.and_then(|shape| shape[axis].fixed()) == Some(CHANNELS);
    if let Some(known) = &hints.layout {
        return Ok((known.value, known.origin.clone()));
    }
    let by_shape = |layout| Ok((layout, Origin::Graph(format!("shape {}", shape_text(shape.unwrap_or(&[]))))));
    match (is_channels(1), is_channels(3)) {
        (true, _) => return by_shape(Layout::Nchw),
        (false, true) => return by_shape(Layout::Nhwc),
        (false, false) => {}
    }
    let channels = shape.and_then(|shape| shape[1].fixed());
    if let Some(channels) = channels.filter(|_| shape.is_some_and(|shape| shape[3].fixed().is_some())) {
        bail!(
            "input '{}' has shape {}, {channels} channels (expected 3: red, green, blue)",
            image.name,
            shape_text(shape.unwrap_or(&[]))
        );
    }
    // tf2onnx puts the transposition from NHWC first, where the shape is left open.
    let consumers = model.consumers(&image.name);
    if consumers.first().is_some_and(|node| {
        node.op_type() == "Transpose" && crate::onnx::integer_attribute(node, "perm").as_deref() == Some(&[0, 3, 1, 2])
    }) {
        return Ok((Layout::Nhwc, Origin::Graph("a transposition from NHWC comes first".to_owned())));
    }
    Ok((Layout::Nchw, Origin::Assumed))
}

fn find_image_output<'a>(outputs: &'a [Port], layout: Layout, hints: &Hints) -> Result<(&'a Port, Origin)> {
    if let Some(known) = &hints.output {
        let port = outputs
            .iter()
            .find(|port| port.name == known.value)
            .with_context(|| format!("it has no output '{}' (expected one of {})", known.value, names(outputs)))?;
        return Ok((port, known.origin.clone()));
    }
    let channel_axis = if layout == Layout::Nchw { 1 } else { 3 };
    let is_picture = |port: &&Port| match &port.shape {
        None => true,
        Some(shape) => shape.len() == 4 && shape[channel_axis].fixed().is_none_or(|length| length == CHANNELS),
    };
    let pictures: Vec<&Port> = outputs.iter().filter(is_picture).collect();
    let Some(first) = pictures.first() else {
        let what = match outputs {
            [only] if only.shape.as_ref().is_some_and(|shape| shape.len() <= 2) => {
                "; it looks like a classifier, not a style network"
            }
            _ => "",
        };
        bail!("no output is a picture: {} (expected one of the input's shape{what})", shapes(outputs));
    };
    let reason = if pictures.len() == 1 { "the only picture output" } else { "the first picture output" };
    Ok((first, Origin::Graph(reason.to_owned())))
}

/// More styles are in no network.
const MOST_STYLES: usize = 65_536;
/// More numbers stand for no style.
const MOST_NUMBERS: usize = 16 << 20;

type StrengthInput = Option<(String, Vec<usize>)>;

fn find_style_inputs(
    inputs: &[Port],
    image: &Port,
    layout: Layout,
    hints: &Hints,
) -> Result<(StyleInput, StrengthInput)> {
    let of_picture = |name: &&String| **name == image.name;
    if let Some(name) = hints.style_input.iter().chain(&hints.strength_input).find(of_picture) {
        bail!("input '{name}' is its picture (expected another one as `style_input` or `strength_input`)");
    }
    let mut style = StyleInput::Single;
    let mut strength = None;
    for port in inputs.iter().filter(|port| port.name != image.name) {
        let is_strength = match &hints.strength_input {
            Some(name) => *name == port.name,
            None => is_scalar(port) && hints.style_input.as_deref() != Some(port.name.as_str()),
        };
        if is_strength && strength.is_none() {
            strength = Some((port.name.clone(), fixed_shape(port).unwrap_or_default()));
            continue;
        }
        if hints.style_input.as_ref().is_some_and(|name| *name != port.name) || style != StyleInput::Single {
            bail!(
                "impasto does not know what to feed input '{}' of shape {} (it has found its picture, its style and its \
                 strength; export the network without this input)",
                port.name,
                port_shape_text(port)
            );
        }
        style = style_input(port, layout, hints)?;
    }
    if let (Some(encoder), StyleInput::Single) = (&hints.encoder, &style) {
        bail!("it takes no style that '{}' could compute (expected no `encoder`)", encoder.display());
    }
    let missing = |name: &Option<String>| name.clone().filter(|name| !inputs.iter().any(|port| port.name == *name));
    if let Some(name) = missing(&hints.style_input).or_else(|| missing(&hints.strength_input)) {
        bail!("it has no input '{name}' (expected one of {})", names(inputs));
    }
    Ok((style, strength))
}

fn style_input(port: &Port, layout: Layout, hints: &Hints) -> Result<StyleInput> {
    let input = port.name.clone();
    if let Some(encoder) = &hints.encoder {
        let shape = fixed_shape(port)
            .with_context(|| format!("input '{input}' has shape {} (expected a fixed one)", port_shape_text(port)))?;
        let count = shape.iter().try_fold(1usize, |count, length| count.checked_mul(*length));
        if count.is_none_or(|count| count > MOST_NUMBERS) {
            bail!("input '{input}' has shape {} (expected at most {MOST_NUMBERS} numbers)", port_shape_text(port));
        }
        return Ok(StyleInput::Embedding { input, shape, encoder: encoder.clone() });
    }
    let rank = port.shape.as_ref().map(Vec::len);
    if rank == Some(4) && may_be_picture(port) {
        return Ok(StyleInput::Picture { input, fixed_size: declared_size(port, layout)? });
    }
    let names = hints.styles.clone().unwrap_or_default();
    if let (Some(1 | 2), Some(shape)) = (rank, &port.shape) {
        let count = shape.last().and_then(Dimension::fixed).or(Some(names.len()).filter(|count| *count > 0));
        let count = count.with_context(|| {
            format!("input '{input}' leaves open how many styles there are (name them with `styles` in a description beside the network)")
        })?;
        if !names.is_empty() && names.len() != count {
            bail!("it names {} styles, but its input '{input}' takes {count} weights", names.len());
        }
        if count > MOST_STYLES {
            bail!("input '{input}' takes {count} weights (expected at most {MOST_STYLES} styles)");
        }
        let shape = if rank == Some(1) { vec![count] } else { vec![1, count] };
        return Ok(StyleInput::Weights { input, shape, names });
    }
    bail!(
        "impasto does not know what to feed input '{input}' of shape {} (expected style weights [1, styles] or a style \
         picture; if another network computes it from a painting, name that one with `encoder` in a description beside \
         the network)",
        port_shape_text(port)
    )
}

fn may_be_picture(port: &Port) -> bool {
    match &port.shape {
        None => true,
        Some(shape) if shape.len() == 4 => {
            let may_be_channels =
                |axis: usize| shape[axis].fixed().is_none_or(|length| length == CHANNELS || length == 1 || length == 4);
            let batch = shape[0].fixed().is_none_or(|batch| batch == 1);
            // [1, 1, 1, 100] is a vector in disguise.
            let is_vector = shape[1].fixed() == Some(1) && shape[2].fixed() == Some(1);
            batch && !is_vector && (may_be_channels(1) || may_be_channels(3))
        }
        // A picture of another rank is found, so that it can be refused with its name.
        Some(shape) => shape.len() > 2,
    }
}

fn is_scalar(port: &Port) -> bool {
    port.shape.as_ref().is_some_and(|shape| shape.iter().all(|dimension| dimension.fixed() == Some(1)))
}

fn fixed_shape(port: &Port) -> Option<Vec<usize>> {
    port.shape.as_ref()?.iter().map(Dimension::fixed).collect()
}

fn declared_size(port: &Port, layout: Layout) -> Result<Option<FrameSize>> {
    let Some(shape) = port.shape.as_ref().filter(|shape| shape.len() == 4) else { return Ok(None) };
    let (height, width) = layout.size_axes();
    // One open side is of no use: the graph is opened, or else refused by a trial run.
    let (Some(height), Some(width)) = (shape[height].fixed(), shape[width].fixed()) else { return Ok(None) };
    let size = FrameSize::new(width, height);
    check_size(size).with_context(|| format!("the size that input '{}' declares", port.name))?;
    Ok(Some(size))
}

/// What is said of ports where there are none.
const NONE: &str = "it has none";

fn names(ports: &[Port]) -> String {
    if ports.is_empty() {
        return NONE.to_owned();
    }
    ports.iter().map(|port| format!("'{}'", port.name)).collect::<Vec<_>>().join(", ")
}

fn shapes(ports: &[Port]) -> String {
    if ports.is_empty() {
        return NONE.to_owned();
    }
    let describe = |port: &Port| format!("'{}' is {}", port.name, port_shape_text(port));
    ports.iter().map(describe).collect::<Vec<_>>().join(", ")
}

fn port_shape_text(port: &Port) -> String {
    port.shape.as_deref().map_or_else(|| "[…]".to_owned(), shape_text)
}

fn shape_text(shape: &[Dimension]) -> String {
    let dimensions: Vec<String> = shape
        .iter()
        .map(|dimension| match dimension {
            Dimension::Fixed(length) => length.to_string(),
            Dimension::Open(name) if name.is_empty() => "?".to_owned(),
            Dimension::Open(name) => name.clone(),
        })
        .collect();
    format!("[{}]", dimensions.join(", "))
}

/// The picture input of an encoder: its name, layout, and size where that is fixed.
pub(super) fn find_encoder_input(model: &Model, hints: &Hints) -> Result<(String, Layout, Option<FrameSize>)> {
    check_blocks(model.nodes())?;
    let inputs = model.inputs();
    inputs.iter().try_for_each(check_element_type)?;
    let (image, _) = find_image_input(&inputs, hints)?;
    let (layout, _) = find_layout(model, image, hints)?;
    Ok((image.name.clone(), layout, declared_size(image, layout)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{Attribute, GraphBuilder};

    #[test]
    fn lengths_that_nobody_could_hold_are_refused() {
        let refusal = |image: [usize; 4], style: Option<&[usize]>, hints: &Hints| -> Option<String> {
            let mut graph = GraphBuilder::new();
            let image = graph.input("image", &image);
            let painted = graph.relu(&image);
            if let Some(shape) = style {
                graph.input("style", shape);
            }
            graph.output("stylized", &painted);
            find_ports(&graph.finish().unwrap(), hints).err().map(|error| format!("{error:#}"))
        };
        let (hints, small) = (Hints::default(), [1, 3, 32, 48]);
        assert_eq!(refusal(small, Some(&[1, 65_536]), &hints), None);
        assert_eq!(refusal([1, 3, 8192, 8192], Some(&[1, 3, 512, 512]), &hints), None);
        for (image, style, part) in [
            (small, Some(&[1, 1 << 40][..]), "'style' takes 1099511627776 weights (expected at most 65536"),
            (small, Some(&[1 << 62][..]), "'style' takes"),
            (small, Some(&[1, 3, 100_000, 1000][..]), "'style' declares: 1000×100000 is not usable"),
            ([1, 3, 60_000, 60_000], None, "'image' declares: 60000×60000 is not usable"),
            ([1, 3, 1 << 33, 1 << 33], None, "100 megapixels"),
        ] {
            let text = refusal(image, style, &hints).unwrap();
            assert!(text.contains(part), "{text}");
        }
        let hints = Hints { encoder: Some("encoder.onnx".into()), ..Hints::default() };
        assert_eq!(refusal(small, Some(&[1, 100, 1, 1]), &hints), None);
        let text = refusal(small, Some(&[1 << 40, 1 << 40]), &hints).unwrap();
        assert!(text.contains("expected at most 16777216 numbers"), "{text}");
    }

    #[test]
    fn blocks_that_nobody_could_divide_by_are_refused() {
        let mut graph = GraphBuilder::new();
        let image = graph.input("image", &[1, 3, 32, 48]);
        let deep = graph.push("SpaceToDepth", &[&image], &[Attribute::Int("blocksize", 2)]);
        let painted = graph.push("DepthToSpace", &[&deep], &[Attribute::Int("blocksize", 2)]);
        graph.output("stylized", &painted);
        let model = graph.finish().unwrap();
        let hints = Hints::default();
        assert!(find_ports(&model, &hints).is_ok() && find_encoder_input(&model, &hints).is_ok());
        let mut absurd = model.clone();
        absurd.graph_mut().node[1].attribute[0].i = Some(1 << 32);
        let mut nested = model;
        let inside = nested.graph().clone();
        nested.graph_mut().node[0].attribute[0].g = Some(inside);
        assert!(find_ports(&nested, &hints).is_ok());
        nested.graph_mut().node[0].attribute[0].g = Some(absurd.graph().clone());
        for model in [absurd, nested] {
            let of_network = find_ports(&model, &hints).map(drop);
            for refusal in [of_network, find_encoder_input(&model, &hints).map(drop)] {
                let error = format!("{:#}", refusal.unwrap_err());
                assert!(error.contains("operator DepthToSpace: blocks of 4294967296"), "{error}");
            }
        }
    }

    #[test]
    fn a_picture_that_goes_in_is_not_taken_for_what_comes_out() {
        let mut graph = GraphBuilder::new();
        let image = graph.input("image", &[1, 3, 32, 48]);
        let painted = graph.relu(&image);
        graph.output("stylized", &painted);
        let mut model = graph.finish().unwrap();
        let passed_on = model.graph().input[0].clone();
        model.graph_mut().output.insert(0, passed_on);
        let ports = find_ports(&model, &Hints::default()).unwrap();
        assert_eq!(ports.image_output.value, "stylized");
        let asked = Known { value: "image".to_owned(), origin: Origin::Assumed };
        let error = find_ports(&model, &Hints { output: Some(asked), ..Hints::default() }).unwrap_err().to_string();
        assert!(error.contains("no output 'image' (expected one of 'stylized')"), "{error}");
        let hints = Hints { encoder: Some("encoder.onnx".into()), ..Hints::default() };
        let error = find_ports(&model, &hints).unwrap_err().to_string();
        assert!(error.contains("no style that 'encoder.onnx' could compute"), "{error}");
    }

    #[test]
    fn outputs_that_are_no_floats_are_left_alone_unless_they_are_asked_for() {
        let mut graph = GraphBuilder::new();
        let image = graph.input("image", &[1, 3, 32, 48]);
        let painted = graph.relu(&image);
        graph.output("size", &painted);
        let twice = graph.relu(&painted);
        graph.output("stylized", &twice);
        let mut model = graph.finish().unwrap();
        let to_int64 = |from: &str, to: &str| {
            crate::onnx::node("Cast", &[from], to, &[Attribute::Int("to", i64::from(i32::from(DataType::Int64)))])
        };
        let shape = [Some(1), Some(3), Some(32), Some(48)];
        model.put_behind("size", ("whole", DataType::Int64, &shape), vec![to_int64("size", "whole")]).unwrap();
        let ports = find_ports(&model, &Hints::default()).unwrap();
        assert_eq!(ports.image_output.value, "stylized");
        let asked = Known { value: "whole".to_owned(), origin: Origin::Assumed };
        let error = find_ports(&model, &Hints { output: Some(asked), ..Hints::default() }).unwrap_err().to_string();
        assert!(error.contains("'whole' holds INT64 elements (expected FLOAT"), "{error}");
        model.put_behind("stylized", ("all", DataType::Int64, &shape), vec![to_int64("stylized", "all")]).unwrap();
        let error = find_ports(&model, &Hints::default()).unwrap_err().to_string();
        assert!(error.contains("holds INT64 elements"), "{error}");
    }
}
