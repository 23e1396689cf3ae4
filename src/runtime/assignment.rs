//! Which provider a session's nodes were given to, read back from ONNX Runtime.
//!
//! Asking for a provider is no promise: ONNX Runtime leaves to the processor whatever a provider does not take, and says
//! so only here.

use std::ffi::{CStr, c_char};

use ort::AsPointer as _;

/// How many of a network's nodes each provider executes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignment {
    /// ONNX Runtime's name of the provider without its ending, for example `CUDA`, and its number of nodes; most first.
    pub nodes: Vec<(String, usize)>,
}

impl Assignment {
    /// Adds `count` nodes to a provider of this full name.
    fn add(&mut self, provider: &str, count: usize) {
        let name = provider.strip_suffix("ExecutionProvider").unwrap_or(provider);
        match self.nodes.iter_mut().find(|(known, _)| known == name) {
            Some((_, nodes)) => *nodes += count,
            None => self.nodes.push((name.to_owned(), count)),
        }
        self.nodes.sort_by_key(|(_, nodes)| std::cmp::Reverse(*nodes));
    }

    /// All nodes.
    pub fn node_count(&self) -> usize {
        self.nodes.iter().map(|(_, nodes)| nodes).sum()
    }

    /// Nodes that ONNX Runtime's own code for the processor executes.
    pub fn cpu_nodes(&self) -> usize {
        self.nodes.iter().find(|(name, _)| name == "CPU").map_or(0, |(_, nodes)| *nodes)
    }

    /// Nodes that are elsewhere.
    pub fn device_nodes(&self) -> usize {
        self.node_count() - self.cpu_nodes()
    }
}

/// `CUDA 120 of 123 nodes, CPU 3`.
impl std::fmt::Display for Assignment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (name, nodes)) in self.nodes.iter().enumerate() {
            match index {
                0 => write!(f, "{name} {nodes} of {} nodes", self.node_count())?,
                _ => write!(f, ", {name} {nodes}")?,
            }
        }
        Ok(())
    }
}

/// The option of a session that makes [`read`] possible.
pub(super) const RECORD_KEY: &str = "session.record_ep_graph_assignment_info";

/// Reads what a session was opened to; empty unless it was opened with [`RECORD_KEY`].
#[allow(unsafe_code)]
pub(super) fn read(session: &ort::session::Session) -> ort::Result<Assignment> {
    let api = ort::api();
    let mut assignment = Assignment::default();
    let (mut subgraphs, mut count) = (std::ptr::null(), 0);
    // SAFETY: the session is alive, and both places are written before they are read.
    let status = unsafe { (api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &mut subgraphs, &mut count) };
    // SAFETY: the status was just returned by ONNX Runtime, and nobody else has it.
    unsafe { ort::Error::result_from_status(status) }?;
    if subgraphs.is_null() {
        return Ok(assignment);
    }
    // SAFETY: the session keeps that many subgraphs, and it outlives this function.
    for &subgraph in unsafe { std::slice::from_raw_parts(subgraphs, count) } {
        let mut name: *const c_char = std::ptr::null();
        // SAFETY: the subgraph is one of the session's; the name is a string that the session keeps.
        let name = unsafe {
            ort::Error::result_from_status((api.EpAssignedSubgraph_GetEpName)(subgraph, &mut name))?;
            if name.is_null() { c"unnamed" } else { CStr::from_ptr(name) }
        };
        let (mut nodes, mut node_count) = (std::ptr::null(), 0);
        // SAFETY: as above; only the number of nodes is used.
        unsafe {
            let status = (api.EpAssignedSubgraph_GetNodes)(subgraph, &mut nodes, &mut node_count);
            ort::Error::result_from_status(status)?;
        }
        assignment.add(&name.to_string_lossy(), node_count);
    }
    Ok(assignment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_counted_for_each_provider() {
        let mut assignment = Assignment::default();
        for (provider, count) in
            [("CPUExecutionProvider", 1), ("CUDAExecutionProvider", 2), ("CUDAExecutionProvider", 4)]
        {
            assignment.add(provider, count);
        }
        assert_eq!(assignment.to_string(), "CUDA 6 of 7 nodes, CPU 1");
        assert_eq!((assignment.cpu_nodes(), assignment.device_nodes()), (1, 6));
    }
}
