//! What the host knows of a result of the GPU, and so can refuse to believe.

use burn::cubecl::CubeDim;

use super::adapter::{Words, groups};
use super::{DeviceError, DeviceSelection, DeviceWeights, Rows};
use crate::prune::kernels;

impl DeviceWeights {
    /// Believes the plan and the report only if they agree with what the host knows.
    pub(super) fn check_selection(
        &self,
        scope: &[bool],
        rows: Rows,
        wanted: &[u64],
        available: &[u64],
        plan: &[u32],
        report: &[u32],
    ) -> Result<DeviceSelection, DeviceError> {
        let agree = |what, expected, found| self.adapter.agree("selecting", what, expected, found);
        let row_words = kernels::ROW_WORDS as usize;
        let (counts_at, ties_at) = (kernels::REPORT_WORDS as usize, kernels::REPORT_WORDS as usize + self.parameters.len());
        agree("the length of the report", (ties_at + wanted.len()) as u64, report.len() as u64)?;
        agree("the length of the plan", (row_words * wanted.len() + self.parameters.len()) as u64, plan.len() as u64)?;
        agree("the number of elements visited", self.parameters.iter().map(|parameter| parameter.len as u64).sum(), report[1].into())?;
        agree("the number of elements newly masked", wanted.iter().sum(), report[0].into())?;

        let counts: Vec<u64> = report[counts_at..ties_at].iter().map(|&count| count.into()).collect();
        let all_masked = self.counts.iter().chain(wanted).sum();
        agree("the number of elements masked", all_masked, counts.iter().sum())?;
        for (index, (&count, &before)) in counts.iter().zip(&self.counts).enumerate() {
            let expected = match (scope[index], rows) {
                (false, _) => before,
                (true, Rows::Each) => before + wanted[index],
                (true, Rows::Together) => count.clamp(before, self.parameters[index].len as u64),
            };
            agree("the number of masked elements of a parameter", expected, count)?;
        }

        let ties: Vec<u64> = report[ties_at..].iter().map(|&ties| ties.into()).collect();
        let mut cuts = Vec::with_capacity(wanted.len());
        for (row, (&wanted, &available)) in wanted.iter().zip(available).enumerate() {
            let record = &plan[row * row_words..][..row_words];
            agree("the number of elements available", available, record[1].into())?;
            if wanted == 0 {
                cuts.push(None);
                continue;
            }
            let (key, taken) = (record[kernels::ROW_CUT as usize], u64::from(record[kernels::ROW_CUT as usize + 1]));
            agree("the number of ties taken at the cut", taken.min(ties[row]).min(wanted).max(1), taken)?;
            cuts.push(Some(f32::from_bits(key)));
        }
        Ok(DeviceSelection { counts, cuts, ties })
    }

    pub(super) fn check_upload(&self, step: &'static str, uploaded: &Words, expected: u32) -> Result<(), DeviceError> {
        let report = self.adapter.attempt(step, || {
            let report = self.adapter.create(vec![0; kernels::REPORT_WORDS as usize]);
            let (client, words) = (&self.adapter.client, uploaded.len() as u32);
            let unit = CubeDim::new_1d(kernels::UNITS);
            let (weights_arg, report_arg) = (self.adapter.arg(uploaded), self.adapter.arg(&report));
            kernels::checksum::launch(client, groups(words.div_ceil(kernels::TILE)), unit, weights_arg, report_arg, words);
            self.adapter.read(&report, 0, report.len())
        })?;
        self.adapter.agree(step, "the number of words", uploaded.len() as u64, report[1].into())?;
        self.adapter.agree(step, "the checksum", expected.into(), report[2].into())
    }

    pub(super) fn check_mask(&self, mask: &[u64], parameter: usize) -> Result<(), DeviceError> {
        let masked = mask.iter().map(|word| u64::from(word.count_ones())).sum();
        self.adapter.agree("reading a mask back from it", "the number of bits set", self.counts[parameter], masked)
    }
}

/// What [`kernels::checksum`] computes.
pub(super) fn checksum(bits: &[u32]) -> u32 {
    bits.iter().zip(0u32..).fold(0, |sum, (&bits, at)| sum.wrapping_add(bits.wrapping_mul(at.wrapping_mul(2).wrapping_add(1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::adapter_for_tests;

    /// A device thread that panics can leave zeros behind, which look like a perfect prune.
    #[test]
    fn a_result_that_contradicts_itself_is_refused() {
        let Some(device) = adapter_for_tests() else { return };
        let parameters: [&[f32]; 2] = [&[3.0, 1.0, -1.0, 1.0, 9.0], &[2.0, 0.0]];
        let gpu = DeviceWeights::upload(parameters, &device.device).unwrap();
        let (scope, wanted, available) = ([true, true], [3], [7]);
        let (_, plan, report) = gpu.launch_select(&gpu.weights, &scope, Rows::Together, &wanted).unwrap();
        let check = |plan: &[u32], report: &[u32]| gpu.check_selection(&scope, Rows::Together, &wanted, &available, plan, report);
        let found = check(&plan, &report).unwrap();
        assert_eq!(found, DeviceSelection { counts: vec![2, 1], cuts: vec![Some(1.0)], ties: vec![3] });

        assert!(check(&vec![0; plan.len()], &vec![0; report.len()]).is_err());
        assert!(check(&vec![0; plan.len()], &report).is_err());
        assert!(check(&plan, &[]).is_err());
        let told = [0, 1, kernels::REPORT_WORDS as usize, kernels::REPORT_WORDS as usize + 1];
        for word in told {
            let mut wrong = report.clone();
            wrong[word] ^= 1;
            let error = check(&plan, &wrong).unwrap_err();
            assert!(error.to_string().contains("--device cpu"), "{error}");
        }
    }

    #[test]
    fn a_checksum_tells_words_that_moved() {
        assert_ne!(checksum(&[1, 2, 3]), checksum(&[1, 3, 2]));
        assert_ne!(checksum(&[0, 0, 7]), checksum(&[0, 0, 0]));
    }
}
