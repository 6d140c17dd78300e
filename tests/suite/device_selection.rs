//! The selection on the GPU, compared bit for bit with a sort on the host.
//!
//! These tests need a wgpu adapter, a software one will do. Without one they fail where `CI` is set, and are skipped elsewhere.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::process::Command;
use std::time::{Duration, Instant};

use burn::tensor::{Tensor, TensorData};
use secateur::device::{AdapterError, ComputeDevice, DeviceChoice};
use secateur::prune::device::{DeviceError, DeviceSelection, DeviceWeights, Rows};

use crate::adapter::adapter;

/// The generator `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

/// How a parameter's values are drawn.
#[derive(Clone, Copy, Debug)]
enum Values {
    /// Like trained weights: a bell around zero.
    Bell,
    /// Any bit pattern at all.
    Bits,
    /// Few magnitudes, so that nearly everything ties.
    Coarse,
    /// One magnitude.
    Equal,
    /// NaN of many payloads, infinities, both zeros, subnormals, extremes.
    Special,
}

const SPECIAL: [u32; 20] = [
    0x7fc0_0000,
    0xffc0_0000,
    0x7f80_0001,
    0xff80_0001,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fa5_5a5a,
    0x7f80_0000,
    0xff80_0000,
    0,
    0x8000_0000,
    1,
    0x8000_0001,
    2,
    0x007f_ffff,
    0x807f_ffff,
    0x0080_0000,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x3f80_0000,
];

fn draw(random: &mut Random, values: Values, len: usize) -> Vec<f32> {
    (0..len)
        .map(|_| {
            let bits = random.next();
            match values {
                Values::Bell => ((0..4).map(|part| ((bits >> (16 * part)) & 0xffff) as f32).sum::<f32>() - 131_070.0) / 600_000.0,
                Values::Bits => f32::from_bits(bits as u32),
                Values::Coarse => ((bits % 9) as f32 - 4.0) * 0.25,
                Values::Equal => {
                    if bits & 1 == 0 {
                        0.5
                    } else {
                        -0.5
                    }
                }
                Values::Special => f32::from_bits(SPECIAL[(bits % SPECIAL.len() as u64) as usize]),
            }
        })
        .collect()
}

fn key(value: f32) -> u32 {
    if value.is_nan() { 0x7f80_0001 } else { value.to_bits() & 0x7fff_ffff }
}

/// What the device must do, done by sorting.
#[derive(Clone)]
struct Host {
    weights: Vec<Vec<f32>>,
    masks: Vec<Vec<bool>>,
}

impl Host {
    fn new(weights: Vec<Vec<f32>>) -> Self {
        let masks = weights.iter().map(|values| vec![false; values.len()]).collect();
        Self { weights, masks }
    }

    fn row_of(&self, scope: &[bool], rows: Rows) -> Vec<Vec<usize>> {
        let each = (0..self.weights.len()).map(|parameter| if scope[parameter] { vec![parameter] } else { Vec::new() });
        match rows {
            Rows::Each => each.collect(),
            Rows::Together => vec![each.flatten().collect()],
        }
    }

    fn available(&self, scope: &[bool], rows: Rows) -> Vec<u64> {
        let left = |parameter: &usize| self.masks[*parameter].iter().filter(|&&masked| !masked).count() as u64;
        self.row_of(scope, rows).iter().map(|row| row.iter().map(left).sum()).collect()
    }

    fn select(&mut self, scope: &[bool], rows: Rows, wanted: &[u64]) -> DeviceSelection {
        let mut cuts = Vec::new();
        let mut ties = Vec::new();
        for (row, &wanted) in self.row_of(scope, rows).iter().zip(wanted) {
            let mut order: Vec<(u32, usize, usize)> = Vec::new();
            for &parameter in row {
                let free = (0..self.weights[parameter].len()).filter(|&element| !self.masks[parameter][element]);
                order.extend(free.map(|element| (key(self.weights[parameter][element]), parameter, element)));
            }
            order.sort_unstable();
            order.truncate(wanted as usize);
            let cut = order.last().map(|&(cut, _, _)| cut);
            cuts.push(cut.map(f32::from_bits));
            let equal = |parameter: &usize| self.weights[*parameter].iter().filter(|&&value| Some(key(value)) == cut).count() as u64;
            ties.push(row.iter().map(equal).sum());
            for (_, parameter, element) in order {
                self.masks[parameter][element] = true;
            }
        }
        DeviceSelection { counts: self.counts(), cuts, ties }
    }

