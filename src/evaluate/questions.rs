//! What the networks are asked: a person's images, or noise where there are none, in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::graph::{Graph, Input};
use crate::images::{ChannelOrder, ImageSet, Loader, NoiseKind, Prepared, Preprocess, Resize};
use crate::network::Array;
use crate::random::normal;

/// Images that are made into the network's numbers once and kept, in bytes of those numbers: 1 GiB. What is beyond is decoded
/// again whenever it is asked for.
const KEPT_BYTES: usize = 1 << 30;

/// Pictures of noise, where there are none of a person's: as many as tell one network from another.
const NOISE_PICTURES: usize = 32;

/// Pictures of noise that calibrate.
const CALIBRATING_NOISE: usize = 64;

/// Inputs of white noise, where the model takes no images.
const WHITE_INPUTS: usize = 8;

/// Pixels of all pictures of noise together, at most: making them should not take seconds.
const MAX_NOISE_PIXELS: usize = 1 << 22;

/// Elements of an input made of noise, at most: 1 GiB.
const MAX_NOISE: usize = 1 << 28;

/// Edge of an image where neither model nor configuration tells it: what networks are mostly trained at.
const USUAL_EDGE: usize = 224;

/// Some questions.
#[derive(Debug)]
pub struct Batch {
    /// All inputs by name.
    pub inputs: Vec<(String, Array)>,
    /// Which images of the set.
    pub images: Vec<usize>,
    /// Their classes, where known.
    pub labels: Vec<Option<usize>>,
    /// Rows behind them that only fill up the batch of a model that takes no smaller one; nobody counts what they answer.
    pub filling: usize,
}

/// How many images go through the network at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batching {
    /// At most so many; the last batch may be smaller.
    UpTo(usize),
    /// Exactly so many: a batch that is smaller is filled up.
    Exactly(usize),
}

impl Batching {
    /// That number.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::UpTo(n) | Self::Exactly(n) => n,
        }
    }
}

impl Batch {
    /// Of a value inside the network the rows that are not of filling, where its rows are the batch's.
    pub(crate) fn own_rows(&self, value: Array) -> Array {
        match self.own(&value.shape) {
            Some(rows) => value.rows(0..rows).unwrap_or(value),
            None => value,
        }
    }

    /// How many rows of a value of this shape are not of filling, where others are.
    pub(crate) fn own(&self, shape: &[usize]) -> Option<usize> {
        let all = self.images.len() + self.filling;
        let rows = shape.first().filter(|rows| self.filling > 0 && rows.is_multiple_of(all))?;
        Some(rows / all * self.images.len())
    }

    /// The batch with as many rows as the model wants: its last image again and again.
    fn filled(mut self, batching: Batching, is_open: &[bool]) -> Self {
        let Batching::Exactly(size) = batching else { return self };
        let Some(filling) = size.checked_sub(self.images.len()).filter(|&n| n > 0 && !self.images.is_empty()) else { return self };
        for ((_, array), _) in self.inputs.iter_mut().zip(is_open).filter(|(_, is_open)| **is_open) {
            let count = self.images.len();
            let Some(last) = array.rows(count - 1..count) else { return self };
            let mut parts = vec![&*array];
            parts.extend(std::iter::repeat_n(&last, filling));
            let Some(whole) = Array::stacked(&parts) else { return self };
            *array = whole;
        }
        self.filling = filling;
        self
    }

    /// What a network gave for these inputs, less what it gave for the rows that fill up the batch.
    #[must_use]
    pub fn answers(&self, mut outputs: Vec<(String, Array)>) -> Vec<(String, Array)> {
        if self.filling > 0 {
            let count = self.images.len();
            for (_, array) in &mut outputs {
                if array.shape.first() == Some(&(count + self.filling))
                    && let Some(rows) = array.rows(0..count)
                {
                    *array = rows;
                }
            }
        }
        outputs
    }
}

/// Inputs of a network by name.
pub type Inputs = Vec<(String, Array)>;

/// A picture that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its name in the set.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// What is done with a batch and its number.
pub type Act<'a, E> = dyn FnMut(usize, &Arc<Batch>) -> Result<(), E> + 'a;

