//! Channels that are named one by one on the command line: `conv_stem=0,3,5-9`.

use std::collections::BTreeMap;

use crate::channels::{ByHand, Channels, Unit};

/// Channels of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    group: String,
    /// First and last of every run.
    runs: Vec<[usize; 2]>,
}

/// Reads `GROUP=0,3,5-9`.
pub(super) fn named(text: &str) -> Result<Named, String> {
    let refused = || format!("“{text}” names no channels; write a group and the numbers of its channels: conv_stem=0,3,5-9");
    let (group, list) = text.rsplit_once('=').filter(|(group, _)| !group.is_empty()).ok_or_else(refused)?;
    let run = |part: &str| -> Option<[usize; 2]> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let run = [first.trim().parse().ok()?, last.trim().parse().ok()?];
        (run[0] <= run[1]).then_some(run)
    };
    let runs = list.split(',').map(run).collect::<Option<Vec<_>>>().ok_or_else(refused)?;
    Ok(Named { group: group.to_owned(), runs })
}

/// What a person says of single channels.
pub(super) fn by_hand(channels: &Channels, removed: &[Named], kept: &[Named]) -> anyhow::Result<BTreeMap<Unit, ByHand>> {
    let mut said: BTreeMap<Unit, ByHand> = BTreeMap::new();
    for (named, by_hand) in [(removed, ByHand::Goes), (kept, ByHand::Stays)] {
        for Named { group, runs } in named {
            let Some(found) = channels.groups.iter().find(|other| other.name == *group) else {
                anyhow::bail!("no group of channels is called “{group}”; shrink --plan lists them");
            };
            for &[first, last] in runs {
                let Some(units) = found.units.get(first..=last) else {
                    anyhow::bail!("“{group}” has {} channels, counted from 0: there is none of number {last}", found.units.len());
                };
                for &unit in units {
                    anyhow::ensure!(
                        said.insert(unit, by_hand).is_none_or(|before| before == by_hand),
                        "a channel of “{group}” between {first} and {last} is to be removed and to be kept"
                    );
                }
            }
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_named_by_numbers_and_runs() {
        let read = |text| named(text).map(|Named { group, runs }| (group, runs)).ok();
        assert_eq!(read("blocks.0=1"), Some(("blocks.0".into(), vec![[1, 1]])));
        assert_eq!(read("a=b=0,3, 5-9"), Some(("a=b".into(), vec![[0, 0], [3, 3], [5, 9]])));
        for text in ["conv", "=1", "conv=", "conv=a", "conv=1,", "conv=9-5", "conv=-1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
