//! Sessions: one network each, opened with explicit threads, run on tensors that are allocated once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use ort::memory::Allocator;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{IoBinding, RunOptions};

use super::assignment::{self, Assignment};
use super::device::{Device, Provider};
use super::memory::{self, BoundTensor};
use super::providers::DeviceError;
use super::tensor::{Tensor, TensorInfo};
use super::{Runtime, engines, log};

/// How a session runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SessionOptions {
    /// Threads of one session on the processor; 0 (default): as many as the machine has cores.
    pub threads: usize,
    /// What executes its nodes (default: the processor).
    pub device: Device,
    /// Whether the network's graph is in half precision, which TensorRT has to be told.
    pub is_half: bool,
    /// The folder below which TensorRT keeps its engines; `None` (default): it builds them each time.
    pub engine_cache: Option<PathBuf>,
    /// What ends its runs from another thread; `None` (default): a [`Terminator`] of its own.
    pub terminator: Option<Terminator>,
}

impl SessionOptions {
    /// On the processor with so many threads.
    pub fn with_threads(threads: usize) -> Self {
        Self { threads, ..Self::default() }
    }

    /// The same on the processor.
    pub fn on_cpu(&self) -> Self {
        Self::with_threads(self.threads)
    }

    /// The number of threads that a session with these options gets, at least 1.
    pub fn thread_count(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads => threads,
        }
    }
}

/// Work is dealt in ever smaller blocks, so that a thread whose core was taken by decoding or encoding does not keep the
/// others waiting: 0 to 2 % for the whole chain on two cores.
const DYNAMIC_BLOCK_BASE: u32 = 4;

/// Where a network's bytes are.
#[derive(Debug, Clone, Copy)]
pub enum ModelSource<'a> {
    /// A file; weights that the graph keeps in other files are looked for beside it.
    File(&'a Path),
    /// The bytes of a file.
    Bytes {
        /// The protobuf.
        bytes: &'a [u8],
        /// The weights that the graph keeps in other files.
        weights: Option<&'a WeightFiles>,
    },
}

/// Files beside a network that hold some of its weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightFiles {
    /// Where they are looked for.
    pub folder: PathBuf,
    /// What the graph calls them, relative to the folder.
    pub names: Vec<PathBuf>,
}

/// Ends running sessions from another thread: the one that it was taken from, or all that were opened with it.
#[derive(Clone)]
pub struct Terminator {
    run_options: Arc<RunOptions>,
}

impl Terminator {
    /// One for sessions that are yet to be opened ([`SessionOptions::terminator`]).
    ///
    /// # Errors
    /// When ONNX Runtime has no memory for it.
    pub fn new(_: &Runtime) -> Result<Self> {
        Self::with_ort().map_err(run_error)
    }

    fn with_ort() -> ort::Result<Self> {
        Ok(Self { run_options: Arc::new(RunOptions::new()?) })
    }

    /// Makes the run in progress, and every later one, fail at the next node; returns at once.
    pub fn terminate(&self) {
        if let Err(error) = self.run_options.terminate() {
            tracing::warn!("a running network could not be terminated: {error}");
        }
    }
}

impl PartialEq for Terminator {
    /// Whether they end the same sessions.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.run_options, &other.run_options)
    }
}

impl std::fmt::Debug for Terminator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminator").finish_non_exhaustive()
    }
}

/// A network that is ready to run.
pub struct Session {
    session: ort::session::Session,
    terminator: Terminator,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
    device: Device,
    assignment: Assignment,
}

/// Inputs and outputs of one session for one set of shapes, allocated once and used again in every run.
pub struct Bindings {
    binding: IoBinding,
    inputs: Vec<(String, BoundTensor)>,
    outputs: Vec<(String, BoundTensor)>,
}