/// Why there is nothing to ask.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QuestionsError {
    /// The model takes something else than images.
    #[error(
        "the model cannot be shown images: it wants {wanted}, and images fit one input of 3 or 1 channels, [batch, channels, height, width]"
    )]
    NotForImages {
        /// Its inputs.
        wanted: String,
    },
    /// An input that noise does not fit.
    #[error("the input “{name}” of the model has no number of dimensions: noise cannot be made for it")]
    NoShape {
        /// Its name.
        name: String,
    },
    /// Noise was to calibrate a model that takes no pictures.
    #[error("noise calibrates only a model that takes pictures: one input of 3 or 1 channels, [batch, channels, height, width]")]
    NoPictures,
    /// An input that takes more numbers than a person has in mind.
    #[error("the input “{name}” would take more than {MAX_NOISE} numbers at a batch of {batch}: {shape}")]
    TooLarge {
        /// Its name.
        name: String,
        /// Images.
        batch: usize,
        /// Its dimensions.
        shape: String,
    },
}

/// Everything that is asked, always in the same order: a set of images is gone through with a stride, so that a part of it has
/// all classes that it can.
#[derive(Debug)]
pub struct Questions {
    source: QuestionSource,
    is_noise: bool,
    batching: Batching,
    /// Whether the model says that it takes any batch, for every input.
    is_open: Vec<bool>,
    kept: Vec<Arc<Batch>>,
    is_whole: bool,
    broken: Vec<Broken>,
}

#[derive(Debug)]
enum QuestionSource {
    Images { set: Arc<ImageSet>, preprocess: Preprocess, order: Vec<usize>, input: String },
    WhiteNoise,
}

impl Questions {
    /// The images of `set`, at most `limit` of them, `batch` at a time; where the model's batch is fixed, that many.
    ///
    /// # Errors
    /// [`QuestionsError::NotForImages`]
    pub fn images(
        graph: &Graph,
        set: Arc<ImageSet>,
        preprocess: Preprocess,
        limit: Option<usize>,
        batch: usize,
    ) -> Result<Self, QuestionsError> {
        let wanted = || graph.inputs.iter().map(|i| format!("“{}” {}", i.name, shape_text(&i.shape))).collect::<Vec<_>>().join(", ");
        let [input] = &graph.inputs[..] else { return Err(QuestionsError::NotForImages { wanted: wanted() }) };
        let [_, height, width] = match preprocess.layout {
            ChannelOrder::Nchw => preprocess.shape(),
            ChannelOrder::Nhwc => {
                let [h, w, c] = preprocess.shape();
                [c, h, w]
            }
        };
        let fits = input.shape.is_empty() || (input.shape.len() == 4 && input.dtype.is_float() && height > 0 && width > 0);
        if !fits {
            return Err(QuestionsError::NotForImages { wanted: wanted() });
        }
        let declared = input.shape.first().copied().flatten().filter(|&n| n > 0);
        let batching = declared.map_or(Batching::UpTo(batch.max(1)), Batching::Exactly);
        let mut order = strided(set.images.len());
        order.truncate(limit.unwrap_or(usize::MAX));
        let source = QuestionSource::Images { set, preprocess, order, input: input.name.clone() };
        let is_open = vec![declared.is_none()];
        Ok(Self { source, is_noise: false, batching, is_open, kept: Vec::new(), is_whole: false, broken: Vec::new() })
    }

    /// Noise that tells how far two networks are apart: pictures of leaves, `batch` at a time, at most `limit` of them, and fewer where they
    /// are large; white noise, see [`noise`], where the model takes no pictures.
    ///
    /// # Errors
    /// As [`noise`].
    pub fn noise(graph: &Graph, preprocess: &Preprocess, limit: Option<usize>, batch: usize) -> Result<Self, QuestionsError> {
        if !takes_pictures(graph, preprocess) {
            return Self::white_noise(graph);
        }
        Self::noise_of(NoiseKind::Leaves, graph, preprocess, NOISE_PICTURES.min(limit.unwrap_or(NOISE_PICTURES)), batch)
    }

    /// Noise that calibrates, which is of another kind than what judges.
    ///
    /// # Errors
    /// [`QuestionsError::NoPictures`]
    pub fn calibrating_noise(graph: &Graph, preprocess: &Preprocess, batch: usize) -> Result<Self, QuestionsError> {
        if !takes_pictures(graph, preprocess) {
            return Err(QuestionsError::NoPictures);
        }
        Self::noise_of(NoiseKind::Octaves, graph, preprocess, CALIBRATING_NOISE, batch)
    }

    fn noise_of(kind: NoiseKind, graph: &Graph, preprocess: &Preprocess, images: usize, batch: usize) -> Result<Self, QuestionsError> {
        let [height, width] = preprocess.size;
        let images = images.min(MAX_NOISE_PIXELS / (height * width).max(1)).max(1);
        let set = Arc::new(ImageSet::noise(kind, preprocess.size, images, 0));
        // They have the input's size.
        let preprocess = Preprocess { crop: 1.0, resize: Resize::Squash, ..preprocess.clone() };
        Ok(Self { is_noise: true, ..Self::images(graph, set, preprocess, None, batch)? })
    }

