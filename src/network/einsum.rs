//! Sums of products over named axes.
//!
//! Made here because the rank is known at run time alone: Burn's own `einsum` wants it in the types. `burn-einsum`, which plans
//! that one, reads equations and orders products, but leaves diagonals, broadcasting and the products themselves to its caller,
//! which is most of this file. `ndarray-einsum` 0.9 multiplies on the host only, `opt-einsum-path` 0.2 finds an order alone;
//! models have two factors, rarely three.

use std::collections::BTreeSet;

use super::call::Call;
use super::dims::{row_strides, strided};
use super::fault::{Checked, fault};
use super::linear::product;
use super::setup::{Run, Setup, one};
use super::shape::{expanded, permute};
use super::value::{Floats, Value};

/// An axis name: a letter, or a number for an axis that the dots stand for, counted from the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum AxisName {
    Dots(usize),
    Letter(char),
}

/// A value with a name for each axis, no name twice.
struct Term {
    value: Floats,
    labels: Vec<AxisName>,
}

impl Term {
    fn length(&self, label: AxisName) -> Option<usize> {
        self.labels.iter().position(|&l| l == label).map(|i| self.value.shape[i])
    }

    /// The term with its axes in this order; axes of 1 stand in for names that it lacks.
    fn ordered(self, call: &Call, order: &[AxisName]) -> Checked<Floats> {
        let axes: Vec<usize> = order.iter().filter_map(|l| self.labels.iter().position(|m| m == l)).collect();
        let shape = order.iter().map(|&l| self.length(l).unwrap_or(1)).collect();
        permute(call, self.value, &axes)?.reshaped(shape)
    }
}

/// The parts of an equation before the arrow, and what is behind it where there is one.
struct Equation {
    text: String,
    parts: Vec<String>,
    result: Option<String>,
}

impl Equation {
    fn of(text: &str) -> Self {
        let text: String = text.split_whitespace().collect();
        let (left, right) = text.split_once("->").map_or((text.as_str(), None), |(l, r)| (l, Some(r)));
        Self { parts: left.split(',').map(str::to_owned).collect(), result: right.map(str::to_owned), text: text.clone() }
    }

    /// Names of the result's axes.
    fn output(&self, terms: &[Term]) -> Checked<Vec<AxisName>> {
        if let Some(right) = &self.result {
            let dots = terms.iter().flat_map(|t| &t.labels).filter(|l| matches!(l, AxisName::Dots(_))).collect::<BTreeSet<_>>().len();
            let rank = right.replace("...", "").chars().count() + if right.contains("...") { dots } else { 0 };
            return labels(right, rank);
        }
        // Axes under the dots, then letters that occur once, in alphabetical order.
        let all: Vec<AxisName> = self
            .parts
            .iter()
            .zip(terms)
            .flat_map(|(p, t)| {
                p.chars()
                    .filter(char::is_ascii_alphabetic)
                    .map(AxisName::Letter)
                    .chain(t.labels.iter().copied().filter(|l| matches!(l, AxisName::Dots(_))))
            })
            .collect();
        let mut dots: Vec<AxisName> = all.iter().copied().filter(|l| matches!(l, AxisName::Dots(_))).collect();
        dots.sort_unstable();
        dots.dedup();
        dots.reverse();
        let mut once: Vec<AxisName> =
            all.iter().copied().filter(|l| matches!(l, AxisName::Letter(_)) && all.iter().filter(|m| *m == l).count() == 1).collect();
        once.sort_unstable();
        Ok(dots.into_iter().chain(once).collect())
    }
}

