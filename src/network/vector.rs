//! Loops on the CPU, compiled for the vector units that the processor turns out to have.
//!
//! The program is built for the oldest processor of its architecture. What is handed to [`run`] is compiled a second time for
//! those of the last decade, whose vectors are twice as wide and multiply and add in one step.
//!
//! The innermost loops count. What iterators side by side (`zip`, `chunks`) begin with can be compiled in another piece of this crate, and
//! what calls another piece keeps its sums in memory: a tile of the dense convolution took four times as long.

/// A loop that is worth compiling twice.
pub(super) trait Loop {
    type Output;

    /// Carries it out. Implementations are `#[inline(always)]`, so that they become part of the function that names the
    /// vector units. `FUSED` tells that [`multiply_add`] is one instruction.
    fn run<const FUSED: bool>(self) -> Self::Output;
}

/// a · b + c; rounded once where `FUSED`.
#[inline(always)]
pub(super) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Carries `work` out with the widest vectors there are, in a function of its own: what a caller does with the result does not
/// keep it from staying in registers.
pub(super) fn run<L: Loop>(work: L) -> L::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        #[inline(never)]
        fn wide<L: Loop>(work: L) -> L::Output {
            work.run::<true>()
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            #[expect(unsafe_code, reason = "the processor has what the function is compiled for, as the line above asks")]
            // SAFETY: both features were detected.
            return unsafe { wide(work) };
        }
    }
    // Fused multiplication belongs to every 64-bit Arm.
    if cfg!(target_arch = "aarch64") { work.run::<true>() } else { work.run::<false>() }
}