    fn white_noise(graph: &Graph) -> Result<Self, QuestionsError> {
        let inputs = noise(graph, WHITE_INPUTS, None, 0)?;
        let images = inputs.first().map_or(1, |(_, array)| array.shape.first().copied().unwrap_or(1));
        let batch = Batch { inputs, images: (0..images).collect(), labels: vec![None; images], filling: 0 };
        let is_open = graph.inputs.iter().map(|input| input.shape.first() == Some(&None)).collect();
        let kept = vec![Arc::new(batch)];
        let (source, batching) = (QuestionSource::WhiteNoise, Batching::UpTo(images));
        Ok(Self { source, is_noise: true, batching, is_open, kept, is_whole: true, broken: Vec::new() })
    }

    /// Whether they are noise, and no images.
    #[must_use]
    pub fn is_noise(&self) -> bool {
        self.is_noise
    }

    /// How many images go through the network at once.
    #[must_use]
    pub fn batching(&self) -> Batching {
        self.batching
    }

    /// The first two images, each as the inputs of a batch of one; one image makes two, the second turned round. `None` where the
    /// model says how large its batch is, or no image can be used.
    #[must_use]
    pub fn samples(&self) -> Option<[Inputs; 2]> {
        if !self.is_open.iter().any(|&is_open| is_open) {
            return None;
        }
        let mut samples = match &self.source {
            QuestionSource::Images { set, preprocess, order, input } => {
                let stop = StopLoading(Arc::new(AtomicBool::new(false)));
                let loader = Loader::start(set, preprocess, order.clone(), 1, stop.0.clone());
                let usable = loader.filter(|pictures| !pictures.indices.is_empty());
                usable.take(2).map(|pictures| vec![(input.clone(), pictures.array)]).collect::<Vec<_>>()
            }
            QuestionSource::WhiteNoise => {
                let inputs = &self.kept.first()?.inputs;
                (0..2).filter_map(|row| self.part(inputs, row..row + 1)).collect()
            }
        };
        if let [one] = &mut samples[..] {
            let mut other = one.clone();
            for (_, array) in &mut other {
                if let crate::network::ArrayData::F32(data) = &mut array.data {
                    data.reverse();
                }
            }
            samples.push(other);
        }
        samples.try_into().ok()
    }

    /// Rows of every input whose batch is open; the others as they are.
    fn part(&self, inputs: &Inputs, rows: std::ops::Range<usize>) -> Option<Inputs> {
        let part = |((name, array), &is_open): (&(String, Array), &bool)| {
            Some((name.clone(), if is_open { array.rows(rows.clone())? } else { array.clone() }))
        };
        inputs.iter().zip(&self.is_open).map(part).collect()
    }

    /// Several questions as one, inputs whose batch is open after one another; `None` where they do not fit.
    #[must_use]
    pub fn together(&self, questions: &[&Inputs]) -> Option<Inputs> {
        let first = *questions.first()?;
        let mut all = Vec::with_capacity(first.len());
        for (i, ((name, array), &is_open)) in first.iter().zip(&self.is_open).enumerate() {
            let parts = questions.iter().map(|inputs| inputs.get(i).map(|(_, array)| array)).collect::<Option<Vec<_>>>()?;
            all.push((name.clone(), if is_open { Array::stacked(&parts)? } else { array.clone() }));
        }
        Some(all)
    }

    /// The same in batches of no more pixels than this, where the model leaves it open how many images they hold.
    pub(crate) fn of_pixels(mut self, most: usize) -> Self {
        if let (QuestionSource::Images { preprocess, .. }, Batching::UpTo(images)) = (&self.source, self.batching) {
            let [height, width] = preprocess.size;
            let fitting = (most / (height * width).max(1)).clamp(1, images);
            self.set_batching(Batching::UpTo(fitting));
        }
        self
    }

    /// Asks so many at once from now on.
    pub fn set_batching(&mut self, batching: Batching) {
        if self.batching == batching {
            return;
        }
        self.batching = batching;
        match self.source {
            QuestionSource::Images { .. } => {
                self.kept.clear();
                self.broken.clear();
                self.is_whole = false;
            }
            QuestionSource::WhiteNoise => {
                let size = batching.size().max(1);
                let mut kept = Vec::new();
                for batch in &self.kept {
                    for start in (0..batch.images.len()).step_by(size) {
                        let rows = start..(start + size).min(batch.images.len());
                        let Some(inputs) = self.part(&batch.inputs, rows.clone()) else { continue };
                        let (images, labels) = (batch.images[rows.clone()].to_vec(), batch.labels[rows].to_vec());
                        kept.push(Arc::new(Batch { inputs, images, labels, filling: 0 }.filled(batching, &self.is_open)));
                    }
                }
                self.kept = kept;
            }
        }
    }

