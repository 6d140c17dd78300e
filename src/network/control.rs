//! Nodes that hold graphs and run them: `If`, `Loop`, `Scan`.
//!
//! The values of a graph that a node holds are among those of the whole pass, so that it sees what stands around it; a round of a
//! loop writes them anew.

use burn::tensor::Device;

use super::NetworkError;
use super::call::Call;
use super::dims::{axis, elements};
use super::fault::{Checked, Fault, fault};
use super::fused::carried_out;
use super::movement;
use super::pass::Pass;
use super::setup::{Run, Setup};
use super::value::{Floats, Ints, Value};
use crate::graph::{Attribute, BodyId, Node};
use crate::onnx::Dtype;

/// What a round costs beside what is worked out in it, in elements: some microseconds of work.
const ROUND: u64 = 1 << 10;

/// What carries out the graphs that a node holds.
pub(super) trait Holder {
    /// Carries out a graph that `node` holds, on these values, and gives what it gives.
    fn body(&self, node: &Node, body: BodyId, inputs: Vec<Value>, pass: &mut Pass) -> Result<Vec<Value>, NetworkError>;

    /// A fault as an error that names the node.
    fn failed(&self, node: &Node, fault: Fault) -> NetworkError;

    /// Number of values that a graph gives.
    fn num_outputs(&self, body: BodyId) -> usize;

    fn device(&self) -> &Device;
}

/// A node that holds graphs, made ready.
pub(super) enum Control {
    If {
        then: BodyId,
        otherwise: BodyId,
    },
    Loop {
        body: BodyId,
        /// Values that go from round to round.
        carried: usize,
    },
    Scan(ScanLoop),
}

/// A loop over the parts of values.
pub(super) struct ScanLoop {
    body: BodyId,
    /// Values that are taken apart.
    scanned: usize,
    inputs: Sides,
    outputs: Sides,
    /// Operator set 8 has a batch before the axis that is gone over, and lengths before the states.
    has_batch: bool,
}

/// Along which axis, and from which end; the first axis from its start where nothing is said.
struct Sides {
    axes: Vec<i64>,
    reversed: Vec<bool>,
}

impl Sides {
    const FIRST: Self = Self { axes: Vec::new(), reversed: Vec::new() };

    fn of(setup: &Setup, axes: &str, directions: &str) -> Self {
        let reversed = setup.ints(directions).unwrap_or_default().iter().map(|&d| d != 0).collect();
        Self { axes: setup.ints(axes).unwrap_or_default(), reversed }
    }

    fn get(&self, i: usize) -> (i64, bool) {
        (self.axes.get(i).copied().unwrap_or(0), self.reversed.get(i).copied().unwrap_or(false))
    }
}

/// Whether a node is one of these, with the graphs that it needs.
pub(super) fn knows(node: &Node) -> bool {
    let has = |name: &str| node.attributes.graph(name).is_some();
    node.is_standard()
        && match node.op.as_str() {
            "If" => has("then_branch") && has("else_branch"),
            "Loop" => has("body"),
            "Scan" => has("body"),
            _ => false,
        }
}

impl Control {
    pub(super) fn of(setup: &Setup) -> Checked<Self> {
        let body = |name: &str| setup.attributes().graph(name).ok_or_else(|| Fault(format!("its {name} is missing")));
        Ok(match setup.node.op.as_str() {
            "If" => Self::If { then: body("then_branch")?, otherwise: body("else_branch")? },
            "Loop" => Self::Loop { body: body("body")?, carried: setup.node.inputs.len().saturating_sub(2) },
            _ => Self::Scan(ScanLoop {
                body: body("body")?,
                scanned: usize::try_from(setup.int_or("num_scan_inputs", 0)).unwrap_or(0),
                inputs: Sides::of(setup, "scan_input_axes", if setup.opset < 9 { "directions" } else { "scan_input_directions" }),
                outputs: Sides::of(setup, "scan_output_axes", "scan_output_directions"),
                has_batch: setup.opset < 9,
            }),
        })
    }

