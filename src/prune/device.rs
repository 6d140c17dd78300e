//! Magnitude selection on the GPU: the host side, which lays out the buffers, launches the kernels, and believes no result that it has
//! not checked.
//!
//! The number of launches does not depend on the number of parameters: 12 for a selection, whatever the model.
//! The choice is bit for bit that of the host: see [`DeviceWeights::select`].

mod adapter;
mod checks;
mod error;

use std::fmt;

use burn::cubecl::CubeDim;
use burn::tensor::{Device, Tensor};

use self::adapter::{Adapter, Words, groups};
use self::checks::checksum;
pub use self::error::DeviceError;
use super::kernels;

/// Tiles that one workgroup can scan with loops of at most 65,535 rounds.
const MAX_TILES: usize = 65_535 * kernels::UNITS as usize;
/// Elements, with the gaps between parameters, whose positions stay well inside 32 bits.
const MAX_ELEMENTS: usize = 1 << 31;

/// Which elements compete with which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Layer-wise: one cut per parameter. There are as many rows as parameters.
    Each,
    /// Global: one cut over all parameters in scope. There is one row.
    Together,
}

/// What a selection did.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceSelection {
    /// Elements masked now, per parameter, those out of scope included.
    pub counts: Vec<u64>,
    /// Per row, the largest magnitude that was masked by this selection (NaN stands for every NaN); `None` where none was wanted.
    pub cuts: Vec<Option<f32>>,
    /// Per row, the elements of its scope, masked ones included, whose magnitude equals the cut.
    pub ties: Vec<u64>,
}

/// Masks on the device, to come back to. Cheap: the masks are shared and never overwritten.
#[derive(Clone, Debug)]
pub struct DeviceMasks {
    mask: Words,
    counts: Vec<u64>,
}

impl DeviceMasks {
    /// Elements masked, per parameter.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }
}

/// A score for every element on the device, see [`DeviceWeights::upload_scores`]. Cheap to clone: the scores are shared.
#[derive(Clone)]
pub struct DeviceScores {
    words: Words,
}

impl fmt::Debug for DeviceScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceScores").field("words", &self.words.len()).finish()
    }
}

#[derive(Clone, Copy, Debug)]
struct DeviceParameter {
    /// First element in the buffers, a multiple of [`kernels::ALIGN`].
    start: usize,
    len: usize,
    /// First tile; that of the next parameter when it has none.
    tile: u32,
}

/// Weights of a model's prunable parameters on the device, in one buffer, and their masks.
///
/// Device memory: 4 bytes per element and 1/8 byte per mask, and another 4 bytes per element each once the pruned weights were asked
/// for and once something was fixed.
pub struct DeviceWeights {
    adapter: Adapter,
    parameters: Vec<DeviceParameter>,
    num_tiles: u32,
    tiles: Vec<u32>,
    weights: Words,
    /// The weights as they were copied, before anything was fixed in them.
    opened: Words,
    /// A mask with no bit set.
    clear_mask: Words,
    mask: Words,
    counts: Vec<u64>,
    /// Weights × mask, from when they were asked for until the mask changes.
    pruned: Option<Words>,
}

impl fmt::Debug for DeviceWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elements: usize = self.parameters.iter().map(|parameter| parameter.len).sum();
        f.debug_struct("DeviceWeights")
            .field("adapter", &self.adapter.name)
            .field("parameters", &self.parameters.len())
            .field("elements", &elements)
            .field("masked", &self.counts.iter().sum::<u64>())
            .finish_non_exhaustive()
    }
}