    /// Images in all, broken ones included.
    #[must_use]
    pub fn num_images(&self) -> usize {
        match &self.source {
            QuestionSource::Images { order, .. } => order.len(),
            QuestionSource::WhiteNoise => self.kept.iter().map(|b| b.images.len()).sum(),
        }
    }

    /// Pictures that could not be used, as far as was looked.
    #[must_use]
    pub fn broken(&self) -> &[Broken] {
        &self.broken
    }

    /// Hands all batches to `act` with their numbers, in order, until it returns an error. Those that do not fit in memory are
    /// decoded beside it. Ends early, without an error, when `is_over` says so of the number of images that were handed out.
    ///
    /// # Errors
    /// The first of `act`.
    pub fn each<E>(&mut self, is_over: &dyn Fn(usize) -> bool, act: &mut Act<E>) -> Result<(), E> {
        let mut handed = 0;
        for (i, batch) in self.kept.iter().enumerate() {
            if is_over(handed) {
                return Ok(());
            }
            act(i, batch)?;
            handed += batch.images.len();
        }
        if self.is_whole || is_over(handed) {
            return Ok(());
        }
        let QuestionSource::Images { set, preprocess, order, input } = &self.source else { return Ok(()) };
        let batching = self.batching;
        let seen: usize = self.kept.iter().map(|b| b.images.len()).sum::<usize>() + self.broken.len();
        let stop = StopLoading(Arc::new(AtomicBool::new(false)));
        let is_first = !self.kept.iter().any(|b| b.images.len() < batching.size()) && self.kept_bytes() < KEPT_BYTES;
        let rest = order.get(seen.min(order.len())..).unwrap_or_default().to_vec();
        let loader = Loader::start(set, preprocess, rest, batching.size(), stop.0.clone());
        let mut kept_bytes = self.kept_bytes();
        let mut next = self.kept.len();
        let mut keeps = is_first;
        let mut went_through = true;
        let mut broken = Vec::new();
        for pictures in loader {
            if is_over(handed) {
                went_through = false;
                break;
            }
            let Prepared { array, indices, broken: failed } = pictures;
            broken.extend(failed.into_iter().map(|b| Broken { name: b.name, reason: b.error.to_string() }));
            if keeps {
                self.broken.append(&mut broken);
            }
            if indices.is_empty() {
                continue;
            }
            let bytes = array.shape.iter().product::<usize>() * size_of::<f32>();
            let labels = indices.iter().map(|&i| set.images[i].class).collect();
            let batch = Batch { inputs: vec![(input.clone(), array)], images: indices, labels, filling: 0 };
            let batch = Arc::new(batch.filled(batching, &[true]));
            keeps = keeps && kept_bytes + bytes <= KEPT_BYTES;
            if keeps {
                kept_bytes += bytes;
                self.kept.push(batch.clone());
            }
            act(next, &batch)?;
            handed += batch.images.len();
            next += 1;
        }
        self.is_whole = keeps && went_through;
        Ok(())
    }

    fn kept_bytes(&self) -> usize {
        self.kept.iter().flat_map(|b| &b.inputs).map(|(_, a)| a.shape.iter().product::<usize>() * size_of::<f32>()).sum()
    }
}

/// Whether the model's input is one of pictures that are preprocessed so.
fn takes_pictures(graph: &Graph, preprocess: &Preprocess) -> bool {
    let [input] = &graph.inputs[..] else { return false };
    let is_of = |(declared, wanted): (&Option<usize>, usize)| declared.is_none_or(|size| size == wanted);
    let fits = |[_, image @ ..]: &[Option<usize>; 4]| image.iter().zip(preprocess.shape()).all(is_of);
    input.dtype.is_float() && preprocess.check().is_ok() && input.shape.first_chunk().is_some_and(fits) && input.shape.len() == 4
}

/// Ends the loader's threads whichever way its reader leaves.
struct StopLoading(Arc<AtomicBool>);