    /// Carries the node out on `inputs`.
    pub(super) fn run(
        &self,
        holder: &dyn Holder,
        node: &Node,
        inputs: Vec<Option<Value>>,
        pass: &mut Pass,
    ) -> Result<Vec<Value>, NetworkError> {
        let fail = |fault| holder.failed(node, fault);
        match self {
            Self::If { then, otherwise } => {
                let condition = inputs.into_iter().next().flatten();
                let is_met = condition.ok_or_else(|| Fault("its condition is not given".into())).and_then(|value| is_true(&value));
                let body = if is_met.map_err(fail)? { *then } else { *otherwise };
                holder.body(node, body, Vec::new(), pass)
            }
            Self::Loop { body, carried } => repeated(holder, node, (*body, *carried), inputs, pass),
            Self::Scan(scan) => scan.run(holder, node, inputs, pass),
        }
    }
}

/// Whether the one element of a value is not zero.
fn is_true(value: &Value) -> Checked<bool> {
    match value {
        Value::Int(v) if v.data.len() == 1 => Ok(v.data[0] != 0),
        value => fault!("its condition is of shape {:?} and type {}", value.shape(), value.dtype()),
    }
}

/// Rounds of a body: at most as many as the first input says, and as long as its first output is true.
fn repeated(
    holder: &dyn Holder,
    node: &Node,
    (body, carried): (BodyId, usize),
    inputs: Vec<Option<Value>>,
    pass: &mut Pass,
) -> Result<Vec<Value>, NetworkError> {
    let fail = |fault| holder.failed(node, fault);
    let mut inputs = inputs.into_iter();
    let most = match inputs.next().flatten() {
        Some(Value::Int(v)) if v.data.len() == 1 => Some(v.data[0]),
        Some(other) => return Err(fail(Fault(format!("its number of rounds is of shape {:?}", other.shape())))),
        None => None,
    };
    let mut goes_on = match inputs.next().flatten() {
        Some(value) => is_true(&value).map_err(fail)?,
        None => true,
    };
    let mut state: Vec<Value> = Vec::with_capacity(carried);
    for value in inputs {
        state.push(value.ok_or_else(|| fail(Fault("a value that goes from round to round is not given".into())))?);
    }
    let outputs = holder.num_outputs(body);
    let Some(kept) = outputs.checked_sub(1 + carried) else {
        return Err(fail(Fault(format!("its body gives {outputs} values, and {carried} go from round to round"))));
    };
    let mut collected = vec![Vec::new(); kept];
    let mut round = 0;
    while goes_on && most.is_none_or(|most| round < most) {
        pass.allowance.spend(ROUND, &[]).map_err(fail)?;
        let number = Ints::new(Vec::new(), vec![round]).into();
        let condition = Ints::bools(Vec::new(), vec![1]).into();
        let given = [number, condition].into_iter().chain(state.drain(..)).collect();
        let mut out = holder.body(node, body, given, pass)?.into_iter();
        goes_on = match out.next() {
            Some(value) => is_true(&value).map_err(fail)?,
            None => false,
        };
        state.extend(out.by_ref().take(carried));
        collected.iter_mut().zip(out).for_each(|(all, value)| all.push(value));
        round += 1;
    }
    let kept = stacked(holder, collected, &Sides::FIRST, pass).map_err(fail)?;
    Ok(state.into_iter().chain(kept).collect())
}

impl ScanLoop {
    fn run(&self, holder: &dyn Holder, node: &Node, inputs: Vec<Option<Value>>, pass: &mut Pass) -> Result<Vec<Value>, NetworkError> {
        let fail = |fault| holder.failed(node, fault);
        let missing = || fail(Fault("a value that it goes over is not given".into()));
        if self.has_batch {
            return self.run_each(holder, node, inputs, pass);
        }
        let mut state = inputs.into_iter().collect::<Option<Vec<Value>>>().ok_or_else(missing)?;
        let carried = state.len().checked_sub(self.scanned).filter(|_| self.scanned > 0).ok_or_else(missing)?;
        let scanned = state.split_off(carried);
        let mut places = Vec::with_capacity(scanned.len());
        for (i, value) in scanned.iter().enumerate() {
            let (along, is_reversed) = self.inputs.get(i);
            places.push((axis(along, value.shape().len()).map_err(fail)?, is_reversed));
        }
        let rounds = scanned[0].shape()[places[0].0];
        if scanned.iter().zip(&places).any(|(value, (at, _))| value.shape()[*at] != rounds) {
            return Err(fail(Fault("the values that it goes over are of different lengths".into())));
        }
        let collected = self.rounds((holder, node), &mut state, (&scanned, &places), rounds, pass)?;
        let kept = stacked(holder, collected, &self.outputs, pass).map_err(fail)?;
        Ok(state.into_iter().chain(kept).collect())
    }

