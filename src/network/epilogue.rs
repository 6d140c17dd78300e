//! What is done to the result of a convolution before it is written: bias, batch normalisation, activation, a sum.

use super::activation::Activation;

/// Steps on the way from a sum of products to the result, in this order; each may be absent.
#[derive(Default)]
pub(super) struct Epilogue<'a> {
    /// One factor per filter.
    pub(super) scale: Option<Vec<f32>>,
    /// One summand per filter.
    pub(super) shift: Option<Vec<f32>>,
    pub(super) first: Option<Activation>,
    /// Added element by element; of the result's shape.
    pub(super) residual: Option<&'a [f32]>,
    pub(super) second: Option<Activation>,
}

impl Epilogue<'_> {
    /// Carries out what needs no position: factor and summand. The number of elements
    /// is fixed, so that all of it stays in registers. Part of a [`super::vector::Loop`].
    #[inline(always)]
    pub(super) fn scale<const FUSED: bool, const N: usize>(&self, filter: usize, data: &mut [f32; N]) {
        let scale = self.scale.as_ref().map_or(1.0, |scale| scale[filter]);
        let shift = self.shift.as_ref().map_or(0.0, |shift| shift[filter]);
        for x in data {
            *x = super::vector::multiply_add::<FUSED>(*x, scale, shift);
        }
    }

    /// The first activation.
    #[inline(always)]
    pub(super) fn activate<const FUSED: bool, const N: usize>(&self, data: &mut [f32; N]) {
        if let Some(activation) = self.first {
            activation.apply::<FUSED>(data);
        }
    }

    /// Carries out the rest on `data`, elements of the result from `at` on.
    #[inline(always)]
    pub(super) fn add<const FUSED: bool>(&self, at: usize, data: &mut [f32]) {
        if let Some(residual) = self.residual {
            for (x, r) in data.iter_mut().zip(&residual[at..]) {
                *x += r;
            }
        }
        if let Some(activation) = self.second {
            activation.apply::<FUSED>(data);
        }
    }

    /// Whether [`Self::add`] does anything.
    pub(super) fn adds(&self) -> bool {
        self.residual.is_some() || self.second.is_some()
    }
}
