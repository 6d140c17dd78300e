//! How long a forward pass takes: dense, masked at every pass, and fixed.
//!
//! Zeros do not make dense kernels faster: fixed takes as long as dense. What fixing saves is the masking, which PyTorch's hook
//! carries out before every pass, and so does this.

use std::time::{Duration, Instant};

use burn::Tensor;

use crate::graph::ParameterId;
use crate::network::{Array, Network, NetworkError};
use crate::watch::Watch;

/// The three are run in each of these orders in turn, so that none always comes first, last, or after the same other one.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0], [0, 2, 1], [1, 0, 2]];

/// Passes of each kind before any is counted.
const WARM_UP: usize = 2;

/// Rounds that are measured at least, whatever the time.
const LEAST_ROUNDS: usize = 3;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Passes of each kind at most.
    pub rounds: usize,
    /// No round begins after this time, once three are measured.
    pub time: Duration,
}

impl Default for Effort {
    fn default() -> Self {
        Self { rounds: 30, time: Duration::from_secs(10) }
    }
}

/// The middle of what was measured, and between what half of it lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Half of the passes were faster.
    pub median_ms: f64,
    /// A quarter of the passes were faster.
    pub low_ms: f64,
    /// A quarter of the passes were slower.
    pub high_ms: f64,
}

impl Timing {
    /// Of measured times, in any order; zeros of none.
    #[must_use]
    pub fn of(times: &[Duration]) -> Self {
        let mut ms: Vec<f64> = times.iter().map(|t| t.as_secs_f64() * 1e3).collect();
        ms.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * ms.len().saturating_sub(1) as f64;
            let (below, above) = (place.floor() as usize, place.ceil() as usize);
            match (ms.get(below), ms.get(above)) {
                (Some(low), Some(high)) => low + (high - low) * place.fract(),
                _ => 0.0,
            }
        };
        Self { median_ms: at(0.5), low_ms: at(0.25), high_ms: at(0.75) }
    }
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// Images of a pass.
    pub batch: usize,
    /// Passes of each kind that were counted.
    pub rounds: usize,
    /// The model as it is in the network.
    pub dense: Timing,
    /// Original × mask before every pass.
    pub masked: Timing,
    /// Original × mask once, before all passes.
    pub fixed: Timing,
}

/// How long two networks take for the same, run in turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Images of a pass.
    pub batch: usize,
    /// Passes of each that were counted.
    pub rounds: usize,
    /// Of each.
    pub timings: [Timing; 2],
}

/// Measures both networks on `inputs`, whose first dimension is the batch: in every round each once, the other one first than before.
///
/// # Errors
/// As [`speed`].
pub fn pace(networks: [&Network; 2], inputs: &[(String, Array)], effort: Effort, watch: &dyn Watch) -> Result<Pace, NetworkError> {
    let mut times: [Vec<Duration>; 2] = Default::default();
    let (mut start, rounds) = (Instant::now(), effort.rounds.max(LEAST_ROUNDS));
    for round in 0..WARM_UP + rounds {
        if round == WARM_UP {
            start = Instant::now();
        }
        if round >= WARM_UP + LEAST_ROUNDS && start.elapsed() >= effort.time {
            break;
        }
        for kind in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let begun = Instant::now();
            networks[kind].finish(networks[kind].begin(inputs)?, watch)?;
            if round >= WARM_UP {
                times[kind].push(begun.elapsed());
            }
        }
        let spent = start.elapsed().as_secs_f32() / effort.time.as_secs_f32().max(f32::MIN_POSITIVE);
        let done = (round + 1) as f32 / (WARM_UP + rounds) as f32;
        watch.progress(done.max(if round < WARM_UP { 0.0 } else { spent }).min(1.0), "measuring");
    }
    let batch = inputs.first().and_then(|(_, array)| array.shape.first()).copied().unwrap_or(1);
    Ok(Pace { batch, rounds: times[0].len(), timings: [Timing::of(&times[0]), Timing::of(&times[1])] })
}

