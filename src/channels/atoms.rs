//! What falls together: atoms of removal, the sets of them that the places of a dimension hang on, and what ties or freezes them.

/// Atoms that one place can hang on. Heads and positions within a head are two; more than this is frozen.
const MOST: usize = 4;

/// No atom.
const NONE: u32 = u32::MAX;

/// What one place along a dimension hangs on: it is gone as soon as one of these atoms is. Without any it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PlaceLabel([u32; MOST]);

impl PlaceLabel {
    /// Of a place that stays.
    pub(super) const STAYS: Self = Self([NONE; MOST]);

    /// Of a place that hangs on one atom.
    pub(super) fn of(atom: u32) -> Self {
        let mut atoms = [NONE; MOST];
        atoms[0] = atom;
        Self(atoms)
    }

    /// The atoms, in order.
    pub(super) fn atoms(&self) -> &[u32] {
        &self.0[..self.0.iter().position(|&atom| atom == NONE).unwrap_or(MOST)]
    }

    /// Whether nothing takes it away.
    pub(super) fn stays(&self) -> bool {
        self.0[0] == NONE
    }

    /// What both hang on.
    pub(super) fn shared(&self, other: Self) -> Self {
        let mut out = [NONE; MOST];
        for (place, &atom) in self.atoms().iter().filter(|&&atom| other.contains(atom)).enumerate() {
            out[place] = atom;
        }
        Self(out)
    }

    fn contains(&self, atom: u32) -> bool {
        self.atoms().contains(&atom)
    }
}

/// All atoms of a network.
#[derive(Debug, Default)]
pub(super) struct Atoms {
    parents: Vec<u32>,
    /// What stands in the place of an atom that turned out to be several.
    refined: Vec<Option<PlaceLabel>>,
    /// What falls together whether it stays or not.
    twins: Vec<u32>,
    /// Why an atom stays, by number of the reason.
    frozen: Vec<Option<u32>>,
    /// With how many others an atom was made.
    made: Vec<u32>,
    reasons: Vec<String>,
}

impl Atoms {
    /// Labels of a dimension of so many places that nothing is known of.
    pub(super) fn fresh(&mut self, size: usize) -> Vec<PlaceLabel> {
        let first = self.parents.len() as u32;
        let atoms = first..first + size as u32;
        self.parents.extend(atoms.clone());
        self.twins.extend(atoms.clone());
        self.refined.resize(self.parents.len(), None);
        self.frozen.resize(self.parents.len(), None);
        self.made.resize(self.parents.len(), size as u32);
        atoms.map(PlaceLabel::of).collect()
    }

    /// The atom that stands for all that an atom is tied to.
    pub(super) fn root(&mut self, atom: u32) -> u32 {
        find(&mut self.parents, atom)
    }

    /// The atom that stands for all that an atom falls together with, whether it stays or not.
    pub(super) fn twin(&mut self, atom: u32) -> u32 {
        find(&mut self.twins, atom)
    }

    /// Why an atom stays, or the first of those that it was refined to.
    pub(super) fn why_stays(&mut self, atom: u32) -> Option<String> {
        let mut rest = vec![atom];
        while let Some(atom) = rest.pop() {
            let root = self.root(atom);
            match (self.refined[root as usize], self.frozen[root as usize]) {
                (Some(refined), _) => rest.extend(refined.atoms().iter().rev()),
                (None, Some(reason)) => return Some(self.reasons[reason as usize].clone()),
                (None, None) => {}
            }
        }
        None
    }

    /// Number of a reason, to freeze with.
    pub(super) fn because(&mut self, reason: impl Into<String>) -> u32 {
        let reason = reason.into();
        if let Some(known) = self.reasons.iter().rposition(|known| *known == reason) {
            return known as u32;
        }
        self.reasons.push(reason);
        self.reasons.len() as u32 - 1
    }

    /// A label as far as it is known by now: roots, what they were refined to, less what is frozen.
    pub(super) fn resolve(&mut self, label: PlaceLabel) -> PlaceLabel {
        self.union(&[label])
    }