impl DeviceWeights {
    /// Copies `parameters`, each a flat slice in element order, to `device`, and checks that they arrived.
    ///
    /// # Errors
    ///
    /// [`DeviceError::NotGpu`] for a device that is not wgpu's, [`DeviceError::TooLarge`] when the weights exceed a buffer of the adapter or
    /// 2^31 elements, and the errors of a device that fails.
    pub fn upload<'a>(parameters: impl IntoIterator<Item = &'a [f32]>, device: &Device) -> Result<Self, DeviceError> {
        let adapter = Adapter::new(device)?;
        let limit = adapter.max_buffer_bytes();
        let too_large =
            |what, needed: usize, limit| DeviceError::TooLarge { adapter: adapter.name.clone(), what, needed: needed as u64, limit };
        let align = kernels::ALIGN as usize;

        let parameters: Vec<&[f32]> = parameters.into_iter().collect();
        let mut layout = Vec::with_capacity(parameters.len());
        let mut tiles = Vec::new();
        let mut words = 0;
        for (index, values) in parameters.iter().enumerate() {
            layout.push(DeviceParameter { start: words, len: values.len(), tile: tiles.len() as u32 / kernels::TILE_WORDS });
            let end = words + values.len();
            if end.next_multiple_of(align) > MAX_ELEMENTS {
                return Err(too_large("elements", end, MAX_ELEMENTS as u64));
            }
            let firsts = (words..end).step_by(kernels::TILE as usize);
            tiles.extend(firsts.flat_map(|first| [first as u32, end.min(first + kernels::TILE as usize) as u32, index as u32, 0]));
            words = end.next_multiple_of(align);
        }
        // No buffer is empty.
        let words = words.max(align);
        let num_tiles = tiles.len() / kernels::TILE_WORDS as usize;
        if num_tiles > MAX_TILES {
            return Err(too_large("tiles of weights", num_tiles, MAX_TILES as u64));
        }
        let largest = (4 * words).max(4 * tiles.len()).max(4 * kernels::UNITS as usize * layout.len());
        if largest as u64 > limit {
            return Err(too_large("bytes in one buffer", largest, limit));
        }

        let mut bits = Vec::with_capacity(words);
        for values in &parameters {
            bits.extend(values.iter().map(|value| value.to_bits()));
            bits.resize(bits.len().next_multiple_of(align), 0);
        }
        bits.resize(words, 0);
        let expected = checksum(&bits);
        let step = "copying the weights to it";
        let (weights, clear_mask) = adapter.attempt(step, || Ok((adapter.create(bits), adapter.create(vec![0; words.div_ceil(32)]))))?;
        let uploaded = Self {
            counts: vec![0; layout.len()],
            parameters: layout,
            num_tiles: num_tiles as u32,
            tiles,
            opened: weights.clone(),
            weights,
            mask: clear_mask.clone(),
            clear_mask,
            pruned: None,
            adapter,
        };
        uploaded.check_upload(step, &uploaded.weights, expected)?;
        Ok(uploaded)
    }

    /// Number of parameters.
    #[must_use]
    pub fn num_parameters(&self) -> usize {
        self.parameters.len()
    }

    /// Elements masked now, per parameter.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Adds `wanted[row]` elements to the mask of each row: those of smallest magnitude among the elements of `scope` that are not masked
    /// yet, and among equal magnitudes those that come first in (parameter, element) order. As in `PyTorch`'s `PruningContainer`, what an
    /// earlier selection masked stays masked.
    ///
    /// The magnitude is compared by bits: subnormal numbers count, the sign does not, and all NaNs are equal and larger than infinity.
    /// `scope` has an entry per parameter, `wanted` one per row; a parameter out of scope is a row without elements.
    ///
    /// # Errors
    ///
    /// [`DeviceError::TooMany`], [`DeviceError::Length`], and the errors of a device that fails. The masks are then what they were before.
    pub fn select(&mut self, scope: &[bool], rows: Rows, wanted: &[u64]) -> Result<DeviceSelection, DeviceError> {
        let weights = self.weights.clone();
        self.select_of(&weights, scope, rows, wanted)
    }

    /// Forgets the masks.
    pub fn reset(&mut self) {
        self.mask = self.clear_mask.clone();
        self.counts = vec![0; self.parameters.len()];
        self.pruned = None;
    }

    /// The present masks, for [`DeviceWeights::restore`].
    #[must_use]
    pub fn masks(&self) -> DeviceMasks {
        DeviceMasks { mask: self.mask.clone(), counts: self.counts.clone() }
    }

    /// Goes back to masks that these weights had before. Nothing is launched.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Length`] for masks of another model.
    pub fn restore(&mut self, masks: &DeviceMasks) -> Result<(), DeviceError> {
        let (expected, found) = (self.parameters.len(), masks.counts.len());
        if (expected, self.mask.len()) != (found, masks.mask.len()) {
            return Err(DeviceError::Length { what: "the list of kept masks", expected, found });
        }
        self.mask = masks.mask.clone();
        self.counts.clone_from(&masks.counts);
        self.pruned = None;
        Ok(())
    }

    /// As [`DeviceWeights::select`], with these scores instead of the weights' magnitudes.
    ///
    /// # Errors
    ///
    /// As [`DeviceWeights::select`].
    pub fn select_by(&mut self, scores: &DeviceScores, scope: &[bool], rows: Rows, wanted: &[u64]) -> Result<DeviceSelection, DeviceError> {
        let (expected, found) = (self.weights.len(), scores.words.len());
        if expected != found {
            return Err(DeviceError::Length { what: "the list of scores", expected, found });
        }
        self.select_of(&scores.words, scope, rows, wanted)
    }

    fn select_of(&mut self, ranked: &Words, scope: &[bool], rows: Rows, wanted: &[u64]) -> Result<DeviceSelection, DeviceError> {
        let available = self.available(scope, rows)?;
        if wanted.len() != available.len() {
            return Err(DeviceError::Length { what: "the list of wanted elements", expected: available.len(), found: wanted.len() });
        }
        let beyond = wanted.iter().zip(&available).position(|(wanted, available)| wanted > available);
        if let Some(row) = beyond {
            return Err(DeviceError::TooMany { row, wanted: wanted[row], available: available[row] });
        }
        if wanted.iter().all(|&wanted| wanted == 0) {
            let none = vec![0; wanted.len()];
            return Ok(DeviceSelection { counts: self.counts.clone(), cuts: vec![None; wanted.len()], ties: none });
        }
        let (mask, plan, report) = self.adapter.attempt("selecting", || self.launch_select(ranked, scope, rows, wanted))?;
        let selection = self.check_selection(scope, rows, wanted, &available, &plan, &report)?;
        self.mask = mask;
        self.pruned = None;
        self.counts.clone_from(&selection.counts);
        Ok(selection)
    }

    /// Copies a score for every element to the device, laid out as the parameters were when they were copied.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Length`] when there are not as many as there are elements, and the errors of a device that fails.
    pub fn upload_scores<'a>(&self, scores: impl IntoIterator<Item = &'a [f32]>) -> Result<DeviceScores, DeviceError> {
        let scores: Vec<&[f32]> = scores.into_iter().collect();
        if scores.len() != self.parameters.len() {
            return Err(DeviceError::Length { what: "the list of scores", expected: self.parameters.len(), found: scores.len() });
        }
        let mut bits = vec![0; self.weights.len()];
        for (parameter, scores) in self.parameters.iter().zip(scores) {
            if scores.len() != parameter.len {
                return Err(DeviceError::Length { what: "the scores of a parameter", expected: parameter.len, found: scores.len() });
            }
            for (to, score) in bits[parameter.start..].iter_mut().zip(scores) {
                *to = score.to_bits();
            }
        }
        let expected = checksum(&bits);
        let step = "copying scores to it";
        let words = self.adapter.attempt(step, || Ok(self.adapter.create(bits)))?;
        self.check_upload(step, &words, expected)?;
        Ok(DeviceScores { words })
    }

    /// Replaces the masks by masks of the host, laid out as [`DeviceWeights::mask`] gives them.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Length`] when there are not as many masks as parameters, or one has not as many words as its parameter has started
    /// groups of 64 elements, or a bit beyond the last element; and the errors of a device that fails. The masks are then what they were.
    pub fn set_masks(&mut self, masks: &[impl AsRef<[u64]>]) -> Result<(), DeviceError> {
        if masks.len() != self.parameters.len() {
            return Err(DeviceError::Length { what: "the list of masks", expected: self.parameters.len(), found: masks.len() });
        }
        let mut words = vec![0u32; self.mask.len()];
        let mut counts = Vec::with_capacity(masks.len());
        for (parameter, mask) in self.parameters.iter().zip(masks) {
            let mask = mask.as_ref();
            if mask.len() != parameter.len.div_ceil(64) {
                return Err(DeviceError::Length { what: "a mask", expected: parameter.len.div_ceil(64), found: mask.len() });
            }
            let highest = mask.last().map_or(0, |word| 64 * mask.len() - word.leading_zeros() as usize);
            if highest > parameter.len {
                return Err(DeviceError::Length { what: "a mask's set of bits", expected: parameter.len, found: highest });
            }
            counts.push(mask.iter().map(|word| u64::from(word.count_ones())).sum());
            for (pair, &word) in words[parameter.start / 32..].chunks_exact_mut(2).zip(mask) {
                pair[0] = word as u32;
                pair[1] = (word >> 32) as u32;
            }
        }
        let mask = self.adapter.attempt("copying masks to it", || Ok(self.adapter.create(words)))?;
        let pruned = self.launch_prune(&mask, counts.iter().sum())?;
        (self.mask, self.counts, self.pruned) = (mask, counts, Some(pruned));
        Ok(())
    }

    /// Replaces the weights by weights × mask, masked ones being +0.0 whatever they were, and forgets the masks.
    ///
    /// Masks that were kept with [`DeviceWeights::masks`] remain usable.
    ///
    /// # Errors
    ///
    /// Those of a device that fails; weights and masks are then what they were.
    pub fn fix(&mut self) -> Result<(), DeviceError> {
        self.weights = self.pruned_words()?;
        self.reset();
        Ok(())
    }

    /// Goes back to the weights as they were copied, and forgets the masks. Nothing is launched.
    pub fn unfix(&mut self) {
        self.weights = self.opened.clone();
        self.reset();
    }

    /// Reads a parameter's mask back: bit `i % 64` of word `i / 64` is set where element `i` is pruned; bits beyond the last element are 0.
    ///
    /// # Errors
    ///
    /// [`DeviceError::NoSuchParameter`], and the errors of a device that fails.
    pub fn mask(&self, parameter: usize) -> Result<Vec<u64>, DeviceError> {
        let at = self.parameter(parameter)?;
        let words = at.len.div_ceil(64);
        let mask = pair_words(&self.adapter.read(&self.mask, at.start / 32, 2 * words)?);
        self.check_mask(&mask, parameter)?;
        Ok(mask)
    }

    /// Reads all masks back at once, each as [`DeviceWeights::mask`] gives it.
    ///
    /// # Errors
    ///
    /// Those of a device that fails.
    pub fn all_masks(&self) -> Result<Vec<Vec<u64>>, DeviceError> {
        let all = self.adapter.read(&self.mask, 0, self.mask.len())?;
        let of = |at: &DeviceParameter| pair_words(&all[at.start / 32..][..2 * at.len.div_ceil(64)]);
        let masks: Vec<_> = self.parameters.iter().map(of).collect();
        masks.iter().enumerate().try_for_each(|(parameter, mask)| self.check_mask(mask, parameter))?;
        Ok(masks)
    }

    /// Reads a parameter's weights × mask back: masked elements are +0.0, the others have the bits that were uploaded.
    ///
    /// # Errors
    ///
    /// [`DeviceError::NoSuchParameter`], and the errors of a device that fails.
    pub fn pruned(&mut self, parameter: usize) -> Result<Vec<f32>, DeviceError> {
        let at = self.parameter(parameter)?;
        let pruned = self.pruned_words()?;
        let bits = self.adapter.read(&pruned, at.start, at.len)?;
        Ok(bits.into_iter().map(f32::from_bits).collect())
    }

    /// A parameter's weights × mask as a flat tensor on the device. It is a view, and later changes of mask or weights leave it as it is.
    ///
    /// # Errors
    ///
    /// [`DeviceError::NoSuchParameter`], and the errors of a device that fails.
    pub fn pruned_tensor(&mut self, parameter: usize) -> Result<Tensor<1>, DeviceError> {
        let at = self.parameter(parameter)?;
        let pruned = self.pruned_words()?;
        self.adapter.float_tensor(&pruned, at.start, at.len)
    }

    /// A parameter's weights as they were copied, as a flat tensor on the device that shares their memory.
    ///
    /// # Errors
    ///
    /// [`DeviceError::NoSuchParameter`], and the errors of a device that fails.
    pub fn opened_tensor(&self, parameter: usize) -> Result<Tensor<1>, DeviceError> {
        let at = self.parameter(parameter)?;
        self.adapter.float_tensor(&self.opened, at.start, at.len)
    }

    fn parameter(&self, parameter: usize) -> Result<DeviceParameter, DeviceError> {
        let parameters = self.parameters.len();
        self.parameters.get(parameter).copied().ok_or(DeviceError::NoSuchParameter { parameter, parameters })
    }

    /// Elements of each row that are not masked yet.
    fn available(&self, scope: &[bool], rows: Rows) -> Result<Vec<u64>, DeviceError> {
        if scope.len() != self.parameters.len() {
            return Err(DeviceError::Length { what: "the scope", expected: self.parameters.len(), found: scope.len() });
        }
        let left =
            |((parameter, masked), &inside): ((&DeviceParameter, &u64), &bool)| if inside { parameter.len as u64 - masked } else { 0 };
        let each = self.parameters.iter().zip(&self.counts).zip(scope).map(left);
        Ok(match rows {
            Rows::Each => each.collect(),
            Rows::Together => vec![each.sum()],
        })
    }

    /// The selection's launches, by the magnitudes of `ranked`; returns the new mask, the plan's rows and the report.
    fn launch_select(
        &self,
        ranked: &Words,
        scope: &[bool],
        rows: Rows,
        wanted: &[u64],
    ) -> Result<(Words, Vec<u32>, Vec<u32>), DeviceError> {
        let num_rows = wanted.len() as u32;
        let row_table = num_rows * kernels::ROW_WORDS;
        let mut plan = vec![0u32; row_table as usize];
        for (row, &wanted) in wanted.iter().enumerate() {
            let record = &mut plan[row * kernels::ROW_WORDS as usize..];
            record[0] = if rows == Rows::Each { self.parameters[row].tile } else { 0 };
            record[kernels::ROW_PAIRS as usize + 1] = wanted as u32;
        }
        plan.extend(scope.iter().zip(0u32..).map(|(&inside, parameter)| match (inside, rows) {
            (false, _) => kernels::OUT_OF_SCOPE,
            (true, Rows::Each) => parameter,
            (true, Rows::Together) => 0,
        }));
        let row_ties = kernels::REPORT_WORDS + self.parameters.len() as u32;

        let adapter = &self.adapter;
        let client = &adapter.client;
        let unit = CubeDim::new_1d(kernels::UNITS);
        let plan = adapter.create(plan);
        let tiles = adapter.create(self.tiles.clone());
        let report = adapter.create(vec![0; (row_ties + num_rows) as usize]);
        let digits = adapter.empty((num_rows * kernels::UNITS) as usize);
        let mask = adapter.empty(self.mask.len());
        let weights_arg = || adapter.arg(ranked);
        let mask_arg = || adapter.arg(&self.mask);
        let tiles_arg = || adapter.arg(&tiles);
        let plan_arg = || adapter.arg(&plan);
        let digits_arg = || adapter.arg(&digits);
        let report_arg = || adapter.arg(&report);
        let tile_groups = || groups(self.num_tiles);

        kernels::clear::launch(client, groups(num_rows), unit, digits_arg(), num_rows * kernels::UNITS);
        for (pass, &(shift, width)) in (0u32..).zip(&kernels::PASSES) {
            kernels::histogram::launch(
                client,
                tile_groups(),
                unit,
                weights_arg(),
                mask_arg(),
                tiles_arg(),
                plan_arg(),
                digits_arg(),
                self.num_tiles,
                row_table,
                pass,
                shift,
                width,
            );
            kernels::narrow::launch(client, groups(num_rows), unit, digits_arg(), plan_arg(), num_rows, pass, shift);
        }
        kernels::count_ties::launch(
            client,
            tile_groups(),
            unit,
            weights_arg(),
            mask_arg(),
            tiles_arg(),
            plan_arg(),
            report_arg(),
            self.num_tiles,
            row_table,
            row_ties,
        );
        kernels::scan_ties::launch(client, groups(1), unit, tiles_arg(), self.num_tiles);
        kernels::apply::launch(
            client,
            tile_groups(),
            unit,
            weights_arg(),
            mask_arg(),
            tiles_arg(),
            plan_arg(),
            adapter.arg(&mask),
            report_arg(),
            self.num_tiles,
            row_table,
        );
        let (plan, report) = adapter.read_both(&plan, &report)?;
        Ok((mask, plan, report))
    }

    /// Weights × mask for the present mask, from before or made now.
    fn pruned_words(&mut self) -> Result<Words, DeviceError> {
        if let Some(pruned) = &self.pruned {
            return Ok(pruned.clone());
        }
        let pruned = self.launch_prune(&self.mask, self.counts.iter().sum())?;
        self.pruned = Some(pruned.clone());
        Ok(pruned)
    }

    fn launch_prune(&self, mask: &Words, masked: u64) -> Result<Words, DeviceError> {
        let step = "applying the masks";
        let (pruned, report) = self.adapter.attempt(step, || {
            let pruned = self.adapter.empty(self.weights.len());
            let report = self.adapter.create(vec![0; kernels::REPORT_WORDS as usize]);
            let words = self.weights.len() as u32;
            kernels::prune::launch(
                &self.adapter.client,
                groups(words.div_ceil(kernels::TILE)),
                CubeDim::new_1d(kernels::UNITS),
                self.adapter.arg(&self.weights),
                self.adapter.arg(mask),
                self.adapter.arg(&pruned),
                self.adapter.arg(&report),
                words,
            );
            let report = self.adapter.read(&report, 0, report.len())?;
            Ok((pruned, report))
        })?;
        self.adapter.agree(step, "the number of words", self.weights.len() as u64, report[1].into())?;
        self.adapter.agree(step, "the number of elements masked", masked, report[2].into())?;
        Ok(pruned)
    }
}

fn pair_words(words: &[u32]) -> Vec<u64> {
    words.chunks_exact(2).map(|pair| u64::from(pair[0]) | u64::from(pair[1]) << 32).collect()
}