/// Dimensions of the first of two factors that are summed over: from its start on, or from its end on where they are negative.
pub(super) fn contracted(equation: &str) -> Option<Vec<isize>> {
    let Equation { parts, result, .. } = Equation::of(equation);
    let [first, second] = &parts[..] else { return None };
    let is_put_out = |c: char| result.as_ref().map_or_else(|| first.matches(c).count() == 1 && !second.contains(c), |r| r.contains(c));
    let (before, behind) = first.split_once("...").unwrap_or((first, ""));
    let length = behind.chars().count() as isize;
    let places = before.chars().zip(0..).chain(behind.chars().zip(-length..));
    Some(places.filter(|(c, _)| !is_put_out(*c)).map(|(_, place)| place).collect())
}

pub(super) fn einsum(setup: &Setup) -> Checked<Run> {
    let equation = Equation::of(setup.string_or("equation", ""));
    one(move |call| summed_product(call, &equation))
}

fn summed_product(call: &mut Call, equation: &Equation) -> Checked<Value> {
    let (parts, text) = (&equation.parts, &equation.text);
    if parts.len() != call.inputs.len() {
        return fault!("“{text}” names {} inputs, there are {}", parts.len(), call.inputs.len());
    }
    let mut terms = Vec::with_capacity(parts.len());
    for (i, part) in parts.iter().enumerate() {
        let value = call.take(i)?.into_floats();
        let labels = labels(part, value.rank())?;
        terms.push(diagonal(value, &labels)?);
    }
    let output = equation.output(&terms)?;
    if output.iter().any(|l| !terms.iter().any(|t| t.labels.contains(l))) {
        return fault!("“{text}” puts out an axis that no input has");
    }
    let mut terms = terms.into_iter();
    let Some(mut total) = terms.next() else { return fault!("“{text}” names no input") };
    let rest: Vec<Term> = terms.collect();
    let mut later: Vec<BTreeSet<AxisName>> = vec![output.iter().copied().collect()];
    for term in rest.iter().rev() {
        let mut needed = later[later.len() - 1].clone();
        needed.extend(&term.labels);
        later.push(needed);
    }
    for term in rest {
        later.pop();
        let needed = later.last().cloned().unwrap_or_default();
        total = joined(call, &total, &term, &needed)?;
    }
    let needed = output.iter().copied().collect();
    let total = summed(call, total, &needed)?;
    Ok(total.ordered(call, &output)?.into())
}

/// Names of the axes that a part of the equation gives to a value of this rank.
fn labels(part: &str, rank: usize) -> Checked<Vec<AxisName>> {
    let letters = |s: &str| {
        s.chars()
            .map(|c| if c.is_ascii_alphabetic() { Ok(AxisName::Letter(c)) } else { fault!("“{c}” names no axis") })
            .collect::<Checked<Vec<_>>>()
    };
    let out = match part.split_once("...") {
        Some((before, after)) => {
            let (mut out, after) = (letters(before)?, letters(after)?);
            let Some(dots) = rank.checked_sub(out.len() + after.len()) else { return fault!("“{part}” names too many axes") };
            out.extend((0..dots).rev().map(AxisName::Dots));
            out.extend(after);
            out
        }
        None => letters(part)?,
    };
    if out.len() != rank {
        return fault!("“{part}” names {} axes of {rank}", out.len());
    }
    Ok(out)
}

/// Axes of the same name become one: their diagonal.
fn diagonal(value: Floats, names: &[AxisName]) -> Checked<Term> {
    let mut labels: Vec<AxisName> = Vec::new();
    let mut shape = Vec::new();
    let mut strides: Vec<isize> = Vec::new();
    for ((&label, &length), stride) in names.iter().zip(&value.shape).zip(row_strides(&value.shape)) {
        match labels.iter().position(|&l| l == label) {
            Some(i) if shape[i] == length => strides[i] += stride,
            Some(i) => return fault!("an axis is named twice and is {} and {length} long", shape[i]),
            None => {
                labels.push(label);
                shape.push(length);
                strides.push(stride);
            }
        }
    }
    if labels.len() == names.len() {
        return Ok(Term { value, labels });
    }
    let data = strided(&value.to_host()?, 0, &shape, &strides);
    Ok(Term { value: Floats::host(shape, value.dtype, data), labels })
}

