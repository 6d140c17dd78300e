//! What ranks the elements of a parameter: the smallest scores go first.

use std::path::PathBuf;
use std::sync::Arc;

use crate::graph::{Axes, Parameter, ParameterId};
use crate::onnx::Values;
use crate::random::{fraction, split_mix};

/// What ranks the elements of a parameter. Scores are compared by magnitude; equal ones go by index.
///
/// What was measured or read is part of the score, so that a state says all about its masks; two such scores are the same where
/// they share it.
#[derive(Debug, Clone, Default)]
pub enum Score {
    /// Their magnitude: L1.
    #[default]
    Magnitude,
    /// Chance, with this seed.
    Random(u64),
    /// |w| · ‖x‖₂ of the input that it multiplies, compared within an output (Sun et al. 2024, Wanda).
    Wanda(Arc<InputNorms>),
    /// Scores or masks from a file.
    Given(Arc<GivenScores>),
}

/// How large the inputs of layers are over some images.
#[derive(Debug, PartialEq)]
pub struct InputNorms {
    /// Where the images are.
    pub images: PathBuf,
    /// How many there were.
    pub count: usize,
    /// Per parameter of the graph: the root of the summed squares of every input channel over all images and positions; `None` where it
    /// multiplies no input.
    pub inputs: Vec<Option<Vec<f32>>>,
}

/// Scores or masks that somebody worked out.
#[derive(Debug, PartialEq)]
pub struct GivenScores {
    /// Where they were read.
    pub path: PathBuf,
    /// Whether they are masks: what is zero in them goes, whatever the amount.
    pub is_mask: bool,
    /// Per parameter of the graph, in the model file's order of elements; `None` where the file says nothing of it.
    pub arrays: Vec<Option<Values>>,
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Magnitude, Self::Magnitude) => true,
            (Self::Random(a), Self::Random(b)) => a == b,
            (Self::Wanda(a), Self::Wanda(b)) => Arc::ptr_eq(a, b),
            (Self::Given(a), Self::Given(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Score {
    /// What [`Score::Wanda`] does and when it is good.
    pub const WANDA_HELP: &str = "Each weight times the size of the input that it multiplies, over your images; the smallest of every output \
                                  go (Wanda, Sun et al. 2024). Good where inputs differ in size, as in transformers";

    /// What [`Score::Given`] does and when it is good.
    pub const GIVEN_HELP: &str = "Scores or masks that another program worked out, an array for every parameter: .npz, .npy or safetensors. \
                                  Good where another tool knows what this one cannot, such as gradients";

    /// In a few words: `magnitude`, `random:7`, `wanda`, or the file's path.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Magnitude => "magnitude".into(),
            Self::Random(seed) => format!("random:{seed}"),
            Self::Wanda(_) => "wanda".into(),
            Self::Given(given) => given.path.display().to_string(),
        }
    }

    /// What it does and when it is good, with the paper that it is from.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Magnitude => {
                "The smallest weights go first (Han et al. 2015). Needs no images, and is hard to beat with a method that shares well"
            }
            Self::Random(_) => {
                "Chance decides, the same for the same seed. What any other score has to beat, and a way to see how much a network bears"
            }
            Self::Wanda(_) => Self::WANDA_HELP,
            Self::Given(_) => Self::GIVEN_HELP,
        }
    }

    /// Whether masks are given, and so no amount says anything.
    #[must_use]
    pub fn is_mask(&self) -> bool {
        matches!(self, Self::Given(given) if given.is_mask)
    }

    /// Whether it says anything of a parameter.
    #[must_use]
    pub fn covers(&self, id: ParameterId) -> bool {
        let has = |is_some: Option<bool>| is_some == Some(true);
        match self {
            Self::Magnitude | Self::Random(_) => true,
            Self::Wanda(norms) => has(norms.inputs.get(id.0).map(Option::is_some)),
            Self::Given(given) => has(given.arrays.get(id.0).map(Option::is_some)),
        }
    }

    /// The score of every element of a parameter, whose values are now `values`; `None` where it says nothing of it.
    #[must_use]
    pub fn of(&self, parameter: &Parameter, id: ParameterId, axes: Option<Axes>, values: &Values) -> Option<Values> {
        match self {
            Self::Magnitude => Some(values.clone()),
            Self::Random(seed) => Some(Values::F32((0..values.len()).map(|i| chance(*seed, id, i)).collect())),
            Self::Given(given) => given.arrays.get(id.0)?.clone(),
            Self::Wanda(norms) => {
                let norms = norms.inputs.get(id.0)?.as_ref()?;
                let (rows, columns) = axes.map(|axes| (axes.outputs(&parameter.shape), axes.inputs(&parameter.shape)))?;
                // A grouped convolution's filters see the inputs of their group.
                let groups = norms.len().checked_div(columns.size)?;
                let filters = rows.size.checked_div(groups)?;
                if groups * columns.size != norms.len() || filters * groups != rows.size {
                    return None;
                }
                let norm = |i: usize| {
                    let group = if groups == 1 { 0 } else { rows.within(i) / filters };
                    norms[group * columns.size + columns.within(i)]
                };
                Some(match values {
                    Values::F32(v) => Values::F32(v.iter().enumerate().map(|(i, w)| w.abs() * norm(i)).collect()),
                    Values::F64(v) => Values::F64(v.iter().enumerate().map(|(i, w)| w.abs() * f64::from(norm(i))).collect()),
                })
            }
        }
    }
}