impl Session {
    /// Opens a network: parses the graph, optimizes it and prepares its weights. Blocks for 10 ms to seconds.
    ///
    /// Threads do not spin while they wait for work, so that decoding and encoding beside a session keep their cores.
    ///
    /// # Errors
    /// When ONNX Runtime refuses the network, with its own message; [`DeviceError`] when it would not run on the device that
    /// was asked for.
    pub fn open(runtime: &Runtime, source: ModelSource<'_>, options: &SessionOptions) -> Result<Self> {
        let open = || Self::open_with_ort(runtime, source, options);
        if options.device.is_cpu() {
            return open().map_err(|error| anyhow::anyhow!(first_line(&error.to_string())));
        }
        let (opened, log) = log::recorded(open);
        let session = opened.map_err(|error| runtime.reason(&options.device, &error.to_string(), &log))?;
        let nodes = session.assignment.node_count();
        if nodes > 0 && session.assignment.device_nodes() == 0 {
            return Err(DeviceError::Unused { device: options.device.clone(), nodes }.into());
        }
        Ok(session)
    }

    fn open_with_ort(runtime: &Runtime, source: ModelSource<'_>, options: &SessionOptions) -> ort::Result<Self> {
        let mut builder = runtime
            .session_builder()?
            .with_intra_threads(options.thread_count())?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_dynamic_block_base(DYNAMIC_BLOCK_BASE)?
            .with_optimization_level(GraphOptimizationLevel::All)?;
        builder = match options.device.is_cpu() {
            // A memory pattern is a second block for all tensors, beside what the first run took, and saves no time here.
            true => builder.with_memory_pattern(false)?,
            false => builder.with_config_entry(assignment::RECORD_KEY, "1")?,
        };
        let engines = match options.device.provider {
            Provider::TensorRt => engines::folder(runtime, source, options),
            _ => None,
        };
        builder = runtime.append(builder, options, engines.as_deref())?;
        let session = match source {
            ModelSource::File(path) => builder.commit_from_file(path)?,
            ModelSource::Bytes { bytes, weights } => {
                if let Some(folder) = weights.and_then(|weights| weights.folder.to_str()) {
                    builder =
                        builder.with_config_entry("session.model_external_initializers_file_folder_path", folder)?;
                }
                builder.commit_from_memory(bytes)?
            }
        };
        let inputs = session.inputs().iter().map(|outlet| TensorInfo::of(outlet.name(), outlet.dtype())).collect();
        let outputs = session.outputs().iter().map(|outlet| TensorInfo::of(outlet.name(), outlet.dtype())).collect();
        let assignment = match options.device.is_cpu() {
            true => Assignment::default(),
            false => assignment::read(&session)?,
        };
        let device = options.device.clone();
        let terminator = options.terminator.clone().map_or_else(Terminator::with_ort, Ok)?;
        Ok(Self { session, terminator, inputs, outputs, device, assignment })
    }

    /// The inputs that have no default, in the graph's order.
    pub fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    /// The outputs, in the graph's order.
    pub fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    /// What it was opened for.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Which provider its nodes were given to; empty on the processor, which takes all of them.
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// A handle that ends runs of this session from another thread.
    pub fn terminator(&self) -> Terminator {
        self.terminator.clone()
    }

    /// Allocates inputs and outputs of these shapes, zeroed.
    ///
    /// # Errors
    /// When memory runs out, a name is not in the graph, or its elements are neither `f32` nor `u8`.
    pub fn bind(&self, inputs: &[(&str, &[usize])], outputs: &[(&str, &[usize])]) -> Result<Bindings> {
        self.bind_in(self.session.allocator(), inputs, outputs)
    }

    /// The same for a stream of frames: on NVIDIA's GPUs inputs lie in pinned memory, from which copies to the GPU are fastest.
    /// Such inputs cannot be swapped with outputs.
    ///
    /// # Errors
    /// As [`Session::bind`].
    pub fn bind_for_stream(&self, inputs: &[(&str, &[usize])], outputs: &[(&str, &[usize])]) -> Result<Bindings> {
        self.bind_with_state(inputs, outputs, &[])
    }