    fn counts(&self) -> Vec<u64> {
        self.masks.iter().map(|mask| mask.iter().filter(|&&masked| masked).count() as u64).collect()
    }

    fn pruned(&self) -> Vec<Vec<f32>> {
        let of =
            |(values, mask): (&Vec<f32>, &Vec<bool>)| values.iter().zip(mask).map(|(&v, &masked)| if masked { 0.0 } else { v }).collect();
        self.weights.iter().zip(&self.masks).map(of).collect()
    }

    fn fix(&mut self) {
        *self = Self::new(self.pruned());
    }

    fn words(&self) -> Vec<Vec<u64>> {
        let word = |bits: &[bool]| bits.iter().enumerate().fold(0, |word, (bit, &masked)| word | u64::from(masked) << bit);
        self.masks.iter().map(|mask| mask.chunks(64).map(word).collect()).collect()
    }
}

fn upload(host: &Host, device: &ComputeDevice) -> DeviceWeights {
    DeviceWeights::upload(host.weights.iter().map(Vec::as_slice), &device.device).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Cuts compared by bits, so that NaN equals NaN.
fn assert_same(found: &DeviceSelection, expected: &DeviceSelection, at: &str) {
    let cut_bits = |selection: &DeviceSelection| selection.cuts.iter().map(|cut| cut.map(f32::to_bits)).collect::<Vec<_>>();
    assert_eq!(found.counts, expected.counts, "counts, {at}");
    assert_eq!(cut_bits(found), cut_bits(expected), "cuts, {at}");
    assert_eq!(found.ties, expected.ties, "ties, {at}");
}

/// Masks always, weights of the first and of some other parameter.
fn assert_state(device: &mut DeviceWeights, host: &Host, random: &mut Random, at: &str) {
    assert_eq!(device.all_masks().unwrap(), host.words(), "masks, {at}");
    let pruned = host.pruned();
    if pruned.is_empty() {
        return;
    }
    for parameter in [0, random.below(pruned.len() as u64) as usize] {
        assert_eq!(device.mask(parameter).unwrap(), host.words()[parameter], "mask {parameter}, {at}");
        assert_eq!(bits(&device.pruned(parameter).unwrap()), bits(&pruned[parameter]), "weights {parameter}, {at}");
    }
}

/// Leaves `words` words of all ones in memory that the device's pool hands out next.
fn leave_noise(device: &ComputeDevice, words: usize) {
    let noise = Tensor::<1>::from_data(TensorData::new(vec![f32::from_bits(u32::MAX); words], [words]), &device.device);
    device.device.sync().unwrap();
    drop(noise);
}

/// A random history of selections, resets and fixes on both sides.
fn run_history(device: &ComputeDevice, weights: Vec<Vec<f32>>, steps: usize, random: &mut Random, at: &str) {
    let mut host = Host::new(weights);
    let mut gpu = upload(&host, device);
    let mut kept = (host.clone(), gpu.masks());
    for step in 0..steps {
        let rows = if random.below(2) == 0 { Rows::Each } else { Rows::Together };
        let scope: Vec<bool> = host.weights.iter().map(|_| random.below(4) != 0).collect();
        let wanted: Vec<u64> = host
            .available(&scope, rows)
            .into_iter()
            .map(|available| match random.below(6) {
                0 => 0,
                1 => available,
                2 => 1.min(available),
                3 => available.saturating_sub(1),
                _ => random.below(available + 1),
            })
            .collect();
        let at = format!("{at}, step {step}, {rows:?}");
        let expected = host.select(&scope, rows, &wanted);
        for words in [1, 1000, 100_000] {
            leave_noise(device, words);
        }
        assert_same(&gpu.select(&scope, rows, &wanted).unwrap(), &expected, &at);
        assert_eq!(gpu.counts(), host.counts());
        assert_state(&mut gpu, &host, random, &at);
        match random.below(5) {
            0 => {
                gpu.reset();
                host = Host::new(host.weights);
            }
            1 => {
                gpu.fix().unwrap();
                host.fix();
                assert_state(&mut gpu, &host, random, &format!("{at}, fixed"));
                kept = (host.clone(), gpu.masks());
            }
            2 => {
                gpu.restore(&kept.1).unwrap();
                host = kept.0.clone();
                assert_state(&mut gpu, &host, random, &format!("{at}, restored"));
            }
            3 => {
                let words = host.words();
                gpu.reset();
                gpu.set_masks(&words).unwrap();
                assert_state(&mut gpu, &host, random, &format!("{at}, set"));
            }
            _ => {}
        }
    }
}

#[test]
fn awkward_lengths_and_values_match_the_host() {
    let Some(device) = adapter() else { return };
    let lengths = [0, 1, 2, 31, 32, 33, 63, 64, 65, 255, 256, 257, 1000, 8191, 8192, 8193, 16_384, 20_000];
    let kinds = [Values::Bell, Values::Bits, Values::Coarse, Values::Equal, Values::Special];
    for (seed, kind) in (0..).zip(kinds) {
        let mut random = Random(seed);
        let weights = lengths.iter().map(|&len| draw(&mut random, kind, len)).collect();
        run_history(&device, weights, 6, &mut random, &format!("{kind:?}, seed {seed}"));
    }
}

#[test]
fn single_parameters_of_every_awkward_length_match_the_host() {
    let Some(device) = adapter() else { return };
    for (seed, len) in (100..).zip([0, 1, 255, 256, 257, 8192, 8193]) {
        let mut random = Random(seed);
        let weights = vec![draw(&mut random, Values::Special, len)];
        run_history(&device, weights, 3, &mut random, &format!("{len} elements, seed {seed}"));
    }
}

#[test]
fn many_parameters_match_the_host() {
    let Some(device) = adapter() else { return };
    let seed = 7;
    let mut random = Random(seed);
    let kinds = [Values::Bell, Values::Coarse, Values::Special];
    let weights = (0..300)
        .map(|_| {
            let (kind, len) = (kinds[random.below(3) as usize], random.below(3000) as usize);
            draw(&mut random, kind, len)
        })
        .collect();
    run_history(&device, weights, 4, &mut random, &format!("300 parameters, seed {seed}"));
}

#[test]
fn more_workgroups_than_one_dimension_takes_match_the_host() {
    let Some(device) = adapter() else { return };
    let seed = 11;
    let mut random = Random(seed);
    // Every parameter that is not empty is a tile, and a row when each has its own cut: of either more than 65,535.
    let weights: Vec<_> = (0..90_000)
        .map(|_| {
            let (kind, len) = ([Values::Bell, Values::Coarse][random.below(2) as usize], random.below(5) as usize);
            draw(&mut random, kind, len)
        })
        .collect();
    for rows in [Rows::Each, Rows::Together] {
        let at = format!("90,000 parameters, {rows:?}, seed {seed}");
        let mut host = Host::new(weights.clone());
        let mut gpu = upload(&host, &device);
        let scope: Vec<bool> = (0..weights.len()).map(|_| random.below(8) != 0).collect();
        let wanted: Vec<u64> = host.available(&scope, rows).iter().map(|available| available.div_ceil(2)).collect();
        let expected = host.select(&scope, rows, &wanted);
        assert_same(&gpu.select(&scope, rows, &wanted).unwrap(), &expected, &at);
        assert_state(&mut gpu, &host, &mut random, &at);
    }
}

#[test]
fn a_large_parameter_matches_the_host() {
    let Some(device) = adapter() else { return };
    let seed = 13;
    let mut random = Random(seed);
    let weights = vec![draw(&mut random, Values::Bell, 5_000_000), draw(&mut random, Values::Coarse, 300_000)];
    run_history(&device, weights, 2, &mut random, &format!("5.3 million elements, seed {seed}"));
}

#[test]
fn ties_go_by_parameter_and_element() {
    let Some(device) = adapter() else { return };
    let host = Host::new(vec![vec![0.5; 10_000], vec![-0.5; 10_000], vec![0.25; 3]]);
    let mut gpu = upload(&host, &device);
    let found = gpu.select(&[true, true, false], Rows::Together, &[15_000]).unwrap();
    assert_eq!(found, DeviceSelection { counts: vec![10_000, 5_000, 0], cuts: vec![Some(0.5)], ties: vec![20_000] });
    let mut expected = vec![u64::MAX; 78];
    expected.push((1 << 8) - 1);
    expected.resize(157, 0);
    assert_eq!(gpu.mask(1).unwrap(), expected);
    // Masked ones count among the ties of the next cut, and are not taken again.
    let found = gpu.select(&[false, true, true], Rows::Each, &[0, 5_000, 2]).unwrap();
    assert_eq!(found.counts, [10_000, 10_000, 2]);
    assert_eq!(found.ties, [0, 10_000, 3]);
    assert_eq!(found.cuts, [None, Some(0.5), Some(0.25)]);
}

#[test]
fn refused_requests_change_nothing() {
    let Some(device) = adapter() else { return };
    let mut random = Random(17);
    let mut host = Host::new(vec![draw(&mut random, Values::Bell, 100), draw(&mut random, Values::Bell, 300)]);
    let mut gpu = upload(&host, &device);
    gpu.select(&[true, true], Rows::Each, &[50, 100]).unwrap();
    host.select(&[true, true], Rows::Each, &[50, 100]);

    let refused = gpu.select(&[true, true], Rows::Each, &[51, 0]).unwrap_err();
    assert_eq!(refused, DeviceError::TooMany { row: 0, wanted: 51, available: 50 });
    let refused = gpu.select(&[true, true], Rows::Together, &[251]).unwrap_err();
    assert_eq!(refused, DeviceError::TooMany { row: 0, wanted: 251, available: 250 });
    let refused = gpu.select(&[false, true], Rows::Each, &[1, 0]).unwrap_err();
    assert_eq!(refused, DeviceError::TooMany { row: 0, wanted: 1, available: 0 });
    assert!(matches!(gpu.select(&[true], Rows::Together, &[1]), Err(DeviceError::Length { expected: 2, found: 1, .. })));
    assert!(matches!(gpu.select(&[true, true], Rows::Together, &[1, 1]), Err(DeviceError::Length { expected: 1, found: 2, .. })));
    let other = DeviceWeights::upload([[1.0f32].as_slice()], &device.device).unwrap();
    assert!(matches!(gpu.restore(&other.masks()), Err(DeviceError::Length { expected: 2, found: 1, .. })));
    assert!(matches!(gpu.mask(2), Err(DeviceError::NoSuchParameter { parameter: 2, parameters: 2 })));
    assert!(matches!(gpu.set_masks(&[vec![0u64; 2]]), Err(DeviceError::Length { .. })));
    assert!(matches!(gpu.set_masks(&[vec![0, 1 << 36], vec![0; 5]]), Err(DeviceError::Length { expected: 100, found: 101, .. })));
    assert_state(&mut gpu, &host, &mut random, "after refusals");

    let cpu = ComputeDevice::open(DeviceChoice::Cpu).unwrap();
    assert!(matches!(DeviceWeights::upload([[1.0f32].as_slice()], &cpu.device), Err(DeviceError::NotGpu { .. })));
}

#[test]
fn a_model_beyond_the_largest_buffer_is_refused() {
    let Some(device) = adapter() else { return };
    // The limit is the adapter's; 2^31 elements are beyond all of them.
    let part = vec![0.0f32; 1 << 20];
    let refused = DeviceWeights::upload(std::iter::repeat_n(part.as_slice(), 1 << 11), &device.device).unwrap_err();
    assert!(matches!(refused, DeviceError::TooLarge { .. }), "{refused}");
    assert!(refused.to_string().contains("--device cpu"));
}

#[test]
fn a_tensor_handed_out_keeps_its_values() {
    let Some(device) = adapter() else { return };
    let mut random = Random(19);
    let mut host = Host::new(vec![draw(&mut random, Values::Bell, 77), draw(&mut random, Values::Bell, 1001)]);
    let mut gpu = upload(&host, &device);
    gpu.select(&[true, true], Rows::Together, &[500]).unwrap();
    host.select(&[true, true], Rows::Together, &[500]);
    let tensor = gpu.pruned_tensor(1).unwrap();
    // Later selections write other buffers, whatever memory they reuse.
    gpu.select(&[true, true], Rows::Together, &[500]).unwrap();
    gpu.pruned(1).unwrap();
    gpu.fix().unwrap();
    let read = tensor.clone().into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(bits(&read), bits(&host.pruned()[1]));
    let doubled = (tensor + 0.0).mul_scalar(2.0).into_data().try_to_vec::<f32>().unwrap();
    let expected: Vec<f32> = host.pruned()[1].iter().map(|value| value * 2.0).collect();
    assert_eq!(doubled, expected);
}

#[test]
fn auto_never_takes_a_software_adapter() {
    let began = Instant::now();
    let auto = ComputeDevice::open(DeviceChoice::Auto).unwrap();
    eprintln!("auto: {} after {:?}", auto.name, began.elapsed());
    assert!(!auto.is_software);
    assert_eq!(auto.is_gpu, auto.name != "CPU");
}

#[test]
fn without_an_adapter_a_gpu_is_an_error_and_auto_is_the_cpu() {
    const CHILD: &str = "SECATEUR_TEST_WITHOUT_ADAPTER";
    if std::env::var_os(CHILD).is_some() {
        let began = Instant::now();
        let refused = ComputeDevice::open(DeviceChoice::Gpu).unwrap_err();
        assert!(matches!(refused, AdapterError::NoAdapter), "{refused:?}");
        assert!(refused.to_string().contains("--device cpu"));
        let auto = ComputeDevice::open(DeviceChoice::Auto).unwrap();
        assert_eq!((auto.name.as_str(), auto.is_gpu, auto.is_software), ("CPU", false, false));
        eprintln!("no adapter: both took {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(5));
        return;
    }
    if !cfg!(target_os = "linux") {
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "without_an_adapter_a_gpu_is_an_error_and_auto_is_the_cpu", "--nocapture"])
        .env(CHILD, "1")
        .env("VK_DRIVER_FILES", "/nonexistent")
        .env("VK_ICD_FILENAMES", "/nonexistent")
        .env("__EGL_VENDOR_LIBRARY_FILENAMES", "/nonexistent")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    eprintln!("{}", String::from_utf8_lossy(&child.stderr));
}

/// More than 65,535 times 256 elements in one parameter.
#[test]
fn a_huge_parameter_matches_the_host() {
    let Some(device) = adapter() else { return };
    let seed = 29;
    let mut random = Random(seed);
    let len = 18_000_000;
    let weights = draw(&mut random, Values::Bits, len);
    let mut keys: Vec<u32> = weights.iter().map(|&value| key(value)).collect();
    let mut gpu = DeviceWeights::upload([weights.as_slice()], &device.device).unwrap();
    let wanted = (len / 2) as u64;
    let found = gpu.select(&[true], Rows::Together, &[wanted]).unwrap();
    let cut = *keys.select_nth_unstable(wanted as usize - 1).1;
    assert_eq!(found.cuts[0].map(f32::to_bits), Some(cut));
    let mut ties = wanted as usize - weights.iter().filter(|&&value| key(value) < cut).count();
    let mask = gpu.mask(0).unwrap();
    for (element, &value) in weights.iter().enumerate() {
        let tie = key(value) == cut && ties > 0;
        ties -= usize::from(tie);
        assert_eq!(mask[element / 64] >> (element % 64) & 1 == 1, key(value) < cut || tie, "element {element}, seed {seed}");
    }
}
