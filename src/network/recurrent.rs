//! Recurrent cells: LSTM, GRU and the plain one; carried out on the host, step by step.
//!
//! Burn's are modules of `burn-nn` (0.22.1) with weights of their own and gates in another order, without peepholes, limits,
//! lengths and most of the curves that a node may name.

use std::sync::Arc;

use super::call::Call;
use super::dims::{elements, size};
use super::fault::{Checked, fault};
use super::setup::{Run, Setup, many};
use super::value::{Floats, Value};

/// Which cell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    Lstm,
    Gru,
    Plain,
}

impl Cell {
    fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
            Self::Plain => 1,
        }
    }

    fn curves(self) -> &'static [&'static str] {
        match self {
            Self::Lstm => &["Sigmoid", "Tanh", "Tanh"],
            Self::Gru => &["Sigmoid", "Tanh"],
            Self::Plain => &["Tanh"],
        }
    }
}

type Curve = Box<dyn Fn(f32) -> f32 + Send + Sync>;

fn curve(name: &str, alpha: Option<f32>, beta: Option<f32>) -> Checked<Curve> {
    let a = move |default| alpha.unwrap_or(default);
    Ok(match name.to_ascii_lowercase().as_str() {
        "sigmoid" => Box::new(|x: f32| 1.0 / (1.0 + (-x).exp())),
        "tanh" => Box::new(f32::tanh),
        "relu" => Box::new(|x: f32| x.max(0.0)),
        "affine" => Box::new(move |x| a(1.0) * x + beta.unwrap_or(0.0)),
        "leakyrelu" => Box::new(move |x| if x < 0.0 { a(0.01) * x } else { x }),
        "thresholdedrelu" => Box::new(move |x| if x > a(1.0) { x } else { 0.0 }),
        "scaledtanh" => Box::new(move |x| a(1.0) * (beta.unwrap_or(1.0) * x).tanh()),
        "hardsigmoid" => Box::new(move |x| (a(0.2) * x + beta.unwrap_or(0.5)).clamp(0.0, 1.0)),
        "elu" => Box::new(move |x| if x < 0.0 { a(1.0) * x.exp_m1() } else { x }),
        "softsign" => Box::new(|x: f32| x / (1.0 + x.abs())),
        "softplus" => Box::new(|x: f32| x.max(0.0) + (-x.abs()).exp().ln_1p()),
        _ => return fault!("the activation “{name}” is not known"),
    })
}

/// What a node says beside its inputs.
#[expect(clippy::struct_excessive_bools, reason = "each is an attribute of its own")]
struct RecurrentSettings {
    cell: Cell,
    batch_first: bool,
    directions: usize,
    /// The only direction is from the last step to the first.
    reverse: bool,
    hidden: Option<i64>,
    /// Sums are held between its negative and itself before a curve is applied.
    clip: f32,
    input_forget: bool,
    linear_before_reset: bool,
    /// Of one direction after the other.
    curves: Vec<Curve>,
}

impl RecurrentSettings {
    fn of(setup: &Setup) -> Checked<Self> {
        let cell = match setup.node.op.as_str() {
            "LSTM" => Cell::Lstm,
            "GRU" => Cell::Gru,
            _ => Cell::Plain,
        };
        let direction = setup.string_or("direction", "forward");
        let directions = if direction == "bidirectional" { 2 } else { 1 };
        let attributes = setup.attributes();
        let names: Vec<&str> =
            attributes.strings("activations").map_or_else(|| cell.curves().repeat(directions), |s| s.iter().map(String::as_str).collect());
        if names.len() != cell.curves().len() * directions {
            return fault!("{} activations are named", names.len());
        }
        let parameter = |name: &str, i: usize| attributes.floats(name).and_then(|v| v.get(i).copied());
        let curves = names.iter().enumerate().map(|(i, n)| curve(n, parameter("activation_alpha", i), parameter("activation_beta", i)));
        // A limit that is no number holds nothing.
        let clip = setup.float("clip").map(f32::abs).filter(|clip| !clip.is_nan()).unwrap_or(f32::INFINITY);
        Ok(Self {
            cell,
            batch_first: setup.flag("layout"),
            directions,
            reverse: direction == "reverse",
            hidden: setup.int("hidden_size"),
            clip,
            input_forget: setup.flag("input_forget"),
            linear_before_reset: setup.flag("linear_before_reset"),
            curves: curves.collect::<Checked<_>>()?,
        })
    }
}

