//! Everything that decides a mask: scope, score, pattern, method and amount.

use crate::graph::{BatchNorm, Graph, Kind, ModuleId, ParameterId, Role};

use super::method::Method;
use super::pattern::Pattern;
use super::score::Score;
use super::{Amount, PruneError};

/// Why a parameter that is ticked is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exempt {
    /// Groups of inputs do not come out even.
    #[error("its {inputs} inputs do not divide into groups of {of}")]
    Indivisible {
        /// Inputs of one output.
        inputs: usize,
        /// Length of a group.
        of: u8,
    },
    /// A bias, a table, or what no image reached.
    #[error("it multiplies no inputs")]
    NoInputs,
    /// It has no slices.
    #[error("it is a vector, which has no slices")]
    Vector,
    /// The score is worked out on inputs that nobody saw.
    #[error("it multiplies no inputs that were measured")]
    NotMeasured,
    /// The file of scores or masks says nothing of it.
    #[error("the file of scores has no array for it")]
    NotGiven,
    /// Places in its order would not fit.
    #[error("it has more than 4 294 967 295 elements, which only magnitudes one by one can order")]
    TooLarge,
}

/// Everything that a person sets before weights are fixed, and that decides the masks.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// What ranks the elements of a parameter.
    pub score: Score,
    /// Which of them may go together.
    pub pattern: Pattern,
    /// How elements are chosen.
    pub method: Method,
    /// How many.
    pub amount: Amount,
    /// Whether biases are pruned like weights.
    pub biases: bool,
    /// Per module: it may be pruned.
    pub ticked: Vec<bool>,
    /// Per module: it stays as it is, ticked or not.
    pub locked: Vec<bool>,
    /// Per module: an amount of its own, which the method does not touch; the rest shares what is left of the whole.
    pub own: Vec<Option<Amount>>,
}

impl Recipe {
    /// Nothing pruned yet; ticked is every type whose weight has more than one dimension. Biases are in, except where batch
    /// normalisation was folded into them.
    #[must_use]
    pub fn new(graph: &Graph) -> Self {
        let ticked = graph
            .modules
            .iter()
            .map(|m| {
                m.parameters.iter().any(|&p| {
                    graph.parameter(p).kind == Kind::Weight && graph.parameter(p).shape.len() > 1 && graph.parameter(p).obstacle().is_none()
                })
            })
            .collect();
        Self {
            score: Score::Magnitude,
            pattern: Pattern::Elements,
            method: Method::Global,
            amount: Amount::Fraction(0.0),
            biases: graph.batch_norm != Some(BatchNorm::Folded),
            ticked,
            locked: vec![false; graph.modules.len()],
            own: vec![None; graph.modules.len()],
        }
    }

    /// Whether they differ in nothing but the method: what was measured for both methods belongs to both.
    #[must_use]
    pub fn is_but_for_method(&self, other: &Self) -> bool {
        Self { method: other.method, ..self.clone() } == *other
    }

    /// The same, with nothing pruned: amounts of modules' own are gone, too.
    #[must_use]
    pub fn without_amount(&self) -> Self {
        Self { amount: Amount::Fraction(0.0), own: vec![None; self.own.len()], ..self.clone() }
    }

    /// Whether a module may be pruned at all under this recipe.
    #[must_use]
    pub fn includes(&self, module: ModuleId) -> bool {
        self.ticked[module.0] && !self.locked[module.0]
    }

    /// The parameters of the scope, in graph order.
    #[must_use]
    pub fn scope(&self, graph: &Graph) -> Vec<ParameterId> {
        (0..graph.parameters.len())
            .map(ParameterId)
            .filter(|&id| {
                let parameter = graph.parameter(id);
                self.is_meant(graph, id) && parameter.obstacle().is_none() && self.exempt(graph, id).is_none()
            })
            .collect()
    }

    /// The parameters that are ticked and that score or pattern leave out, with the reason.
    #[must_use]
    pub fn left_out(&self, graph: &Graph) -> Vec<(ParameterId, Exempt)> {
        let ids = (0..graph.parameters.len()).map(ParameterId);
        ids.filter(|&id| self.is_meant(graph, id) && graph.parameter(id).obstacle().is_none())
            .filter_map(|id| Some((id, self.exempt(graph, id)?)))
            .collect()
    }

    #[inline]
    fn is_meant(&self, graph: &Graph, id: ParameterId) -> bool {
        let parameter = graph.parameter(id);
        self.includes(parameter.module) && (self.biases || parameter.kind == Kind::Weight)
    }

