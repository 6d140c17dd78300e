//! Functions of one element that convolutions carry out on their results before they are written.

use super::vector::multiply_add;
use crate::graph::Node;

/// A function of one element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Activation {
    Relu,
    /// Least and largest result.
    Clip(f32, f32),
    /// Slope below zero.
    LeakyRelu(f32),
    /// α and β of α·x + β, held between 0 and 1.
    HardSigmoid(f32, f32),
    HardSwish,
    Sigmoid,
    /// x · sigmoid(α·x).
    Swish(f32),
    Gelu,
    GeluTanh,
    Erf,
    Tanh,
    Exp,
}

impl Activation {
    /// The function of a node whose result depends on its first input alone, where it is known here.
    pub(super) fn of(node: &Node) -> Option<Self> {
        let alpha = |default| node.attributes.float("alpha").unwrap_or(default);
        if !node.is_standard() {
            return None;
        }
        Some(match node.op.as_str() {
            "Relu" => Self::Relu,
            "LeakyRelu" => Self::LeakyRelu(alpha(0.01)),
            "HardSigmoid" => Self::HardSigmoid(alpha(0.2), node.attributes.float("beta").unwrap_or(0.5)),
            "HardSwish" => Self::HardSwish,
            "Sigmoid" => Self::Sigmoid,
            "Swish" => Self::Swish(alpha(1.0)),
            "Gelu" if node.attributes.string("approximate") == Some("tanh") => Self::GeluTanh,
            "Gelu" => Self::Gelu,
            "Erf" => Self::Erf,
            "Tanh" => Self::Tanh,
            "Exp" => Self::Exp,
            _ => return None,
        })
    }

    /// Applies it to every element. Part of a [`super::vector::Loop`].
    #[inline(always)]
    pub(super) fn apply<const FUSED: bool>(self, data: &mut [f32]) {
        match self {
            Self::Relu => each(data, |x| select(x < 0.0, 0.0, x)),
            Self::Clip(low, high) => each(data, |x| {
                let x = select(x < low, low, x);
                select(x > high, high, x)
            }),
            Self::LeakyRelu(a) => each(data, |x| select(x < 0.0, a * x, x)),
            Self::HardSigmoid(a, b) => each(data, |x| unit(a * x + b)),
            Self::HardSwish => each(data, |x| x * unit(x * (1.0 / 6.0) + 0.5)),
            Self::Sigmoid => each(data, sigmoid::<FUSED>),
            Self::Swish(a) => each(data, |x| x * sigmoid::<FUSED>(a * x)),
            Self::Gelu => each(data, |x| 0.5 * x * (1.0 + erf::<FUSED>(x * std::f32::consts::FRAC_1_SQRT_2))),
            Self::GeluTanh => each(data, |x| 0.5 * x * (1.0 + tanh::<FUSED>(0.797_884_6 * multiply_add::<FUSED>(0.044_715 * x * x, x, x)))),
            Self::Erf => each(data, erf::<FUSED>),
            Self::Tanh => each(data, tanh::<FUSED>),
            Self::Exp => each(data, exp::<FUSED>),
        }
    }
}

#[inline(always)]
fn each(data: &mut [f32], function: impl Fn(f32) -> f32) {
    for x in data {
        *x = function(*x);
    }
}

/// `a` where the condition holds, else `b`, without a branch: one would become a masked store, which the next load waits for.
/// Comparisons with it let NaN through, as min and max would not.
#[inline(always)]
fn select(condition: bool, a: f32, b: f32) -> f32 {
    let mask = u32::from(condition).wrapping_neg();
    f32::from_bits(a.to_bits() & mask | b.to_bits() & !mask)
}

#[inline(always)]
fn unit(x: f32) -> f32 {
    let x = if x < 0.0 { 0.0 } else { x };
    if x > 1.0 { 1.0 } else { x }
}

/// eˣ = 2ⁿ · eʳ with |r| ≤ ½ ln 2, where the series to the sixth power is as exact as a float is.
#[inline(always)]
fn exp<const FUSED: bool>(x: f32) -> f32 {
    /// ln 2 in two parts: the first has few bits, so that n times it is exact.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    /// Adding it rounds a small float to a whole number, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let held = if x < -104.0 { -104.0 } else { x };
    let held = if held > 89.0 { 89.0 } else { held };
    let shifted = multiply_add::<FUSED>(held, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = multiply_add::<FUSED>(n, -LN_2.1, multiply_add::<FUSED>(n, -LN_2.0, held));
    let mut sum = 1.0 / 720.0;
    for factor in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = multiply_add::<FUSED>(sum, r, factor);
    }
    // In two halves, because 2ⁿ itself may be no normal float.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    sum * power(half) * power(n.wrapping_sub(half))
}

#[inline(always)]
fn sigmoid<const FUSED: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FUSED>(-x))
}