/// Sums over all axes that nobody needs.
fn summed(call: &Call, term: Term, needed: &BTreeSet<AxisName>) -> Checked<Term> {
    let (kept, gone): (Vec<AxisName>, Vec<AxisName>) = term.labels.iter().partition(|l| needed.contains(l));
    if gone.is_empty() {
        return Ok(term);
    }
    let lengths: Vec<usize> = kept.iter().map(|&l| term.length(l).unwrap_or(1)).collect();
    let columns: usize = gone.iter().map(|&l| term.length(l).unwrap_or(1)).product();
    let rows: usize = lengths.iter().product();
    let order: Vec<AxisName> = kept.iter().chain(&gone).copied().collect();
    let matrix = term.ordered(call, &order)?.reshaped(vec![rows, columns])?;
    let ones = Floats::host(vec![columns], matrix.dtype, vec![1.0; columns]);
    Ok(Term { value: product(call, matrix, ones)?.reshaped(lengths)?, labels: kept })
}

/// The product of two terms, summed over what only they have: a stack of matrix products.
fn joined(call: &Call, a: &Term, b: &Term, needed: &BTreeSet<AxisName>) -> Checked<Term> {
    let wanted = |other: &Term| needed.iter().chain(&other.labels).copied().collect::<BTreeSet<_>>();
    let (a, b) = (summed(call, a.shallow(), &wanted(b))?, summed(call, b.shallow(), &wanted(a))?);
    let shared: Vec<AxisName> = a.labels.iter().copied().filter(|l| b.labels.contains(l)).collect();
    let (stack, inner): (Vec<AxisName>, Vec<AxisName>) = shared.iter().partition(|l| needed.contains(l));
    let rows: Vec<AxisName> = a.labels.iter().copied().filter(|l| !shared.contains(l)).collect();
    let columns: Vec<AxisName> = b.labels.iter().copied().filter(|l| !shared.contains(l)).collect();
    let mut lengths = Vec::new();
    for &label in stack.iter().chain(&inner) {
        lengths.push(match (a.length(label).unwrap_or(1), b.length(label).unwrap_or(1)) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            (x, y) => return fault!("an axis is {x} and {y} long"),
        });
    }
    let sizes = |t: &Term, list: &[AxisName]| list.iter().map(|&l| t.length(l).unwrap_or(1)).collect::<Vec<_>>();
    let (row_sizes, column_sizes) = (sizes(&a, &rows), sizes(&b, &columns));
    let (stack_sizes, inner_sizes) = lengths.split_at(stack.len());
    let (many, k) = (stack_sizes.iter().product::<usize>(), inner_sizes.iter().product::<usize>());
    let (m, n) = (row_sizes.iter().product::<usize>(), column_sizes.iter().product::<usize>());
    for wide in [[many, m, k], [many, k, n], [many, m, n]] {
        call.allowance.fits(&wide)?;
    }
    let side = |t: Term, order: Vec<&Vec<AxisName>>, wide: Vec<usize>, shape: Vec<usize>| -> Checked<Floats> {
        let order: Vec<AxisName> = order.into_iter().flatten().copied().collect();
        let v = t.ordered(call, &order)?;
        expanded(call, v, &wide)?.reshaped(shape)
    };
    let left = side(a, vec![&stack, &rows, &inner], [stack_sizes, &row_sizes, inner_sizes].concat(), vec![many, m, k])?;
    let right = side(b, vec![&stack, &inner, &columns], [stack_sizes, inner_sizes, &column_sizes].concat(), vec![many, k, n])?;
    let labels = [stack.clone(), rows, columns].concat();
    Ok(Term { value: product(call, left, right)?.reshaped([stack_sizes, &row_sizes, &column_sizes].concat())?, labels })
}

impl Term {
    fn shallow(&self) -> Self {
        Self { value: self.value.clone(), labels: self.labels.clone() }
    }
}
