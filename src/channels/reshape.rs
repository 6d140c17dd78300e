//! What the dimensions of a value hang on after a reshape: dimensions that are merged, and such as are split into factors.

use std::collections::HashSet;
use std::sync::Arc;

use super::atoms::{Atoms, PlaceLabel};

/// What the places of a dimension hang on; `None` where nobody knows of any, and they stay.
pub(super) type Dim = Option<Arc<[PlaceLabel]>>;

/// Labels of one dimension are too many beyond this.
const MOST_PLACES: usize = 1 << 22;

/// The dimensions of a value of shape `from` after a reshape to `to`.
///
/// `known` are dimensions of parameters, of which none may vanish. `None` where the shapes do not fit one another, or too much is tied
/// together.
pub(super) fn reshape(
    atoms: &mut Atoms,
    known: &[Arc<[PlaceLabel]>],
    from: &[usize],
    dims: &[Dim],
    to: &[usize],
    why: u32,
) -> Option<Vec<Dim>> {
    if from.contains(&0) || from.iter().product::<usize>() != to.iter().product::<usize>() {
        return None;
    }
    let mut out = vec![None; to.len()];
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        let (first, start) = (i, j);
        let (mut a, mut b) = (1, 1);
        if i < from.len() {
            a *= from[i];
            i += 1;
        }
        if j < to.len() {
            b *= to[j];
            j += 1;
        }
        while a != b {
            if a < b {
                a *= from.get(i)?;
                i += 1;
            } else {
                b *= to.get(j)?;
                j += 1;
            }
        }
        let made = block(atoms, known, (&from[first..i], &dims[first..i]), &to[start..j], why)?;
        out[start..j].clone_from_slice(&made);
    }
    Some(out)
}

/// Dimensions that become others, as a whole.
fn block(atoms: &mut Atoms, known: &[Arc<[PlaceLabel]>], (from, dims): (&[usize], &[Dim]), to: &[usize], why: u32) -> Option<Vec<Dim>> {
    let mut out = vec![None; to.len()];
    if dims.iter().all(Option::is_none) {
        return Some(out);
    }
    let long = |sizes: &[usize]| (0..sizes.len()).filter(|&k| sizes[k] > 1).collect::<Vec<_>>();
    let (sources, targets) = (long(from), long(to));
    if let ([source], [target]) = (&sources[..], &targets[..]) {
        out[*target].clone_from(&dims[*source]);
        return Some(out);
    }
    // What lies behind the last dimension with labels comes along with its places.
    let last = sources.iter().rposition(|&k| dims[k].is_some())?;
    let behind: usize = sources[last + 1..].iter().map(|&k| from[k]).product();
    let &end = targets.last()?;
    let repeat = if to[end].is_multiple_of(behind) { behind } else { 1 };
    let sources = if repeat == 1 { &sources[..] } else { &sources[..=last] };
    let flat = merged(atoms, &sources.iter().map(|&k| (from[k], dims[k].clone())).collect::<Vec<_>>())?;
    let sizes: Vec<usize> = targets.iter().map(|&k| if k == end { to[k] / repeat } else { to[k] }).collect();
    let split = split(atoms, known, &flat, &sizes, &vec![true; sizes.len()], why);
    for (&k, dim) in targets.iter().zip(split) {
        out[k] = match dim {
            Some(labels) if k == end && repeat > 1 => Some(labels.iter().flat_map(|&label| std::iter::repeat_n(label, repeat)).collect()),
            dim => dim,
        };
    }
    Some(out)
}

/// One dimension out of several, the last running fastest.
pub(super) fn merged(atoms: &mut Atoms, dims: &[(usize, Dim)]) -> Option<Vec<PlaceLabel>> {
    let mut flat = vec![PlaceLabel::STAYS];
    for (size, dim) in dims {
        if flat.len().checked_mul(*size)? > MOST_PLACES {
            return None;
        }
        flat = match dim {
            None => flat.into_iter().flat_map(|label| std::iter::repeat_n(label, *size)).collect(),
            Some(labels) if flat.len() == 1 && flat[0].stays() => labels.to_vec(),
            Some(labels) => {
                flat.into_iter().flat_map(|outer| labels.iter().map(move |&inner| [outer, inner])).map(|both| atoms.union(&both)).collect()
            }
        };
    }
    Some(flat)
}

/// A dimension as a product of several, the last running fastest: a place of a factor is gone only as a whole. Factors that are not
/// `allowed` stay.
pub(super) fn split(
    atoms: &mut Atoms,
    known: &[Arc<[PlaceLabel]>],
    flat: &[PlaceLabel],
    sizes: &[usize],
    allowed: &[bool],
    why: u32,
) -> Vec<Dim> {
    // Of one factor only.
    if let Some(k) = sizes.iter().position(|&size| size == flat.len()).filter(|&k| allowed[k]) {
        return (0..sizes.len()).map(|i| (i == k).then(|| flat.into())).collect();
    }
    let mut flat: Vec<PlaceLabel> = flat.iter().map(|&label| atoms.resolve(label)).collect();
    let mut found = common(&flat, sizes, allowed);
    if !explains(atoms, &flat, sizes, &found) {
        let factors: Vec<usize> =
            (0..sizes.len()).filter(|&k| allowed[k] && sizes[k] > 1 && !empties(atoms, known, &flat, sizes, k)).collect();
        let fresh: Vec<Vec<PlaceLabel>> = factors.iter().map(|&k| atoms.fresh(sizes[k])).collect();
        for (i, &label) in flat.iter().enumerate() {
            let parts: Vec<PlaceLabel> = factors.iter().zip(&fresh).map(|(&k, labels)| labels[coordinate(sizes, k, i)]).collect();
            let both = atoms.union(&parts);
            atoms.tie(label, both, why);
        }
        for label in &mut flat {
            *label = atoms.resolve(*label);
        }
        found = common(&flat, sizes, allowed);
    }
    found.into_iter().map(|labels| labels.iter().any(|label| !label.stays()).then(|| labels.into())).collect()
}