#[inline(always)]
fn tanh<const FUSED: bool>(x: f32) -> f32 {
    // Near zero the difference below cancels; there the series is exact enough.
    let square = x * x;
    let near = x * multiply_add::<FUSED>(square, multiply_add::<FUSED>(square, 2.0 / 15.0 - square * (17.0 / 315.0), -1.0 / 3.0), 1.0);
    let far = 1.0 - 2.0 / (1.0 + exp::<FUSED>(2.0 * x));
    if square < 0.02 { near } else { far }
}

/// The series near zero, elsewhere 1 − e^(−x²) · p(t) after Abramowitz and Stegun 7.1.26, within 4e-7 of the true value.
///
/// libm's is exact to the last bit, and a call for every element: no vectors are made of it.
#[inline(always)]
fn erf<const FUSED: bool>(x: f32) -> f32 {
    let square = x * x;
    let mut near = 1.0 / 1320.0_f32;
    for factor in [1.0 / 216.0, 1.0 / 42.0, 1.0 / 10.0, 1.0 / 3.0, 1.0] {
        near = factor - square * near;
    }
    let near = near * x * std::f32::consts::FRAC_2_SQRT_PI;
    let a = x.abs();
    let t = 1.0 / multiply_add::<FUSED>(0.327_591_1, a, 1.0);
    let mut p = 1.061_405_4_f32;
    for factor in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6, 0.0] {
        p = multiply_add::<FUSED>(p, t, factor);
    }
    let far = (1.0 - p * exp::<FUSED>(-square)).copysign(x);
    if a < 0.5 { near } else { far }
}

#[cfg(test)]
mod tests {
    use super::super::elementwise;
    use super::*;

    /// What stands for the same function in double precision.
    fn exact(activation: Activation, x: f32) -> f64 {
        let d = f64::from(x);
        let sigmoid = |d: f64| 1.0 / (1.0 + (-d).exp());
        match activation {
            Activation::Sigmoid => sigmoid(d),
            Activation::Swish(a) => d * sigmoid(f64::from(a) * d),
            Activation::Gelu => 0.5 * d * (1.0 + f64::from(elementwise::erf((d * std::f64::consts::FRAC_1_SQRT_2) as f32))),
            Activation::GeluTanh => 0.5 * d * (1.0 + (0.797_884_560_802_865_4 * (d + 0.044_715 * d * d * d)).tanh()),
            Activation::Erf => f64::from(elementwise::erf(x)),
            Activation::Tanh => d.tanh(),
            Activation::Exp => d.exp(),
            _ => unreachable!("tested below"),
        }
    }

    #[test]
    fn curved_functions_are_exact_to_a_few_units_in_the_last_place() {
        use Activation::{Erf, Exp, Gelu, GeluTanh, Sigmoid, Swish, Tanh};
        let mut points: Vec<f32> = (-20_000..=20_000).map(|i| i as f32 * 0.001).collect();
        points.extend([-88.0, -100.0, 88.0, 1e-20, -1e-20, 0.0]);
        for (activation, limit) in
            [(Exp, 3e-7), (Sigmoid, 3e-7), (Swish(1.7), 1e-6), (Tanh, 1e-6), (Erf, 6e-7), (Gelu, 2e-6), (GeluTanh, 2e-6)]
        {
            let mut have = points.clone();
            activation.apply::<false>(&mut have);
            for (&x, have) in points.iter().zip(have) {
                let want = exact(activation, x);
                let error = (f64::from(have) - want).abs() / want.abs().max(if activation == Exp { 1e-30 } else { 1.0 });
                assert!(error < limit || want > f64::from(f32::MAX), "{activation:?}({x}) is {have} and should be {want}: {error}");
            }
        }
    }

    #[test]
    fn extremes_stay_what_they_are() {
        let of = |activation: Activation, x: f32| {
            let mut data = [x];
            activation.apply::<true>(&mut data);
            data[0]
        };
        assert_eq!(of(Activation::Exp, f32::NEG_INFINITY), 0.0);
        assert_eq!(of(Activation::Exp, f32::INFINITY), f32::INFINITY);
        assert_eq!(of(Activation::Tanh, f32::INFINITY), 1.0);
        assert_eq!(of(Activation::Erf, f32::NEG_INFINITY), -1.0);
        assert_eq!(of(Activation::Sigmoid, f32::NEG_INFINITY), 0.0);
        assert_eq!(of(Activation::Clip(-1.0, 6.0), 7.0), 6.0);
        assert_eq!(of(Activation::LeakyRelu(0.5), -4.0), -2.0);
        assert_eq!(of(Activation::HardSwish, -4.0), 0.0);
        assert_eq!(of(Activation::HardSigmoid(0.25, 0.5), 1.0), 0.75);
        for activation in [Activation::Relu, Activation::Clip(0.0, 6.0), Activation::HardSwish, Activation::Exp, Activation::Gelu] {
            assert!(of(activation, f32::NAN).is_nan(), "{activation:?}");
        }
    }
}