    /// Goes over `rounds` parts of every value, and gives what each round gave beside the state.
    fn rounds(
        &self,
        (holder, node): (&dyn Holder, &Node),
        state: &mut Vec<Value>,
        (scanned, places): (&[Value], &[(usize, bool)]),
        rounds: usize,
        pass: &mut Pass,
    ) -> Result<Vec<Vec<Value>>, NetworkError> {
        let fail = |fault| holder.failed(node, fault);
        let (outputs, carried) = (holder.num_outputs(self.body), state.len());
        let Some(kept) = outputs.checked_sub(carried) else {
            return Err(fail(Fault(format!("its body gives {outputs} values, and {carried} go from round to round"))));
        };
        let mut collected = vec![Vec::new(); kept];
        for round in 0..rounds {
            pass.allowance.spend(ROUND, &[]).map_err(fail)?;
            let mut given: Vec<Value> = std::mem::take(state);
            for (value, &(at, is_reversed)) in scanned.iter().zip(places) {
                let index = if is_reversed { rounds - 1 - round } else { round };
                given.push(part(holder, value, at, index, pass).map_err(fail)?);
            }
            let mut out = holder.body(node, self.body, given, pass)?.into_iter();
            state.extend(out.by_ref().take(carried));
            collected.iter_mut().zip(out).for_each(|(all, value)| all.push(value));
        }
        Ok(collected)
    }

    /// As in operator set 8: every element of the batch by itself, as far as its length; behind that stand zeros.
    fn run_each(&self, holder: &dyn Holder, node: &Node, inputs: Vec<Option<Value>>, pass: &mut Pass) -> Result<Vec<Value>, NetworkError> {
        let fail = |fault| holder.failed(node, fault);
        let missing = || fail(Fault("a value that it goes over is not given".into()));
        let mut inputs = inputs.into_iter();
        let lengths = inputs.next().flatten();
        let mut states = inputs.collect::<Option<Vec<Value>>>().ok_or_else(missing)?;
        let carried = states.len().checked_sub(self.scanned).filter(|_| self.scanned > 0).ok_or_else(missing)?;
        let scanned = states.split_off(carried);
        let [batch, longest, ..] = scanned[0].shape()[..] else {
            return Err(fail(Fault(format!("it goes over a value of shape {:?}, which has no batch", scanned[0].shape()))));
        };
        let is_other = |value: &Value| value.shape().first() != Some(&batch);
        if states.iter().any(is_other) || scanned.iter().any(|value| !value.shape().starts_with(&[batch, longest])) {
            return Err(fail(Fault("the values that it goes over are of different lengths".into())));
        }
        let lengths = match lengths {
            None => vec![longest; batch],
            Some(Value::Int(v)) if v.data.len() == batch => {
                let fits = |&length: &i64| usize::try_from(length).ok().filter(|&length| length <= longest);
                let wrong = || fail(Fault(format!("lengths {:?} are not all from 0 to {longest}", v.data)));
                v.data.iter().map(fits).collect::<Option<Vec<usize>>>().ok_or_else(wrong)?
            }
            Some(value) => return Err(fail(Fault(format!("its lengths are of shape {:?}", value.shape())))),
        };
        if batch == 0 {
            let kept = vec![Vec::new(); holder.num_outputs(self.body).saturating_sub(carried)];
            let kept = stacked(holder, kept, &Sides::FIRST, pass).map_err(fail)?;
            return Ok(states.into_iter().chain(kept).collect());
        }
        let places: Vec<(usize, bool)> = (0..scanned.len()).map(|i| (0, self.inputs.get(i).1)).collect();
        let (mut ends, mut series) = (vec![Vec::new(); carried], Vec::new());
        for (i, &length) in lengths.iter().enumerate() {
            pass.allowance.spend(ROUND, &[]).map_err(fail)?;
            let of =
                |values: &[Value], pass: &Pass| values.iter().map(|value| part(holder, value, 0, i, pass)).collect::<Checked<Vec<_>>>();
            let (mut state, scanned) = (of(&states, pass).map_err(fail)?, of(&scanned, pass).map_err(fail)?);
            series.push(self.rounds((holder, node), &mut state, (&scanned, &places), length, pass)?);
            ends.iter_mut().zip(state).for_each(|(all, value)| all.push(value));
        }
        let zeros: Vec<Option<Value>> =
            (0..series[0].len()).map(|k| series.iter().find_map(|kept| kept[k].first()).map(zeros_like)).collect();
        let mut kept = vec![Vec::new(); zeros.len()];
        for mut one in series {
            for (values, zeros) in one.iter_mut().zip(&zeros) {
                let Some(zeros) = zeros else { continue };
                pass.allowance.spend((longest - values.len()) as u64, &[]).map_err(fail)?;
                values.resize(longest, zeros.clone());
            }
            let one = stacked(holder, one, &Sides::FIRST, pass).map_err(fail)?;
            kept.iter_mut().zip(one).for_each(|(all, value)| all.push(value));
        }
        ends.append(&mut kept);
        stacked(holder, ends, &Sides::FIRST, pass).map_err(fail)
    }
}