/// Place along factor `k` of place `i` of the whole.
fn coordinate(sizes: &[usize], k: usize, i: usize) -> usize {
    i / sizes[k + 1..].iter().product::<usize>() % sizes[k]
}

/// What all places with one coordinate have in common, by factor and coordinate.
fn common(flat: &[PlaceLabel], sizes: &[usize], allowed: &[bool]) -> Vec<Vec<PlaceLabel>> {
    let one = |k: usize| -> Vec<PlaceLabel> {
        if !allowed[k] || sizes[k] == 1 {
            return vec![PlaceLabel::STAYS; sizes[k]];
        }
        let mut found: Vec<Option<PlaceLabel>> = vec![None; sizes[k]];
        for (i, &label) in flat.iter().enumerate() {
            let known = &mut found[coordinate(sizes, k, i)];
            *known = Some(known.map_or(label, |known| known.shared(label)));
        }
        found.into_iter().map(|label| label.unwrap_or(PlaceLabel::STAYS)).collect()
    };
    (0..sizes.len()).map(one).collect()
}

/// Whether the factors together are all that the places hang on.
fn explains(atoms: &mut Atoms, flat: &[PlaceLabel], sizes: &[usize], found: &[Vec<PlaceLabel>]) -> bool {
    flat.iter().enumerate().all(|(i, &label)| {
        let parts: Vec<PlaceLabel> = (0..sizes.len()).map(|k| found[k][coordinate(sizes, k, i)]).collect();
        atoms.union(&parts) == label
    })
}

/// Whether without some place of factor `k` nothing would be left of a known dimension.
fn empties(atoms: &mut Atoms, known: &[Arc<[PlaceLabel]>], flat: &[PlaceLabel], sizes: &[usize], k: usize) -> bool {
    let mut held: Vec<HashSet<u32>> = vec![HashSet::new(); sizes[k]];
    for (i, label) in flat.iter().enumerate() {
        held[coordinate(sizes, k, i)].extend(label.atoms());
    }
    known.iter().any(|dim| {
        let first = dim.first().map_or(PlaceLabel::STAYS, |&label| atoms.resolve(label));
        let rows: Vec<&HashSet<u32>> = held.iter().filter(|row| first.atoms().iter().any(|atom| row.contains(atom))).collect();
        rows.into_iter().any(|row| dim.iter().all(|&label| atoms.resolve(label).atoms().iter().any(|atom| row.contains(atom))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atoms_of(atoms: &mut Atoms, dim: &Dim) -> Vec<Vec<u32>> {
        dim.iter().flat_map(|labels| labels.iter()).map(|&label| atoms.resolve(label).atoms().to_vec()).collect()
    }

    #[test]
    fn a_channel_that_is_spread_over_an_image_is_spread_over_the_row() {
        let mut atoms = Atoms::default();
        let why = atoms.because("why");
        let channels: Dim = Some(atoms.fresh(3).into());
        let dims = reshape(&mut atoms, &[], &[1, 3, 2, 2], &[None, channels.clone(), None, None], &[1, 12], why).unwrap();
        let row = atoms_of(&mut atoms, &dims[1]);
        assert_eq!((row.len(), row[0] == row[3], row[3] == row[4]), (12, true, false));
        // And back.
        let back = reshape(&mut atoms, &[], &[1, 12], &dims, &[1, 3, 4], why).unwrap();
        assert_eq!(atoms_of(&mut atoms, &back[1]), atoms_of(&mut atoms, &channels));
        assert!(back[2].is_none());
    }

    #[test]
    fn heads_and_places_within_them_can_both_go() {
        let mut atoms = Atoms::default();
        let why = atoms.because("why");
        let flat: Dim = Some(atoms.fresh(6).into());
        let dims = reshape(&mut atoms, &[], &[5, 6], &[None, flat.clone()], &[5, 2, 3], why).unwrap();
        assert!(dims[0].is_none());
        let (heads, within) = (atoms_of(&mut atoms, &dims[1]), atoms_of(&mut atoms, &dims[2]));
        let mut both = [heads[1].clone(), within[2].clone()].concat();
        both.sort_unstable();
        assert_eq!(atoms_of(&mut atoms, &flat)[5], both);
    }

    #[test]
    fn a_shuffle_of_two_branches_ties_their_places_and_takes_no_branch() {
        let mut atoms = Atoms::default();
        let why = atoms.because("why");
        let branches: Vec<Arc<[PlaceLabel]>> = (0..2).map(|_| atoms.fresh(3).into()).collect();
        let joined: Dim = Some(branches.iter().flat_map(|labels| labels.iter().copied()).collect());
        let dims = reshape(&mut atoms, &branches, &[1, 6, 4], &[None, joined, None], &[1, 2, 3, 4], why).unwrap();
        assert!(dims[1].is_none(), "no branch goes as a whole");
        assert_eq!(atoms_of(&mut atoms, &Some(branches[0].clone())), atoms_of(&mut atoms, &Some(branches[1].clone())));
    }
}