    /// The same for a stream that hands something on from frame to frame: each of `state` is an input, the output that takes its
    /// place in the next run ([`Bindings::swap`]), and the shape of both. They follow the other inputs and outputs, and do not leave the
    /// memory of one of NVIDIA's GPUs, where their first elements are whatever was there; elsewhere those are zeros.
    ///
    /// # Errors
    /// As [`Session::bind`].
    pub fn bind_with_state(
        &self,
        inputs: &[(&str, &[usize])],
        outputs: &[(&str, &[usize])],
        state: &[(&str, &str, &[usize])],
    ) -> Result<Bindings> {
        let pinned = memory::pinned(&self.session, &self.device);
        let on_gpu = memory::on_gpu(&self.session, &self.device).filter(|_| !state.is_empty());
        let of_inputs = pinned.as_ref().unwrap_or_else(|| self.session.allocator());
        let of_state = on_gpu.as_ref().unwrap_or_else(|| self.session.allocator());
        let mut bindings = self.bind_in(of_inputs, inputs, outputs)?;
        for &(input, output, shape) in state {
            self.add_input(&mut bindings, of_state, input, shape)?;
            self.add_output(&mut bindings, of_state, output, shape)?;
        }
        Ok(bindings)
    }

    fn bind_in(
        &self,
        of_inputs: &Allocator,
        inputs: &[(&str, &[usize])],
        outputs: &[(&str, &[usize])],
    ) -> Result<Bindings> {
        // ONNX Runtime 1.31 reads from pinned memory, but fails where an output is bound there.
        let of_outputs = self.session.allocator();
        let binding = self.session.create_binding().map_err(run_error)?;
        let mut bindings = Bindings { binding, inputs: Vec::new(), outputs: Vec::new() };
        for &(name, shape) in inputs {
            self.add_input(&mut bindings, of_inputs, name, shape)?;
        }
        for &(name, shape) in outputs {
            self.add_output(&mut bindings, of_outputs, name, shape)?;
        }
        Ok(bindings)
    }

    fn add_input(&self, bindings: &mut Bindings, memory: &Allocator, name: &str, shape: &[usize]) -> Result<()> {
        bindings.inputs.push((name.to_owned(), allocate(memory, &self.inputs, name, shape)?));
        Ok(())
    }

    fn add_output(&self, bindings: &mut Bindings, memory: &Allocator, name: &str, shape: &[usize]) -> Result<()> {
        let mut tensor = allocate(memory, &self.outputs, name, shape)?;
        tensor.bind_as_output(&mut bindings.binding, name).map_err(run_error)?;
        bindings.outputs.push((name.to_owned(), tensor));
        Ok(())
    }

    /// Runs the network on bound tensors: reads the inputs, writes the outputs. Blocks; a [`Terminator`] ends it early.
    ///
    /// # Errors
    /// When a node fails, an output has another shape than the bound one, or the run was terminated.
    pub fn run_bound(&mut self, bindings: &mut Bindings) -> Result<()> {
        let mut run = || -> ort::Result<()> {
            for (name, tensor) in &bindings.inputs {
                tensor.bind_as_input(&mut bindings.binding, name)?;
            }
            self.session.run_binding_with_options(&bindings.binding, &self.terminator.run_options)?;
            Ok(())
        };
        run().map_err(run_error)
    }

    /// Runs the network on the named inputs and returns one output, whatever its shape.
    ///
    /// For probing and for what runs once; a stream uses [`Session::run_bound`].
    ///
    /// # Errors
    /// When a node fails, an input does not fit, the output is not `f32`, or the run was terminated.
    pub fn run(&mut self, inputs: &[(&str, &Tensor)], output: &str) -> Result<Tensor> {
        let mut outputs = self.run_for(inputs, &[output])?;
        outputs.pop().with_context(|| format!("the network has no output '{output}'"))
    }

    /// As [`Session::run`], for several outputs in the order in which they are named.
    ///
    /// # Errors
    /// As [`Session::run`].
    pub fn run_for(&mut self, inputs: &[(&str, &Tensor)], outputs: &[&str]) -> Result<Vec<Tensor>> {
        let mut values = Vec::with_capacity(inputs.len());
        for &(name, tensor) in inputs {
            let value = ort::value::TensorRef::from_array_view((tensor.shape.clone(), tensor.data.as_slice()))
                .map_err(run_error)?;
            values.push((name.to_owned(), ort::session::SessionInputValue::from(value)));
        }
        let found = self.session.run_with_options(values, &self.terminator.run_options).map_err(run_error)?;
        outputs
            .iter()
            .map(|&output| {
                let value = found.get(output).with_context(|| format!("the network has no output '{output}'"))?;
                let (shape, data) = value.try_extract_tensor::<f32>().map_err(run_error)?;
                let shape = shape.iter().map(|&length| usize::try_from(length).unwrap_or(0)).collect();
                Ok(Tensor { shape, data: data.to_vec() })
            })
            .collect()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("inputs", &self.inputs).field("outputs", &self.outputs).finish_non_exhaustive()
    }
}

