//! Layers: what multiplies a value by weights, or values with one another.

use super::Follow;
use crate::channels::reshape::{Dim, merged};
use crate::graph::{Node, ValueId};

/// Convolutions, transposed ones too. Of groups, whole ones can go, and the same places of all.
pub(super) fn convolution(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(x), Some(w), Some(y)) = (node.input(0), node.input(1), node.output(0)) else { return false };
    let is_transposed = node.op == "ConvTranspose";
    let groups = node.attributes.int("group").and_then(|g| usize::try_from(g).ok()).unwrap_or(1).max(1);
    if f.rank(x) < 3 || f.rank(w) != f.rank(x) || !f.size(x, 1).is_multiple_of(groups) || !f.size(y, 1).is_multiple_of(groups) {
        return false;
    }
    let why = f.why(n, node, "ties it to what stays");
    for axis in 2..f.rank(x) {
        let why = f.why(n, node, "slides over it");
        f.freeze_dim(x, axis, why);
        f.freeze_dim(w, axis, why);
    }
    if !f.is_zero(w) && !f.is_zero(x) {
        let why = f.why(n, node, "multiplies it by what cannot be zeroed");
        f.freeze_dim(x, 1, why);
    }
    let made: Dim = if groups == 1 {
        let (input, output) = if is_transposed { (0, 1) } else { (1, 0) };
        f.tie((x, 1), (w, input), why);
        f.own(w, output)
    } else {
        let (inputs, outputs) = (f.size(x, 1) / groups, f.size(y, 1) / groups);
        // A group's first dimension holds outputs, or inputs where it is transposed; the other those of one group.
        let front = f.own(w, 0);
        let front = f.split(&front, &[groups, if is_transposed { inputs } else { outputs }], &[true, true], why);
        let read = f.dim(x, 1);
        let read = f.split(&read, &[groups, inputs], &[true, true], why);
        f.tie_dims(&front[0], &read[0], why);
        let (within, behind) = if is_transposed { (&front[1], outputs) } else { (&read[1], inputs) };
        if is_transposed {
            if inputs > 1 {
                f.tie_dims(within, &read[1], why);
            }
        } else if within.is_some() && behind > 1 {
            let held = f.own(w, 1);
            f.tie_dims(within, &held, why);
        }
        if is_transposed {
            let each = if outputs > 1 { f.own(w, 1) } else { None };
            let Some(all) = merged(&mut f.atoms, &[(groups, front[0].clone()), (outputs, each)]) else { return false };
            Some(all.into())
        } else {
            f.dim(w, 0)
        }
    };
    let mut is_zero = f.is_zero(w) && node.op != "FusedConv";
    if let Some(bias) = node.input(2) {
        let own = f.own(bias, 0);
        f.tie_dims(&made, &own, why);
        is_zero &= f.is_zero(bias);
    }
    if let Some(added) = node.input(3) {
        let own = f.dim(added, 1);
        f.tie_dims(&made, &own, why);
    }
    let mut dims = vec![None; f.rank(y)];
    dims[0] = f.dim(x, 0);
    dims[1] = made;
    f.set(Some(y), dims, is_zero, why);
    true
}

/// What a product sums over is gone only where one of its sides is zero there.
fn contract(f: &mut Follow, n: usize, node: &Node, (a, a_axis): (ValueId, usize), (b, b_axis): (ValueId, usize)) {
    let why = f.why(n, node, "ties it to what stays");
    f.tie((a, a_axis), (b, b_axis), why);
    if !f.is_zero(a) && !f.is_zero(b) {
        let why = f.why(n, node, "sums over what is not zero where it is pruned");
        f.freeze_dim(a, a_axis, why);
    }
}

/// A dimension of a side that the product keeps.
fn kept(f: &mut Follow, value: ValueId, axis: usize) -> Dim {
    if f.tensor(value).is_some() { f.own(value, axis) } else { f.dim(value, axis) }
}

