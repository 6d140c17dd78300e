//! The two methods on screen: the one that is applied, and the one beside it.

use eframe::egui::{self, Ui};

use crate::measure::{Figures, Outcome};
use crate::prune::{Method, PruneError};

use super::{text, theme};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What is fixed and saved; drawn solid.
    Applied,
    /// What it is compared with; drawn as a line.
    Beside,
}

impl Side {
    /// Both, in the order in which they are shown.
    pub const BOTH: [Self; 2] = [Self::Applied, Self::Beside];

    /// The method that stands there.
    pub(super) fn method(self, figures: &Figures) -> Method {
        let applied = figures.recipe.method;
        match self {
            Self::Applied => applied,
            Self::Beside => figures.outcomes.iter().map(|(method, _)| method).find(|method| *method != applied).unwrap_or(applied),
        }
    }

    /// What the method that stands there does; `None` where it cannot be applied at this amount.
    pub(super) fn outcome(self, figures: &Figures) -> Option<&Outcome> {
        figures.of(self.method(figures)).ok()
    }
}

/// The applied method and the one beside it.
pub(super) fn methods(figures: &Figures) -> [Method; 2] {
    Side::BOTH.map(|side| side.method(figures))
}

/// What both methods do; `None` where one of them cannot be applied at this amount.
pub(super) fn outcomes(figures: &Figures) -> Option<[&Outcome; 2]> {
    let [applied, beside] = Side::BOTH.map(|side| side.outcome(figures));
    Some([applied?, beside?])
}

/// Why a method cannot be applied at this amount, a line for each of the two that cannot; the other one is not in its way.
pub(super) fn obstacles(figures: &Figures) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (_, outcome) in figures.outcomes.iter() {
        if let Err(why) = outcome
            && !matches!(why, PruneError::EmptyScope)
        {
            let line = text::sentence(&why.to_string());
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines
}

/// Shows [`obstacles`], where figures would be.
pub(super) fn obstacles_ui(ui: &mut Ui, figures: &Figures) {
    for line in obstacles(figures) {
        ui.add(egui::Label::new(egui::RichText::new(line).color(theme::palette(ui).weak)).wrap());
    }
}