/// Measures `network` on `inputs`, whose first dimension is the batch. `masks` are flat, on the network's device, 1 keeps.
///
/// The network itself stays as it is. Every pass ends when its outputs are on the host, whatever the device does meanwhile.
///
/// # Errors
/// [`NetworkError`]; [`NetworkError::Cancelled`] where `watch` wants it to stop, which it is asked between operators.
///
/// # Panics
/// Where a mask has not as many elements as its parameter.
pub fn speed(
    network: &Network,
    masks: &[(ParameterId, Tensor<1>)],
    inputs: &[(String, Array)],
    effort: Effort,
    watch: &dyn Watch,
) -> Result<Speed, NetworkError> {
    let masked = |network: &Network| {
        let mut masked = network.clone();
        for (id, mask) in masks {
            masked.set_parameter(*id, network.parameter(*id) * mask.clone());
        }
        masked
    };
    let fixed = masked(network);
    let pass = |kind: usize| -> Result<Duration, NetworkError> {
        let start = Instant::now();
        match kind {
            0 => network.finish(network.begin(inputs)?, watch)?,
            1 => {
                let masked = masked(network);
                masked.finish(masked.begin(inputs)?, watch)?
            }
            _ => fixed.finish(fixed.begin(inputs)?, watch)?,
        };
        Ok(start.elapsed())
    };
    for kind in ORDERS[..WARM_UP].iter().flatten() {
        watch.progress(0.0, "warming up");
        pass(*kind)?;
    }
    let mut times: [Vec<Duration>; 3] = Default::default();
    let (start, rounds) = (Instant::now(), effort.rounds.max(LEAST_ROUNDS));
    for round in 0..rounds {
        if round >= LEAST_ROUNDS && start.elapsed() >= effort.time {
            break;
        }
        for &kind in &ORDERS[round % ORDERS.len()] {
            times[kind].push(pass(kind)?);
        }
        let spent = start.elapsed().as_secs_f32() / effort.time.as_secs_f32().max(f32::MIN_POSITIVE);
        watch.progress(((round + 1) as f32 / rounds as f32).max(spent).min(1.0), "measuring");
    }
    let batch = inputs.first().and_then(|(_, array)| array.shape.first()).copied().unwrap_or(1);
    let [dense, masked, fixed] = [0, 1, 2].map(|kind| Timing::of(&times[kind]));
    Ok(Speed { batch, rounds: times[0].len(), dense, masked, fixed })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use burn::tensor::Device;

    use super::*;
    use crate::graph;
    use crate::onnx::OnnxFile;
    use crate::watch::Unwatched;

    fn open() -> Network {
        let file = OnnxFile::open(Path::new("assets/mobilenetv4_digits.onnx")).unwrap();
        Network::build(Arc::new(graph::build(&file)), &file, &Device::flex()).unwrap()
    }

    fn image() -> [(String, Array); 1] {
        [("input".to_owned(), Array::f32([2, 3, 64, 64], vec![0.25; 2 * 3 * 64 * 64]))]
    }

    #[test]
    fn quartiles_are_interpolated() {
        let ms = |v: &[u64]| v.iter().map(|v| Duration::from_millis(*v)).collect::<Vec<_>>();
        assert_eq!(Timing::of(&ms(&[4, 1, 3, 2])), Timing { median_ms: 2.5, low_ms: 1.75, high_ms: 3.25 });
        assert_eq!(Timing::of(&ms(&[7])), Timing { median_ms: 7.0, low_ms: 7.0, high_ms: 7.0 });
        assert_eq!(Timing::of(&[]), Timing { median_ms: 0.0, low_ms: 0.0, high_ms: 0.0 });
    }

    #[test]
    fn all_three_are_measured_and_the_network_stays() {
        let network = open();
        let before = network.forward(&image()).unwrap();
        let device = network.device().clone();
        let masks: Vec<_> =
            network.graph().parameters.iter().enumerate().map(|(i, p)| (ParameterId(i), Tensor::zeros([p.elements], &device))).collect();
        let effort = Effort { rounds: 4, time: Duration::from_mins(1) };
        let speed = speed(&network, &masks, &image(), effort, &Unwatched).unwrap();
        assert_eq!((speed.batch, speed.rounds), (2, 4));
        for timing in [speed.dense, speed.masked, speed.fixed] {
            assert!(timing.low_ms > 0.0 && timing.low_ms <= timing.median_ms && timing.median_ms <= timing.high_ms, "{timing:?}");
        }
        assert_eq!(network.forward(&image()).unwrap(), before);
    }

    #[test]
    fn two_networks_are_measured_in_turn() {
        let network = open();
        let effort = Effort { rounds: 4, time: Duration::from_mins(1) };
        let pace = pace([&network, &network], &image(), effort, &Unwatched).unwrap();
        assert_eq!((pace.batch, pace.rounds), (2, 4));
        assert!(pace.timings.iter().all(|timing| timing.low_ms > 0.0 && timing.low_ms <= timing.high_ms), "{pace:?}");
    }

    #[test]
    fn time_ends_it_after_three_rounds() {
        let effort = Effort { rounds: 1000, time: Duration::ZERO };
        assert_eq!(pace([&open(), &open()], &image(), effort, &Unwatched).unwrap().rounds, 3);
        assert_eq!(speed(&open(), &[], &image(), effort, &Unwatched).unwrap().rounds, 3);
    }

    #[test]
    fn it_stops_when_it_is_told_to() {
        struct Stop;
        impl Watch for Stop {
            fn progress(&self, _: f32, _: &str) {}
            fn is_cancelled(&self) -> bool {
                true
            }
        }
        assert!(matches!(speed(&open(), &[], &image(), Effort::default(), &Stop), Err(NetworkError::Cancelled)));
    }

    #[test]
    fn every_order_is_one_of_all_and_none_is_twice() {
        for (i, order) in ORDERS.iter().enumerate() {
            let mut sorted = *order;
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2]);
            assert!(!ORDERS[..i].contains(order));
        }
    }
}