/// The weights of one direction.
struct DirectionWeights<'a> {
    w: &'a [f32],
    r: &'a [f32],
    /// For inputs and for hidden values, one after the other.
    b: Vec<f32>,
    peepholes: Option<&'a [f32]>,
}

/// Rows of `m` times `x`, added to `out`.
fn add_product(out: &mut [f32], m: &[f32], x: &[f32]) {
    for (o, row) in out.iter_mut().zip(m.chunks_exact(x.len().max(1))) {
        *o += row.iter().zip(x).map(|(a, b)| a * b).sum::<f32>();
    }
}

pub(super) fn recurrent(setup: &Setup) -> Checked<Run> {
    let settings = RecurrentSettings::of(setup)?;
    many(move |call| settings.run(call))
}

impl RecurrentSettings {
    fn run(&self, call: &mut Call) -> Checked<Vec<Value>> {
        let &Self { cell, batch_first, directions, .. } = self;
        let mut x = call.take_floats(0)?;
        if batch_first && x.rank() == 3 {
            x = super::shape::permute(call, x, &[1, 0, 2])?;
        }
        let (w, r) = (call.take_floats(1)?, call.take_floats(2)?);
        let (&[steps, batch, inputs], &[.., hidden]) = (x.shape.as_slice(), r.shape.as_slice()) else {
            return fault!("its input is {:?}", x.shape);
        };
        let gates = cell.gates();
        if w.shape != [directions, gates * hidden, inputs] || r.shape != [directions, gates * hidden, hidden] || hidden == 0 {
            return fault!("weights of {:?} and {:?} do not fit {:?}", w.shape, r.shape, x.shape);
        }
        if self.hidden.is_some_and(|h| h != hidden as i64) {
            return fault!("the hidden size is {hidden}, not the one that the settings tell");
        }
        let optional = |call: &mut Call, i: usize, shape: &[usize]| -> Checked<Option<Arc<Vec<f32>>>> {
            let Some(v) = call.optional_floats(i)? else { return Ok(None) };
            let v = if batch_first && (i == 5 || i == 6) { super::shape::permute(call, v, &[1, 0, 2])? } else { v };
            if v.shape != shape {
                return fault!("input {i} is {:?} and should be {shape:?}", v.shape);
            }
            v.to_host().map(Some)
        };
        let b = optional(call, 3, &[directions, 2 * gates * hidden])?;
        let lengths = match call.int_list(4)? {
            Some(list) if list.len() == batch => list.into_iter().map(size).collect::<Checked<Vec<_>>>()?,
            Some(list) => return fault!("{} lengths for a batch of {batch}", list.len()),
            None => vec![steps; batch],
        };
        let state = [directions, batch, hidden];
        let (h0, c0) = (optional(call, 5, &state)?, if cell == Cell::Lstm { optional(call, 6, &state)? } else { None });
        let p = if cell == Cell::Lstm { optional(call, 7, &[directions, 3 * hidden])? } else { None };
        let lengths: Vec<usize> = lengths.into_iter().map(|l| l.min(steps)).collect();
        let per = cell.curves().len();

        let (x_data, w_data, r_data) = (x.to_host()?, w.to_host()?, r.to_host()?);
        let plane = batch * hidden;
        let mut y = vec![0.0; elements(&[steps, directions, batch, hidden])?];
        let (mut last_h, mut last_c) = (vec![0.0; directions * plane], vec![0.0; directions * plane]);
        for d in 0..directions {
            let part = |v: &Option<Arc<Vec<f32>>>, n: usize| v.as_ref().map(|v| v[d * n..(d + 1) * n].to_vec());
            let weights = DirectionWeights {
                w: &w_data[d * gates * hidden * inputs..(d + 1) * gates * hidden * inputs],
                r: &r_data[d * gates * hidden * hidden..(d + 1) * gates * hidden * hidden],
                b: part(&b, 2 * gates * hidden).unwrap_or_else(|| vec![0.0; 2 * gates * hidden]),
                peepholes: p.as_ref().map(|p| &p[d * 3 * hidden..(d + 1) * 3 * hidden]),
            };
            let mut h = part(&h0, plane).unwrap_or_else(|| vec![0.0; plane]);
            let mut c = part(&c0, plane).unwrap_or_else(|| vec![0.0; plane]);
            let backward = self.reverse || d == 1;
            for n in 0..batch {
                let length = lengths[n];
                let (h, c) = (&mut h[n * hidden..(n + 1) * hidden], &mut c[n * hidden..(n + 1) * hidden]);
                for step in 0..length {
                    let t = if backward { length - 1 - step } else { step };
                    let x = &x_data[(t * batch + n) * inputs..(t * batch + n + 1) * inputs];
                    self.step(&weights, &self.curves[d * per..(d + 1) * per], x, (h, c));
                    let at = ((t * directions + d) * batch + n) * hidden;
                    y[at..at + hidden].copy_from_slice(h);
                }
            }
            last_h[d * plane..(d + 1) * plane].copy_from_slice(&h);
            last_c[d * plane..(d + 1) * plane].copy_from_slice(&c);
        }
        let dtype = x.dtype;
        let y = Floats::host(vec![steps, directions, batch, hidden], dtype, y);
        let mut out = vec![y, Floats::host(state.to_vec(), dtype, last_h)];
        if cell == Cell::Lstm {
            out.push(Floats::host(state.to_vec(), dtype, last_c));
        }
        if batch_first {
            let orders: [&[usize]; 3] = [&[2, 0, 1, 3], &[1, 0, 2], &[1, 0, 2]];
            out = out.into_iter().zip(orders).map(|(v, order)| super::shape::permute(call, v, order)).collect::<Checked<_>>()?;
        }
        Ok(out.into_iter().map(Value::from).collect())
    }