impl Bindings {
    /// Elements of the input at `index` of those that were bound, to write to; none if they are not `f32`.
    pub fn input_mut(&mut self, index: usize) -> &mut [f32] {
        self.inputs.get_mut(index).map_or(&mut [], |(_, tensor)| tensor.floats_mut())
    }

    /// The same for an input of `u8`.
    pub fn input_bytes_mut(&mut self, index: usize) -> &mut [u8] {
        self.inputs.get_mut(index).map_or(&mut [], |(_, tensor)| tensor.bytes_mut())
    }

    /// Makes the output at `output` the input at `input` of the next run, and the other way round: what a step computed is
    /// what the next one starts from, and nothing is copied.
    ///
    /// # Errors
    /// When their types, shapes or kinds of memory differ, or there are none at these places.
    pub fn swap(&mut self, input: usize, output: usize) -> Result<()> {
        let Self { binding, inputs, outputs } = self;
        let (Some((_, input)), Some((name, output))) = (inputs.get_mut(input), outputs.get_mut(output)) else {
            anyhow::bail!("no tensors are bound there");
        };
        anyhow::ensure!(input.is_like(output), "tensors of two types, shapes or kinds of memory cannot change places");
        std::mem::swap(input, output);
        output.bind_as_output(binding, name).map_err(run_error)
    }

    /// Inputs that are bound.
    pub fn input_count(&self) -> usize {
        self.inputs.len()
    }

    /// Elements of the input at `index` of those that were bound; none if they are not `f32`.
    pub fn input(&self, index: usize) -> &[f32] {
        self.inputs.get(index).map_or(&[], |(_, tensor)| tensor.floats())
    }

    /// Elements of the output at `index` of those that were bound, as the last run left them; none if they are not `f32`.
    pub fn output(&self, index: usize) -> &[f32] {
        self.outputs.get(index).map_or(&[], |(_, tensor)| tensor.floats())
    }

    /// The same of an output of `u8`.
    pub fn output_bytes(&self, index: usize) -> &[u8] {
        self.outputs.get(index).map_or(&[], |(_, tensor)| tensor.bytes())
    }
}

impl std::fmt::Debug for Bindings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bindings").finish_non_exhaustive()
    }
}

/// A tensor for one of `ports`.
fn allocate(memory: &Allocator, ports: &[TensorInfo], name: &str, shape: &[usize]) -> Result<BoundTensor> {
    let port = ports.iter().find(|port| port.name == name);
    let port = port.with_context(|| format!("the network has no input or output '{name}'"))?;
    BoundTensor::new(memory, port.element_type, shape).context("allocate the tensors of a network")
}

pub(super) fn run_error(error: ort::Error) -> anyhow::Error {
    anyhow::anyhow!(first_line(&error.to_string()))
}

/// ONNX Runtime's messages go on for pages of C++ after the first line; but which of a tensor's dimensions do not fit stands there.
pub(super) fn first_line(message: &str) -> String {
    let mut lines = message.lines().map(str::trim);
    let first = lines.next().unwrap_or_default();
    if !first.ends_with("for the following indices") {
        return first.to_owned();
    }
    let indices: Vec<&str> = lines.filter(|line| line.starts_with("index:")).collect();
    format!("{first}: {}", indices.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_message_the_first_line_is_told_and_what_does_not_fit() {
        let message = "Got invalid dimensions for input: x for the following indices\n index: 1 Got: 3 Expected: 64\n \
                       index: 3 Got: 64 Expected: 3\n Please fix either the inputs/outputs or the model.";
        let expected = "Got invalid dimensions for input: x for the following indices: index: 1 Got: 3 Expected: 64; \
                        index: 3 Got: 64 Expected: 3";
        assert_eq!(first_line(message), expected);
        assert_eq!(first_line(" no such node \nat line 5\n"), "no such node");
    }
}