impl Drop for StopLoading {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// All numbers below `count`, far ones after one another: steps of about the golden section of the whole.
fn strided(count: usize) -> Vec<usize> {
    let mut step = (count as f64 * 0.618_034) as usize;
    while step > 1 && gcd(step, count) != 1 {
        step -= 1;
    }
    (0..count).map(|i| (i as u128 * step.max(1) as u128 % count.max(1) as u128) as usize).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Seeded noise, standard normal, for every float input of `graph`; integers are 0. An open batch takes `batch` images; open
/// dimensions of an image are those of `image`, in the input's order without the batch, or 224.
///
/// # Errors
/// [`QuestionsError::NoShape`], [`QuestionsError::TooLarge`]
pub fn noise(graph: &Graph, batch: usize, image: Option<[usize; 3]>, seed: u64) -> Result<Vec<(String, Array)>, QuestionsError> {
    let mut random = seed;
    graph.inputs.iter().map(|input| noise_for(input, batch, image, &mut random)).collect()
}

fn noise_for(input: &Input, batch: usize, image: Option<[usize; 3]>, random: &mut u64) -> Result<(String, Array), QuestionsError> {
    if input.shape.is_empty() && !input.dtype.is_float() {
        return Err(QuestionsError::NoShape { name: input.name.clone() });
    }
    let image = image.filter(|_| input.shape.len() == 4);
    let open = |i: usize| if i == 0 { batch } else { image.map_or(USUAL_EDGE, |image| image[i - 1]) };
    let shape: Vec<usize> = input.shape.iter().enumerate().map(|(i, d)| d.unwrap_or_else(|| open(i))).collect();
    let elements = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= MAX_NOISE);
    let Some(elements) = elements else {
        return Err(QuestionsError::TooLarge { name: input.name.clone(), batch, shape: shape_text(&input.shape) });
    };
    let array = if input.dtype.is_float() {
        Array { shape, dtype: input.dtype, data: crate::network::ArrayData::F32((0..elements).map(|_| normal(random)).collect()) }
    } else if input.dtype == crate::onnx::Dtype::Bool {
        Array::bool(shape, vec![true; elements])
    } else {
        Array::i64(shape, vec![0; elements])
    };
    Ok((input.name.clone(), array))
}

fn shape_text(shape: &[Option<usize>]) -> String {
    let dims: Vec<String> = shape.iter().map(|d| d.map_or("any".to_owned(), |d| d.to_string())).collect();
    format!("[{}]", dims.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ValueId;

    #[test]
    fn a_stride_reaches_every_image_once_and_soon_every_class() {
        for count in [0, 1, 2, 3, 10, 360, 1000] {
            let mut order = strided(count);
            if count == 360 {
                let classes: std::collections::HashSet<usize> = order[..60].iter().map(|i| i / 36).collect();
                assert_eq!(classes.len(), 10);
            }
            order.sort_unstable();
            assert_eq!(order, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn noise_is_pictures_where_the_model_takes_them() {
        let graph = |shape: &[Option<usize>]| {
            let input = Input { name: "x".into(), value: ValueId(0), dtype: crate::onnx::Dtype::F32, shape: shape.to_vec() };
            Graph { inputs: vec![input], ..Graph::default() }
        };
        let preprocess = Preprocess { size: [20, 30], ..Preprocess::default() };
        for shape in [[None; 4], [Some(1), Some(3), Some(20), Some(30)], [None, None, Some(20), None]] {
            let graph = graph(&shape);
            let (judging, calibrating) =
                (Questions::noise(&graph, &preprocess, None, 7), Questions::calibrating_noise(&graph, &preprocess, 7));
            let (judging, calibrating) = (judging.unwrap(), calibrating.unwrap());
            assert_eq!((judging.num_images(), calibrating.num_images()), (NOISE_PICTURES, CALIBRATING_NOISE), "{shape:?}");
            assert!(judging.is_noise() && calibrating.is_noise());
        }
        for shape in [&[None, Some(3)][..], &[None, Some(4), Some(20), Some(30)], &[None, Some(3), Some(20), Some(31)]] {
            let graph = graph(shape);
            let noise = Questions::noise(&graph, &preprocess, None, 7).unwrap();
            assert!(noise.is_noise() && noise.num_images() == WHITE_INPUTS, "{shape:?}");
            assert!(matches!(Questions::calibrating_noise(&graph, &preprocess, 7), Err(QuestionsError::NoPictures)), "{shape:?}");
        }
        // Large pictures are fewer.
        let preprocess = Preprocess { size: [2048, 1024], ..preprocess };
        assert_eq!(Questions::noise(&graph(&[None; 4]), &preprocess, None, 7).unwrap().num_images(), 2);
    }
}