    /// One step of one sequence; `h` and `c` are the state before and after it.
    fn step(&self, weights: &DirectionWeights, f: &[Curve], x: &[f32], (h, c): (&mut [f32], &mut [f32])) {
        let n = h.len();
        let gates = self.cell.gates();
        let clip = |v: f32| v.clamp(-self.clip, self.clip);
        let (for_inputs, for_hidden) = weights.b.split_at(gates * n);
        let mut a = for_inputs.to_vec();
        if !x.is_empty() {
            add_product(&mut a, weights.w, x);
        }
        let mut b = for_hidden.to_vec();
        match self.cell {
            Cell::Plain => {
                add_product(&mut b, weights.r, h);
                h.iter_mut().zip(a.iter().zip(&b)).for_each(|(h, (a, b))| *h = f[0](clip(a + b)));
            }
            Cell::Gru => {
                // Gates: update, reset, hidden.
                add_product(&mut b[..2 * n], &weights.r[..2 * n * n], h);
                let z: Vec<f32> = (0..n).map(|i| f[0](clip(a[i] + b[i]))).collect();
                let r: Vec<f32> = (n..2 * n).map(|i| f[0](clip(a[i] + b[i]))).collect();
                let hidden = if self.linear_before_reset {
                    add_product(&mut b[2 * n..], &weights.r[2 * n * n..], h);
                    (0..n).map(|i| r[i] * b[2 * n + i]).collect::<Vec<_>>()
                } else {
                    let reset: Vec<f32> = r.iter().zip(h.iter()).map(|(r, h)| r * h).collect();
                    add_product(&mut b[2 * n..], &weights.r[2 * n * n..], &reset);
                    b[2 * n..].to_vec()
                };
                for i in 0..n {
                    let new = f[1](clip(a[2 * n + i] + hidden[i]));
                    h[i] = (1.0 - z[i]) * new + z[i] * h[i];
                }
            }
            Cell::Lstm => {
                // Gates: input, output, forget, cell.
                add_product(&mut b, weights.r, h);
                let peep = |gate: usize, i: usize, c: f32| weights.peepholes.map_or(0.0, |p| p[gate * n + i] * c);
                for i in 0..n {
                    let sum = |gate: usize| a[gate * n + i] + b[gate * n + i];
                    let input = f[0](clip(sum(0) + peep(0, i, c[i])));
                    let forget = if self.input_forget { 1.0 - input } else { f[0](clip(sum(2) + peep(2, i, c[i]))) };
                    let new = forget * c[i] + input * f[1](clip(sum(3)));
                    let output = f[0](clip(sum(1) + peep(1, i, new)));
                    c[i] = new;
                    h[i] = output * f[2](new);
                }
            }
        }
    }
}