    /// Whether elements go one by one in the order of their magnitudes.
    #[inline]
    #[must_use]
    pub fn is_by_magnitude(&self) -> bool {
        matches!(self.score, Score::Magnitude) && self.pattern == Pattern::Elements
    }

    /// Whether score or pattern say how many elements go, so that the amount says nothing.
    #[inline]
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.pattern.is_decided() || self.score.is_mask()
    }

    /// Whether the elements of a parameter go in another order than that of their magnitudes.
    #[inline]
    #[must_use]
    pub fn orders(&self, graph: &Graph, id: ParameterId) -> bool {
        !self.is_by_magnitude() && self.is_meant(graph, id) && self.exempt(graph, id).is_none()
    }

    /// Why score or pattern do not apply to a parameter; `None` where they do.
    fn exempt(&self, graph: &Graph, id: ParameterId) -> Option<Exempt> {
        if self.is_by_magnitude() {
            return None;
        }
        let parameter = graph.parameter(id);
        let role = graph.owner(id).role;
        if !self.score.covers(id) {
            return Some(if matches!(self.score, Score::Wanda(_)) { Exempt::NotMeasured } else { Exempt::NotGiven });
        }
        if u32::try_from(parameter.elements).is_err() {
            return Some(Exempt::TooLarge);
        }
        let axes = parameter.axes(role);
        match self.pattern {
            _ if self.score.is_mask() => None,
            Pattern::Elements => None,
            Pattern::Slices { .. } => axes.is_none().then_some(Exempt::Vector),
            Pattern::Groups { of, .. } => match axes.filter(|_| role != Role::Embedding).map(|axes| axes.inputs(&parameter.shape).size) {
                None => Some(Exempt::NoInputs),
                Some(inputs) if !inputs.is_multiple_of(of.into()) => Some(Exempt::Indivisible { inputs, of }),
                Some(_) => None,
            },
        }
    }

    /// Gives all modules whose name matches `pattern` an amount of their own.
    ///
    /// # Errors
    /// A pattern that matches no module of the network.
    pub fn set_own(&mut self, graph: &Graph, pattern: &str, amount: Amount) -> Result<(), PruneError> {
        let mut is_known = false;
        for (_, own) in graph.modules.iter().zip(&mut self.own).filter(|(module, _)| glob(pattern, &module.name)) {
            is_known = true;
            *own = Some(amount);
        }
        if is_known { Ok(()) } else { Err(PruneError::UnknownModule { pattern: pattern.to_owned() }) }
    }

    /// Ticks modules by type and by name, as the command line does; a pattern may hold `*` and `?`. Empty lists leave the ticks.
    ///
    /// # Errors
    /// A type or pattern that matches no module of the network.
    pub fn tick_only(&mut self, graph: &Graph, types: &[String], patterns: &[String]) -> Result<(), PruneError> {
        if let Some(unknown) = types.iter().find(|t| !graph.modules.iter().any(|m| m.kind == **t)) {
            let known = graph.types().iter().map(|(kind, _)| *kind).collect::<Vec<_>>().join(", ");
            return Err(PruneError::UnknownType { name: unknown.clone(), known });
        }
        if let Some(unknown) = patterns.iter().find(|p| !graph.modules.iter().any(|m| glob(p, &m.name))) {
            return Err(PruneError::UnknownModule { pattern: unknown.clone() });
        }
        for (module, ticked) in graph.modules.iter().zip(&mut self.ticked) {
            // With patterns alone, every module that they name is meant, whatever its type.
            let by_type = if types.is_empty() { !patterns.is_empty() || *ticked } else { types.contains(&module.kind) };
            *ticked = by_type && (patterns.is_empty() || patterns.iter().any(|p| glob(p, &module.name)));
        }
        Ok(())
    }
}

/// Whether `name` matches `pattern`: `*` stands for any text, `?` for one character.
#[must_use]
pub fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // The last star seen, and how much of the name it has taken: enough to step back to.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, n) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match() {
        for (pattern, name, wanted) in [
            ("blocks.*", "blocks.0.0.conv", true),
            ("*.conv", "blocks.0.0.conv", true),
            ("*dw*", "blocks.2.0.dw_mid.conv", true),
            ("blocks.?.0.*", "blocks.2.0.dw_mid.conv", true),
            ("blocks", "blocks.0", false),
            ("*a*b*c", "aXbXbXc", true),
            ("*a*b*c", "aXbXbX", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(glob(pattern, name), wanted, "{pattern} {name}");
        }
    }
}