pub(super) fn product(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(a), Some(b), Some(y)) = (node.input(0), node.input(1), node.output(0)) else { return false };
    let (rank_a, rank_b, rank) = (f.rank(a), f.rank(b), f.rank(y));
    if rank_a < 2 || rank_b < 2 {
        return false;
    }
    let why = f.why(n, node, "ties it to what stays");
    contract(f, n, node, (a, rank_a - 1), (b, rank_b - 2));
    let mut dims = vec![None; rank];
    // The dimensions before the matrices are spread over one another.
    for (axis, dim) in dims.iter_mut().enumerate().take(rank - 2) {
        let place = |rank_of: usize| (axis + rank_of).checked_sub(rank);
        let there: Vec<(ValueId, usize)> =
            [(a, rank_a), (b, rank_b)].into_iter().filter_map(|(v, r)| Some((v, place(r)?))).filter(|&(v, p)| f.size(v, p) > 1).collect();
        if let [first, second] = there[..] {
            f.tie(first, second, why);
        }
        *dim = there.iter().find_map(|&(value, place)| f.dim(value, place));
    }
    let is_batch = dims.iter().any(Option::is_some);
    let (rows, columns) = (kept(f, a, rank_a - 2), kept(f, b, rank_b - 1));
    let (za, zb) = (f.is_zero(a), f.is_zero(b));
    let is_zero = (rows.is_none() || za) && (columns.is_none() || zb) && (!is_batch || za || zb);
    dims[rank - 2] = rows;
    dims[rank - 1] = columns;
    f.set(Some(y), dims, is_zero, why);
    true
}

pub(super) fn gemm(f: &mut Follow, n: usize, node: &Node) -> bool {
    let (Some(a), Some(b), Some(y)) = (node.input(0), node.input(1), node.output(0)) else { return false };
    let is_set = |name| node.attributes.int(name).unwrap_or(0) != 0;
    let (turned_a, turned_b) = (usize::from(is_set("transA")), usize::from(is_set("transB")));
    let why = f.why(n, node, "ties it to what stays");
    contract(f, n, node, (a, 1 - turned_a), (b, turned_b));
    let (rows, columns) = (kept(f, a, turned_a), kept(f, b, 1 - turned_b));
    let mut is_zero = (rows.is_none() || f.is_zero(a)) && (columns.is_none() || f.is_zero(b));
    if let Some(c) = node.input(2) {
        is_zero &= f.is_zero(c);
        let rank = f.rank(c);
        for (behind, dim) in [(1, &columns), (2, &rows)] {
            let Some(axis) = rank.checked_sub(behind).filter(|&axis| f.size(c, axis) > 1) else { continue };
            if dim.is_some() {
                let own = f.own(c, axis);
                f.tie_dims(dim, &own, why);
            } else {
                f.freeze_dim(c, axis, why);
            }
        }
    }
    f.set(Some(y), vec![rows, columns], is_zero, why);
    true
}

pub(super) fn einsum(f: &mut Follow, n: usize, node: &Node) -> bool {
    let Some(equation) = node.attributes.string("equation").map(|text| text.replace(' ', "")) else { return false };
    let Some((left, right)) = equation.split_once("->") else { return false };
    let terms: Vec<Vec<char>> = left.split(',').map(|term| term.chars().collect()).collect();
    let inputs: Vec<ValueId> = node.inputs.iter().flatten().copied().collect();
    let is_plain = |letters: &[char]| letters.iter().enumerate().all(|(i, c)| c.is_alphabetic() && !letters[..i].contains(c));
    let right: Vec<char> = right.chars().collect();
    if terms.len() != inputs.len() || !terms.iter().all(|term| is_plain(term)) || !is_plain(&right) {
        return false;
    }
    if terms.iter().zip(&inputs).any(|(term, &value)| term.len() != f.rank(value)) {
        return false;
    }
    let why = f.why(n, node, "ties it to what stays");
    let places = |letter: char| -> Vec<(ValueId, usize)> {
        terms.iter().zip(&inputs).filter_map(|(term, &value)| Some((value, term.iter().position(|&c| c == letter)?))).collect()
    };
    let mut letters: Vec<char> = terms.concat();
    letters.sort_unstable();
    letters.dedup();
    for letter in letters {
        let there = places(letter);
        for pair in there.windows(2) {
            f.tie(pair[0], pair[1], why);
        }
        if !right.contains(&letter) && !there.iter().any(|&(value, _)| f.is_zero(value)) {
            let why = f.why(n, node, "sums over what is not zero where it is pruned");
            for (value, axis) in there {
                f.freeze_dim(value, axis, why);
            }
        }
    }
    let mut dims = Vec::new();
    let mut is_zero = true;
    for &letter in &right {
        let there = places(letter);
        let known = there.iter().find_map(|&(value, axis)| f.dim(value, axis));
        let is_made = there.iter().all(|&(value, _)| f.tensor(value).is_some());
        let dim = match (known, there.first()) {
            (None, Some(&(value, axis))) if is_made => f.own(value, axis),
            (known, _) => known,
        };
        is_zero &= dim.is_none() || there.iter().any(|&(value, _)| f.is_zero(value));
        dims.push(dim);
    }
    f.set(node.output(0), dims, is_zero, why);
    true
}
