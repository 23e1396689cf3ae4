//! What was found out about devices while networks were opened, and how it is said.

use crate::runtime::Device;
use crate::temporal::Trial;

/// What was found out when a network was opened.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub device: Device,
    /// The catalog's name of the network; `None` where it is one in a file, or where others will run.
    pub network: Option<&'static str>,
    /// Better devices that do not work, with the reasons.
    pub refused: Vec<String>,
    /// Nodes there, and in all.
    pub nodes: Option<(usize, usize)>,
    pub assignment: String,
    pub difference_levels: f32,
    pub is_half: bool,
    /// Why half precision is not taken, where it would have been faster.
    pub half_refusal: Option<String>,
    /// Devices beside this one.
    pub others: Vec<Device>,
    /// How many paint at one time; 0 and 1: one.
    pub networks: usize,
    pub smoothing: Option<Smoothing>,
}

/// Where frames are smoothed, where there was a choice.
#[derive(Debug)]
pub(super) enum Smoothing {
    /// On the device.
    Device(Device, Trial),
    /// On the processor, which is faster.
    Processor(Device, Trial),
    /// On the processor, as the device does not do it, for this reason.
    Refused(String),
}

impl std::fmt::Display for Smoothing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Device(device, Trial { device_ms, processor_ms, levels }) => write!(
                f,
                "frames are smoothed on {device} ({device_ms:.1} ms each, on the processor {processor_ms:.1}; {levels:.2} levels from the \
                 processor's picture)"
            ),
            Self::Processor(device, Trial { device_ms, processor_ms, .. }) => {
                write!(
                    f,
                    "frames are smoothed on the processor ({processor_ms:.1} ms each, on {device} {device_ms:.1})"
                )
            }
            Self::Refused(why) => write!(f, "frames are smoothed on the processor: {why}"),
        }
    }
}

impl Findings {
    /// Where the network runs.
    pub fn line(&self) -> String {
        let Self { device, assignment, difference_levels, others, .. } = self;
        let devices: Vec<String> = std::iter::once(device).chain(others).map(ToString::to_string).collect();
        let what = self.network.map_or_else(|| "networks run".to_owned(), |network| format!("{network} runs"));
        let mut line = format!("{what} on {}", devices.join(", "));
        if self.networks > 1 {
            line += &format!(", {} at one time", self.networks);
        }
        if self.nodes.is_some() {
            let precision = if self.is_half { "half precision, " } else { "" };
            // On the processor there is nothing to be assigned.
            let nodes = if assignment.is_empty() { String::new() } else { format!("{assignment}; ") };
            line += &format!(" ({nodes}{precision}{difference_levels:.2} levels from the processor's picture)");
        }
        line
    }

    /// Everything, a line each.
    pub fn details(&self) -> Vec<String> {
        let refused = self.refused.iter().map(|reason| format!("not on {reason}"));
        let half = self.half_refusal.iter().map(|reason| format!("not in half precision: {reason}"));
        let smoothing = self.smoothing.iter().map(ToString::to_string);
        std::iter::once(self.line()).chain(refused).chain(half).chain(smoothing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Provider;

    #[test]
    fn what_is_said_names_the_device_its_nodes_and_what_was_refused() {
        let findings = Findings {
            device: Device::first_of(Provider::OpenVino),
            refused: vec!["CUDA: broken".to_owned()],
            nodes: Some((9, 10)),
            assignment: "OpenVINO 9 of 10 nodes, CPU 1".to_owned(),
            difference_levels: 0.125,
            ..Findings::default()
        };
        assert_eq!(
            findings.details(),
            [
                "networks run on OpenVINO (OpenVINO 9 of 10 nodes, CPU 1; 0.12 levels from the processor's picture)",
                "not on CUDA: broken"
            ]
        );
        assert_eq!(Findings::default().details(), ["networks run on CPU"]);
        let trial = Trial { device_ms: 1.25, processor_ms: 26.96, levels: 0.004 };
        let cuda = Device::first_of(Provider::Cuda);
        let smoothed = Findings { smoothing: Some(Smoothing::Device(cuda.clone(), trial)), ..Findings::default() };
        assert_eq!(
            smoothed.details()[1..],
            [
                "frames are smoothed on CUDA (1.2 ms each, on the processor 27.0; 0.00 levels from the processor's picture)"
            ]
        );
        let slower = Smoothing::Processor(cuda, Trial { device_ms: 30.0, ..trial });
        assert_eq!(slower.to_string(), "frames are smoothed on the processor (27.0 ms each, on CUDA 30.0)");
        let half = Findings {
            network: Some("impasto-full"),
            is_half: true,
            networks: 4,
            others: vec![Device { provider: Provider::Cuda, index: 2 }],
            ..findings
        };
        assert_eq!(
            half.line(),
            "impasto-full runs on OpenVINO, CUDA:2, 4 at one time (OpenVINO 9 of 10 nodes, CPU 1; half precision, 0.12 levels from the \
             processor's picture)"
        );
    }
}