    /// What a place hangs on that is gone when any of these is.
    pub(super) fn union(&mut self, labels: &[PlaceLabel]) -> PlaceLabel {
        let mut out = [NONE; MOST];
        let mut len = 0;
        let mut rest: Vec<u32> = Vec::new();
        for &atom in labels.iter().flat_map(PlaceLabel::atoms) {
            rest.push(atom);
            while let Some(atom) = rest.pop() {
                let root = self.root(atom);
                if let Some(refined) = self.refined[root as usize] {
                    rest.extend_from_slice(refined.atoms());
                } else if self.frozen[root as usize].is_none() && !out[..len].contains(&root) {
                    if len == MOST {
                        let reason = self.because("too much hangs on one channel");
                        self.frozen[root as usize] = Some(reason);
                    } else {
                        out[len] = root;
                        len += 1;
                    }
                }
            }
        }
        out[..len].sort_unstable();
        PlaceLabel(out)
    }

    /// Everything that `label` hangs on stays.
    pub(super) fn freeze(&mut self, label: PlaceLabel, reason: u32) {
        for &atom in self.resolve(label).atoms() {
            self.frozen[atom as usize].get_or_insert(reason);
        }
    }

    /// What two places hang on becomes the same.
    pub(super) fn tie(&mut self, a: PlaceLabel, b: PlaceLabel, reason: u32) {
        if let (Some(&a), Some(&b)) = (a.atoms().first(), b.atoms().first()) {
            let (a, b) = (find(&mut self.twins, a), find(&mut self.twins, b));
            self.twins[a.max(b) as usize] = a.min(b);
        }
        let (a, b) = (self.resolve(a), self.resolve(b));
        if a == b {
            return;
        }
        let only = |of: PlaceLabel, other: PlaceLabel| of.atoms().iter().copied().filter(|&atom| !other.contains(atom)).collect::<Vec<_>>();
        let (mut left, mut right) = (only(a, b), only(b, a));
        if left.len() == 1 && right.len() == 1 {
            return self.join(left[0], right[0]);
        }
        if left.len() > right.len() {
            std::mem::swap(&mut left, &mut right);
        }
        // One that has not been told apart yet is what the other is made of.
        if let ([one], true) = (&left[..], right.len() > 1) {
            let mut atoms = [NONE; MOST];
            atoms[..right.len()].copy_from_slice(&right);
            self.refined[*one as usize] = Some(PlaceLabel(atoms));
            return;
        }
        // Of each kind, those that were made with as many others.
        let made = |atom: &u32| self.made[*atom as usize];
        let pairs: Vec<Option<usize>> = left.iter().map(|one| right.iter().position(|other| made(other) == made(one))).collect();
        let is_clear = left.len() == right.len()
            && pairs.iter().all(Option::is_some)
            && (0..right.len()).all(|i| pairs.iter().filter(|&&pair| pair == Some(i)).count() == 1);
        if is_clear {
            for (i, pair) in pairs.into_iter().enumerate() {
                if let Some(pair) = pair {
                    self.join(left[i], right[pair]);
                }
            }
            return;
        }
        for atom in left.into_iter().chain(right) {
            self.frozen[atom as usize].get_or_insert(reason);
        }
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return;
        }
        let (root, child) = (a.min(b), a.max(b));
        self.parents[child as usize] = root;
        // Neither is refined: labels are resolved before they are joined.
        if self.frozen[root as usize].is_none() {
            self.frozen[root as usize] = self.frozen[child as usize];
        }
    }
}

fn find(parents: &mut [u32], atom: u32) -> u32 {
    let mut root = atom;
    while parents[root as usize] != root {
        root = parents[root as usize];
    }
    let mut at = atom;
    while parents[at as usize] != root {
        at = std::mem::replace(&mut parents[at as usize], root);
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_join_refine_and_freeze() {
        let mut atoms = Atoms::default();
        let why = atoms.because("why");
        let (flat, heads, within) = (atoms.fresh(4), atoms.fresh(2), atoms.fresh(2));
        for i in 0..4 {
            let both = atoms.union(&[heads[i / 2], within[i % 2]]);
            atoms.tie(flat[i], both, why);
        }
        assert_eq!(atoms.resolve(flat[3]).atoms(), [heads[1].0[0], within[1].0[0]]);
        // The same place in both heads: what they share stays shared, and the heads fall together.
        atoms.tie(flat[0], flat[2], why);
        assert_eq!(atoms.resolve(heads[0]), atoms.resolve(heads[1]));
        assert_ne!(atoms.resolve(within[0]), atoms.resolve(within[1]));
        // What stays, stays with all that it is tied to.
        atoms.tie(PlaceLabel::STAYS, within[0], why);
        assert!(atoms.resolve(within[0]).stays());
        assert_eq!(atoms.why_stays(within[0].0[0]).as_deref(), Some("why"));
        assert_eq!(atoms.resolve(flat[0]), atoms.resolve(heads[0]));
    }
}
