//! What the dimensions of a weight are in an `Einsum`: summed over with what goes in, or put out.

use super::layers::ChannelAxis;
use super::module::Layout;

/// A weight among the factors of a sum of products.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Factor {
    pub(super) layout: Layout,
    /// Lengths of its dimensions that are put out and that no other factor has.
    pub(super) outputs: Vec<usize>,
}

/// Longer equations name more dimensions than there are letters.
const MAX_EQUATION: usize = 1 << 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LabelSide {
    /// Summed over.
    Input,
    /// Put out, of this factor alone.
    Output,
    /// Put out, of others too: products side by side.
    Batch,
}

/// What factor number `i` of an equation is, as the file holds it in this shape, with all its dimensions reversed where it is
/// `transposed`; `None` where nothing is summed over it, so that it scales and mixes nothing.
pub(super) fn factor(equation: &str, i: usize, shape: &[usize], transposed: bool) -> Option<Factor> {
    if equation.len() > MAX_EQUATION {
        return None;
    }
    let equation: String = equation.split_whitespace().collect();
    let (left, right) = equation.split_once("->").map_or((equation.as_str(), None), |(left, right)| (left, Some(right)));
    let parts: Vec<&str> = left.split(',').collect();
    let own = *parts.get(i)?;
    let is_elsewhere = |label: &str| parts.iter().enumerate().any(|(j, part)| j != i && part.contains(label));
    // Without an arrow, what occurs once is put out.
    let is_put_out = |label: &str| right.map_or_else(|| left.matches(label).count() == 1, |right| right.contains(label));
    let side = |label: &str| match (is_put_out(label), is_elsewhere(label)) {
        (true, true) => LabelSide::Batch,
        (true, false) => LabelSide::Output,
        (false, _) => LabelSide::Input,
    };
    let letters = own.replace("...", "").chars().count();
    let dots = shape.len().checked_sub(letters).filter(|&dots| (dots > 0) <= own.contains("..."));
    let mut sides = Vec::new();
    let mut rest = own;
    while let Some(first) = rest.chars().next() {
        if let Some(behind) = rest.strip_prefix("...") {
            let side = if is_elsewhere("...") { LabelSide::Batch } else { LabelSide::Output };
            sides.extend(std::iter::repeat_n(side, dots.unwrap_or(0)));
            rest = behind;
        } else {
            let (label, behind) = rest.split_at(first.len_utf8());
            sides.push(side(label));
            rest = behind;
        }
    }
    if !sides.contains(&LabelSide::Input) {
        return None;
    }
    // Given another shape on its way, its dimensions are others in the file.
    if dots.is_none() || (transposed && shape.len() != 2) {
        return Some(Factor { layout: Layout::Mixed, outputs: Vec::new() });
    }
    if transposed {
        sides.reverse();
    }
    let outputs = sides.iter().zip(shape).filter(|(side, _)| **side == LabelSide::Output).map(|(_, &length)| length).collect();
    // Before a matrix, matrices that lie side by side.
    let layout = match sides[..] {
        [ref before @ .., LabelSide::Input, LabelSide::Output] if !before.contains(&LabelSide::Input) => Layout::InFirst,
        [ref before @ .., LabelSide::Output, LabelSide::Input] if !before.contains(&LabelSide::Input) => Layout::OutFirst,
        _ => Layout::Mixed,
    };
    Some(Factor { layout, outputs })
}

/// The factor that a matrix, number `i` of two, is multiplied by, and where in it the dimension lies that both are summed over.
pub(super) fn multiplied(equation: &str, i: usize) -> Option<(usize, ChannelAxis)> {
    if equation.len() > MAX_EQUATION {
        return None;
    }
    let equation: String = equation.split_whitespace().collect();
    let (left, right) = equation.split_once("->").map_or((equation.as_str(), None), |(left, right)| (left, Some(right)));
    let (first, second) = left.split_once(',').filter(|(_, second)| !second.contains(','))?;
    let (own, other) = if i == 0 { (first, second) } else { (second, first) };
    // In both, and so put out where the equation says so alone.
    let shared = own.chars().find(|&c| c.is_alphabetic() && other.contains(c) && right.is_none_or(|right| !right.contains(c)))?;
    let (before, behind) = other.split_once(shared)?;
    let channels = match (before, behind.chars().count()) {
        (_, 0) => ChannelAxis::Last,
        (_, 1) => ChannelAxis::LastButOne,
        (before, _) if before.chars().count() == 1 => ChannelAxis::Second,
        _ => return None,
    };
    Some((1 - i, channels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_are_told_by_the_equation() {
        for (equation, i, shape, transposed, layout, outputs) in [
            ("bij,jk->bik", 1, &[4, 6][..], false, Layout::InFirst, &[6][..]),
            ("bij,kj->bik", 1, &[6, 4], false, Layout::OutFirst, &[6]),
            ("bij,kj->bik", 1, &[4, 6], true, Layout::InFirst, &[6]),
            (" kj , b j ", 0, &[6, 4], false, Layout::OutFirst, &[6]),
            ("...j,jk->...k", 1, &[4, 6], false, Layout::InFirst, &[6]),
            ("bld,hdk->blhk", 1, &[2, 8, 4], false, Layout::InFirst, &[2, 4]),
            // Experts, heads, and a kernel that a network of heads ends with.
            ("ebd,edf->ebf", 1, &[3, 4, 6], false, Layout::InFirst, &[6]),
            ("...d,...df->...f", 1, &[3, 4, 6], false, Layout::InFirst, &[6]),
            ("bld,dhk->blhk", 1, &[8, 2, 4], false, Layout::Mixed, &[2, 4]),
            ("blhk,hkd->bld", 1, &[2, 4, 8], false, Layout::Mixed, &[8]),
            // A matrix that is given three dimensions on its way.
            ("bld,dhk->blhk", 1, &[8, 8], false, Layout::Mixed, &[]),
            ("bld,dhk->blhk", 1, &[4, 2, 8], true, Layout::Mixed, &[]),
        ] {
            let wanted = Factor { layout, outputs: outputs.to_vec() };
            assert_eq!(factor(equation, i, shape, transposed), Some(wanted), "{equation} {shape:?}");
        }
        for (equation, i, multiplies) in [
            ("bti,ij->btj", 1, Some((0, ChannelAxis::Last))),
            ("ij, ...j -> ...i", 0, Some((1, ChannelAxis::Last))),
            ("ij,jk", 0, Some((1, ChannelAxis::LastButOne))),
            ("bchw,cd->bdhw", 1, Some((0, ChannelAxis::Second))),
            ("...chw,cd->...dhw", 1, None),
            ("bci,cd,de->bei", 1, None),
            ("bi,i->bi", 1, None),
        ] {
            assert_eq!(multiplied(equation, i), multiplies, "{equation}");
        }
        for (equation, i, shape) in
            [("bij,ij->bij", 1, &[2, 3][..]), ("b,ij->bij", 1, &[2, 3]), ("bi,ij->bj", 2, &[2, 3]), ("", 0, &[2, 3]), ("é,->é", 1, &[])]
        {
            assert_eq!(factor(equation, i, shape, false), None, "{equation}");
        }
    }
}
