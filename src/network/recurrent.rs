//! Recurrent cells: LSTM, GRU and the plain one; carried out on the host, step by step.

use std::sync::Arc;

use super::call::{Call, Outcome, fault, size};
use super::value::{Floats, Value, elements};

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

    fn activations(self) -> &'static [&'static str] {
        match self {
            Self::Lstm => &["Sigmoid", "Tanh", "Tanh"],
            Self::Gru => &["Sigmoid", "Tanh"],
            Self::Plain => &["Tanh"],
        }
    }
}

type Activation = Box<dyn Fn(f32) -> f32>;

fn activation(name: &str, alpha: Option<f32>, beta: Option<f32>) -> Outcome<Activation> {
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

/// Sizes, weights and settings of one call.
struct Cells {
    cell: Cell,
    inputs: usize,
    hidden: usize,
    clip: f32,
    input_forget: bool,
    linear_before_reset: bool,
    lengths: Vec<usize>,
}

/// The weights of one direction.
struct Weights<'a> {
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

#[expect(clippy::too_many_lines, reason = "the checks of many inputs, one after the other")]
pub(super) fn recurrent(call: &mut Call) -> Outcome<Vec<Value>> {
    let cell = match call.node.op.as_str() {
        "LSTM" => Cell::Lstm,
        "GRU" => Cell::Gru,
        _ => Cell::Plain,
    };
    let batch_first = call.flag("layout");
    let direction = call.string_or("direction", "forward").to_owned();
    let directions = if direction == "bidirectional" { 2 } else { 1 };
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
    if call.node.attributes.int("hidden_size").is_some_and(|h| h != hidden as i64) {
        return fault!("the hidden size is {hidden}, not the one that the settings tell");
    }
    let optional = |call: &mut Call, i: usize, shape: &[usize]| -> Outcome<Option<Arc<Vec<f32>>>> {
        let Some(v) = call.optional_floats(i)? else { return Ok(None) };
        let v = if batch_first && (i == 5 || i == 6) { super::shape::permute(call, v, &[1, 0, 2])? } else { v };
        if v.shape != shape {
            return fault!("input {i} is {:?} and should be {shape:?}", v.shape);
        }
        v.to_host().map(Some)
    };
    let b = optional(call, 3, &[directions, 2 * gates * hidden])?;
    let lengths = match call.int_list(4)? {
        Some(list) if list.len() == batch => list.into_iter().map(size).collect::<Outcome<Vec<_>>>()?,
        Some(list) => return fault!("{} lengths for a batch of {batch}", list.len()),
        None => vec![steps; batch],
    };
    let state = [directions, batch, hidden];
    let (h0, c0) = (optional(call, 5, &state)?, if cell == Cell::Lstm { optional(call, 6, &state)? } else { None });
    let p = if cell == Cell::Lstm { optional(call, 7, &[directions, 3 * hidden])? } else { None };
    let cells = Cells {
        cell,
        inputs,
        hidden,
        clip: call.float_or("clip", f32::INFINITY),
        input_forget: call.flag("input_forget"),
        linear_before_reset: call.flag("linear_before_reset"),
        lengths: lengths.into_iter().map(|l| l.min(steps)).collect(),
    };
    let per = cell.activations().len();
    let names = call
        .node
        .attributes
        .strings("activations")
        .map_or_else(|| cell.activations().repeat(directions), |s| s.iter().map(String::as_str).collect());
    if names.len() != per * directions {
        return fault!("{} activations are named", names.len());
    }
    let parameter = |name: &str, i: usize| call.node.attributes.floats(name).and_then(|v| v.get(i).copied());
    let functions = names.iter().enumerate().map(|(i, n)| activation(n, parameter("activation_alpha", i), parameter("activation_beta", i)));
    let functions = functions.collect::<Outcome<Vec<_>>>()?;

    let (x_data, w_data, r_data) = (x.to_host()?, w.to_host()?, r.to_host()?);
    let plane = batch * hidden;
    let mut y = vec![0.0; elements(&[steps, directions, batch, hidden])?];
    let (mut last_h, mut last_c) = (vec![0.0; directions * plane], vec![0.0; directions * plane]);
    for d in 0..directions {
        let part = |v: &Option<Arc<Vec<f32>>>, n: usize| v.as_ref().map(|v| v[d * n..(d + 1) * n].to_vec());
        let weights = Weights {
            w: &w_data[d * gates * hidden * inputs..(d + 1) * gates * hidden * inputs],
            r: &r_data[d * gates * hidden * hidden..(d + 1) * gates * hidden * hidden],
            b: part(&b, 2 * gates * hidden).unwrap_or_else(|| vec![0.0; 2 * gates * hidden]),
            peepholes: p.as_ref().map(|p| &p[d * 3 * hidden..(d + 1) * 3 * hidden]),
        };
        let mut h = part(&h0, plane).unwrap_or_else(|| vec![0.0; plane]);
        let mut c = part(&c0, plane).unwrap_or_else(|| vec![0.0; plane]);
        let backward = direction == "reverse" || d == 1;
        for n in 0..batch {
            let length = cells.lengths[n];
            let (h, c) = (&mut h[n * hidden..(n + 1) * hidden], &mut c[n * hidden..(n + 1) * hidden]);
            for step in 0..length {
                let t = if backward { length - 1 - step } else { step };
                let x = &x_data[(t * batch + n) * inputs..(t * batch + n + 1) * inputs];
                cells.step(&weights, &functions[d * per..(d + 1) * per], x, h, c);
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
        out = out.into_iter().zip(orders).map(|(v, order)| super::shape::permute(call, v, order)).collect::<Outcome<_>>()?;
    }
    Ok(out.into_iter().map(Value::from).collect())
}

impl Cells {
    /// One step of one sequence; `h` and `c` are the state before and after it.
    fn step(&self, weights: &Weights, f: &[Activation], x: &[f32], h: &mut [f32], c: &mut [f32]) {
        let n = self.hidden;
        let gates = self.cell.gates();
        let clip = |v: f32| v.clamp(-self.clip.abs(), self.clip.abs());
        let (for_inputs, for_hidden) = weights.b.split_at(gates * n);
        let mut a = for_inputs.to_vec();
        if self.inputs > 0 {
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