/// Zeros in the shape and type of a value.
fn zeros_like(value: &Value) -> Value {
    match value {
        Value::Int(v) => Ints::typed(v.shape.clone(), v.dtype, vec![0; v.data.len()]).into(),
        Value::Float(v) => Floats::host(v.shape.clone(), v.dtype, vec![0.0; v.elements()]).into(),
    }
}

/// One element along an axis, without the axis.
fn part(holder: &dyn Holder, value: &Value, at: usize, index: usize, pass: &Pass) -> Checked<Value> {
    let call = empty_call(holder, pass);
    let mut cuts = movement::whole(value.shape());
    cuts[at] = movement::AxisCut { start: index, step: 1, count: 1 };
    let mut shape = value.shape().to_vec();
    shape.remove(at);
    movement::cut(&call, value.clone(), &cuts)?.reshaped(shape)
}

/// What every round gave, side by side along a new axis.
fn stacked(holder: &dyn Holder, collected: Vec<Vec<Value>>, sides: &Sides, pass: &Pass) -> Checked<Vec<Value>> {
    let one = |(i, mut values): (usize, Vec<Value>)| {
        let (along, is_reversed) = sides.get(i);
        if is_reversed {
            values.reverse();
        }
        let Some(first) = values.first() else { return Ok(Floats::empty(vec![0], Dtype::F32).into()) };
        let shape = first.shape().to_vec();
        let at = axis(along, shape.len() + 1)?;
        let mut wide = shape;
        wide.insert(at, 1);
        elements(&wide)?;
        let call = empty_call(holder, pass);
        let values = values.into_iter().map(|value| value.reshaped(wide.clone()).map(Some)).collect::<Checked<Vec<_>>>()?;
        carried_out(&call, &joined(at)?, values)
    };
    collected.into_iter().enumerate().map(one).collect()
}

fn joined(at: usize) -> Checked<Run> {
    let node = Node::part("Concat", vec![("axis".into(), Attribute::Int(at as i64))]);
    movement::concat(&Setup { node: &node, opset: 13, tensor: &|_| fault!("it has no tensor") })
}

/// A call without inputs, where a value is cut or put together.
fn empty_call<'c>(holder: &'c dyn Holder, pass: &'c Pass) -> Call<'c> {
    Call { device: holder.device(), inputs: Vec::new(), spare: &pass.spare, allowance: &pass.allowance }
}