/// A number in 0..1 that hangs on nothing but the seed and the place, so that the numbers are the same on any machine and in any order of
/// work.
pub(crate) fn chance(seed: u64, id: ParameterId, element: usize) -> f32 {
    let stream = split_mix(split_mix(seed) ^ id.0 as u64);
    fraction(split_mix(stream.wrapping_add(element as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Layout, Role};
    use crate::onnx::Dtype;

    #[test]
    fn chance_is_even_and_hangs_on_seed_parameter_and_element() {
        let of = |seed, id, i| chance(seed, ParameterId(id), i);
        let mean = (0..10_000).map(|i| f64::from(of(1, 0, i))).sum::<f64>() / 1e4;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        assert!((0..10_000).all(|i| (0.0..1.0).contains(&of(1, 0, i))));
        assert_eq!(of(1, 0, 5), of(1, 0, 5));
        assert!(of(1, 0, 5) != of(2, 0, 5) && of(1, 0, 5) != of(1, 1, 5) && of(1, 0, 5) != of(1, 0, 6));
    }

    #[test]
    fn wanda_multiplies_by_the_norm_of_the_input() {
        let of = |shape: &[usize], layout, norms: Vec<f32>| {
            let parameter = Parameter::of_shape(shape, layout, Dtype::F32);
            let score = Score::Wanda(Arc::new(InputNorms { images: PathBuf::new(), count: 1, inputs: vec![Some(norms)] }));
            let values = Values::F32((1..=parameter.elements).map(|i| -(i as f32)).collect());
            score.of(&parameter, ParameterId(0), parameter.axes(Role::Dense), &values).map(Values::into_f32)
        };
        assert_eq!(of(&[2, 3], Layout::OutFirst, vec![1.0, 10.0, 100.0]), Some(vec![1.0, 20.0, 300.0, 4.0, 50.0, 600.0]));
        assert_eq!(of(&[3, 2], Layout::InFirst, vec![1.0, 10.0, 100.0]), Some(vec![1.0, 2.0, 30.0, 40.0, 500.0, 600.0]));
        // Two groups of one input each, kernels of two.
        assert_eq!(of(&[2, 1, 2], Layout::OutFirst, vec![1.0, 10.0]), Some(vec![1.0, 2.0, 30.0, 40.0]));
        assert_eq!(of(&[2, 3], Layout::OutFirst, vec![1.0; 4]), None);
    }
}
