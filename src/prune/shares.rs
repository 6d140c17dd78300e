//! Methods that give every parameter a number of its own, from its shape and place in the network.

use super::amount::{Amount, AmountError};
use super::method::Method;
use super::select::Candidate;
use crate::graph::Role;

/// What the last linear layer loses at most under `uniform+`.
const HEAD_SHARE: f64 = 0.8;

/// Units to prune of every candidate, of those that it has left.
///
/// # Errors
/// An amount out of range, or one that the method does not reach.
pub(super) fn counts(candidates: &[Candidate], method: Method, amount: Amount) -> Result<Vec<u64>, AmountError> {
    let left: Vec<f64> = candidates.iter().map(|c| c.elements_left() as f64).collect();
    let shares = match method {
        Method::Erk => erk(candidates, &left, share(candidates, amount)?),
        Method::UniformPlus => uniform_plus(candidates, &left, share(candidates, amount)?)?,
        // Each on its own, whatever the others have.
        _ => return candidates.iter().map(|c| amount.count(c.left(), c.name)).collect(),
    };
    let count = |(share, c): (f64, &Candidate)| ((share * c.left() as f64).round_ties_even().max(0.0) as u64).min(c.left());
    Ok(shares.into_iter().zip(candidates).map(count).collect())
}

/// The amount as a share of everything that is left, 0..=1.
fn share(candidates: &[Candidate], amount: Amount) -> Result<f64, AmountError> {
    let left: u64 = candidates.iter().map(Candidate::left).sum();
    let count = amount.count(left, "the scope")?;
    Ok(match amount {
        Amount::Fraction(value) => value,
        Amount::Count(_) if left == 0 => 0.0,
        Amount::Count(_) => count as f64 / left as f64,
    })
}

/// Evci et al. 2020: what a parameter keeps is proportional to the sum of its dimensions over their product; one that would keep
/// more than it has stays whole, and the others share anew.
fn erk(candidates: &[Candidate], left: &[f64], amount: f64) -> Vec<f64> {
    let all: f64 = left.iter().sum();
    let raw: Vec<f64> = candidates
        .iter()
        .map(|c| {
            let elements: f64 = c.shape.iter().map(|&d| d as f64).product();
            if c.shape.is_empty() || elements == 0.0 { 1.0 } else { c.shape.iter().map(|&d| d as f64).sum::<f64>() / elements }
        })
        .collect();
    let mut is_whole: Vec<bool> = left.iter().map(|&n| n == 0.0).collect();
    loop {
        let whole: f64 = left.iter().zip(&is_whole).filter(|(_, whole)| **whole).map(|(n, _)| n).sum();
        let weighed: f64 = left.iter().zip(&raw).zip(&is_whole).filter(|(_, whole)| !**whole).map(|((n, raw), _)| raw * n).sum();
        let density = ((1.0 - amount) * all - whole) / weighed;
        let mut has_grown = false;
        for (whole, raw) in is_whole.iter_mut().zip(&raw) {
            let exceeds = !*whole && density * raw > 1.0;
            *whole |= exceeds;
            has_grown |= exceeds;
        }
        if !has_grown {
            return raw.iter().zip(&is_whole).map(|(raw, whole)| if *whole { 0.0 } else { 1.0 - density * raw }).collect();
        }
    }
}

/// Gale et al. 2019: the first convolution stays, the last linear layer loses at most four fifths, the others share equally.
fn uniform_plus(candidates: &[Candidate], left: &[f64], amount: f64) -> Result<Vec<f64>, AmountError> {
    let sum = |takes: &dyn Fn(&Candidate) -> bool| -> f64 { candidates.iter().zip(left).filter(|(c, _)| takes(c)).map(|(_, n)| n).sum() };
    let all: f64 = left.iter().sum();
    let (head, others) = (sum(&|c| c.is_head()), sum(&|c| !c.is_stem() && !c.is_head()));
    let wanted = amount * all;
    let even = if head + others > 0.0 { wanted / (head + others) } else { 0.0 };
    let (of_head, of_others) = if head > 0.0 && even > HEAD_SHARE {
        (HEAD_SHARE, if others > 0.0 { (wanted - HEAD_SHARE * head) / others } else { f64::INFINITY })
    } else {
        (even, even)
    };
    let most = if all > 0.0 { (HEAD_SHARE * head + others) / all } else { 1.0 };
    // Half an element more than there is comes from rounding.
    if of_others * others > others + 0.5 || amount * all > most * all + 0.5 {
        return Err(AmountError::Reach {
            method: Method::UniformPlus.name(),
            most,
            why: "the first convolution stays dense, and the last linear layer keeps at least 20 %",
        });
    }
    let share = |c: &Candidate| match c.role {
        _ if c.is_stem() => 0.0,
        _ if c.is_head() => of_head,
        _ => of_others.min(1.0),
    };
    Ok(candidates.iter().map(share).collect())
}

impl Candidate<'_> {
    fn is_stem(&self) -> bool {
        self.role == Role::Stem && self.shape.len() > 1
    }

    fn is_head(&self) -> bool {
        self.role == Role::Head && self.shape.len() > 1
    }
}
