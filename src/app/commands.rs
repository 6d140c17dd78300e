//! What a person can ask for, as data: names, tooltips and shortcuts stand in one table, and one place runs them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use eframe::egui::{Key, KeyboardShortcut, Modifiers};

use crate::engine::ChannelPlan;
use crate::export::{Form, Format};
use crate::graph::{ModuleId, ParameterId};
use crate::images::{ClassOrder, Preprocess};
use crate::measurer::RepairChoice;
use crate::prune::{Method, Recipe, Step};

use super::costs::ScanView;
use super::picker::Act;
use super::state::{Column, Grouping, Tab};

/// Something that a panel asks for; run after the frame.
#[derive(Debug, Clone)]
pub(super) enum Command {
    /// One of the table below.
    Do(Action),
    OpenPath(PathBuf),
    Set(Box<Recipe>, Step),
    /// Rank the elements by another score.
    Score(ScoreChoice),
    /// Show this method beside the applied one; where it is the applied one, they change places.
    Compare(Method),
    /// Measure and draw the curve of this method, or no more.
    TickCurve(Method, bool),
    EndDrag,
    Select(ParameterId),
    /// Another plan of what goes of the channels; a step of its own with [`Command::EndDrag`] behind it.
    Plan(Box<ChannelPlan>),
    /// A group of channels, by number.
    SelectGroup(usize),
    /// Channels of the selected group in the order of their scores, or of the module's outputs.
    SortChannels(bool),
    /// These modules are marked in the tree, to be changed together.
    Mark(BTreeSet<ModuleId>),
    Show(Tab),
    Group(Grouping),
    Search(String),
    Fold(String),
    SortBy(Column),
    /// Points of accuracy that may be lost.
    Bearable(f64),
    /// Fields for the preprocessing.
    EditPreprocessing(bool),
    /// Other preprocessing; `None` as the model's files say.
    Preprocess(Option<Box<Preprocess>>),
    /// Numbered classes are in this order.
    OrderClasses(ClassOrder),
    /// The output of this name answers; `None` for the one that classifies.
    Output(Option<String>),
    /// How to repair.
    ChooseRepair(RepairChoice),
    /// Whether curves and searches are of repaired networks too.
    WithRepair(bool),
    /// Whether what channels are removed from is repaired first.
    RepairBeforeRemoval(bool),
    /// All repaired layers in their list.
    ListLayers(bool),
    /// Images of a timed pass.
    Batch(usize),
    /// How the scan is looked at.
    ViewScan(ScanView),
    /// All weights in the list of losses.
    ListAll(bool),
    ShowOriginal(bool),
    ShowZeros(bool),
    PercentText(Option<String>),
    CountText(Option<String>),
    Dismiss(usize),
    Answer(Answer),
    /// Something done to the window's own file dialog.
    Pick(Act),
    Complain(String),
}

/// A score as it is chosen; what it needs is read or measured first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScoreChoice {
    Magnitude,
    /// With this seed.
    Random(u64),
    Wanda,
    File,
}

/// What a person answers to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Replace the file; lose the work; close the help; repair.
    Yes,
    /// Choose images first.
    Images,
    /// Make do with noise.
    Noise,
    /// Save first.
    Save,
    /// Leave everything as it is.
    No,
}

/// What needs no arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Open,
    OpenDemo,
    SaveOnnx,
    SaveSafetensors,
    SaveUnfixed,
    SaveBurnpack,
    SaveRust,
    SaveTable,
    CopyTable,
    SaveChart,
    OpenRecipe,
    SaveRecipe,
    Undo,
    Redo,
    Fix,
    Repair,
    Apply,
    Reset,
    ChooseImages,
    ChooseCalibration,
    ChooseLabels,
    UseNoise,
    MeasureCurve,
    ScanSensitivity,
    FindAmount,
    MeasureChannelCurve,
    FindChannels,
    CopyScan,
    SaveScan,
    MeasureSpeed,
    MeasurePace,
    RemoveChannels,
    Cancel,
    ToggleTheme,
    SwapMethods,
    ToggleDialogs,
    Help,
    NextTab,
    Quit,
}

/// How an action is shown.
pub(super) struct ActionEntry {
    pub label: &'static str,
    pub tooltip: &'static str,
    pub shortcut: Option<KeyboardShortcut>,
}

const COMMAND_SHIFT: Modifiers = Modifiers::COMMAND.plus(Modifiers::SHIFT);

/// The shortcut that is `key` with `modifiers`.
const fn key(modifiers: Modifiers, key: Key) -> KeyboardShortcut {
    KeyboardShortcut::new(modifiers, key)
}

impl Action {
    pub(super) const ALL: [Self; 39] = [
        Self::Open,
        Self::OpenDemo,
        Self::SaveOnnx,
        Self::SaveSafetensors,
        Self::SaveUnfixed,
        Self::SaveBurnpack,
        Self::SaveRust,
        Self::SaveTable,
        Self::CopyTable,
        Self::SaveChart,
        Self::OpenRecipe,
        Self::SaveRecipe,
        Self::Undo,
        Self::Redo,
        Self::Fix,
        Self::Repair,
        Self::Apply,
        Self::Reset,
        Self::ChooseImages,
        Self::ChooseCalibration,
        Self::ChooseLabels,
        Self::UseNoise,
        Self::MeasureCurve,
        Self::ScanSensitivity,
        Self::FindAmount,
        Self::MeasureChannelCurve,
        Self::FindChannels,
        Self::CopyScan,
        Self::SaveScan,
        Self::MeasureSpeed,
        Self::MeasurePace,
        Self::RemoveChannels,
        Self::Cancel,
        Self::ToggleTheme,
        Self::SwapMethods,
        Self::ToggleDialogs,
        Self::Help,
        Self::NextTab,
        Self::Quit,
    ];

    pub(super) fn entry(self) -> ActionEntry {
        let (label, tooltip, shortcut) = match self {
            Self::Open => ("Open…", "Open an ONNX model", Some(key(Modifiers::COMMAND, Key::O))),
            Self::OpenDemo => ("Open the demo", "Open the MobileNet-V4 that comes with the program", None),
            Self::SaveOnnx => (
                "ONNX model…",
                "The opened file with the pruned weights set to zero and nothing else changed",
                Some(key(Modifiers::COMMAND, Key::S)),
            ),
            Self::SaveSafetensors => ("PyTorch weights (safetensors)…", "Pruned weights by their PyTorch names", None),
            Self::SaveUnfixed => {
                ("PyTorch weights with masks…", "weight_orig and weight_mask apart, as torch.nn.utils.prune keeps them", None)
            }
            Self::SaveBurnpack => ("Burn weights…", "Pruned weights by their Burn names", None),
            Self::SaveRust => ("Rust source for Burn…", "The network as Rust source, with its weights beside it", None),
            Self::SaveTable => ("Table as CSV…", "All figures of the two methods on screen", Some(key(COMMAND_SHIFT, Key::E))),
            Self::CopyTable => {
                ("Copy the table", "All figures of the two methods on screen, as CSV, to the clipboard", Some(key(COMMAND_SHIFT, Key::C)))
            }
            Self::SaveChart => ("Chart as PNG…", "The middle of the window as a picture", Some(key(COMMAND_SHIFT, Key::P))),
            Self::OpenRecipe => ("Open a recipe…", "Prune as a recipe says: a file that holds everything that decides the masks", None),
            Self::SaveRecipe => (
                "Save the recipe…",
                "Everything that decides the masks, to be read, written by hand, and opened with this model or another",
                None,
            ),
            Self::Undo => ("Undo", "Take back the last step", Some(key(Modifiers::COMMAND, Key::Z))),
            Self::Redo => ("Redo", "Take the step again", Some(key(COMMAND_SHIFT, Key::Z))),
            Self::Fix => (
                "Fix weights",
                "Make the masks permanent: pruned weights become zero. Can be undone",
                Some(key(Modifiers::COMMAND, Key::Enter)),
            ),
            Self::Repair => (
                "Repair",
                "Make what is left answer as the dense network does, from images without labels and without training. Can be undone",
                Some(key(Modifiers::COMMAND, Key::R)),
            ),
            Self::Apply => (
                "Keep masks, prune further",
                "Keep what is pruned and apply the next amount to what is left",
                Some(key(COMMAND_SHIFT, Key::Enter)),
            ),
            Self::Reset => ("Reset", "Forget masks and amount; what is fixed stays fixed", Some(key(COMMAND_SHIFT, Key::R))),
            Self::ChooseImages => ("Choose images…", "A folder of images: one subfolder per class, or flat", None),
            Self::ChooseCalibration => (
                "Calibration folder…",
                "A folder of images of its own that calibrates a repair; then all images that are shown judge it",
                None,
            ),
            Self::ChooseLabels => (
                "Labels…",
                "A file that names the classes: one per line or JSON, in the order of the network's outputs, or a table of pictures and labels",
                None,
            ),
            Self::UseNoise => ("Use noise", "Show the networks noise: how far the outputs drift, without any image", None),
            Self::MeasureCurve => {
                ("Measure the curve", "The ticked methods at all amounts, from coarse to fine; what is known is kept", None)
            }
            Self::ScanSensitivity => ("Scan", "Prune every weight alone at 10 to 90 %; goes on where it was stopped", None),
            Self::FindAmount => ("Find", "Search for each method's largest amount that loses no more", None),
            Self::MeasureChannelCurve => {
                ("Measure the curve", "The network without channels, at all amounts, from coarse to fine; what is known is kept", None)
            }
            Self::FindChannels => ("Find", "Search for the largest amount that loses no more", None),
            Self::CopyScan => ("Copy the scan", "The scan to the clipboard, as CSV", None),
            Self::SaveScan => ("Scan as CSV…", "One row per weight and amount: accuracy, agreement, cosine, KL divergence", None),
            Self::MeasureSpeed => ("Measure the speed", "Time forward passes: dense, masked at every pass, and fixed", None),
            Self::MeasurePace => ("Measure the speed", "Time forward passes as opened and as it is now, in turn", None),
            Self::RemoveChannels => (
                "Remove channels",
                "Go on with the smaller network: without these channels, and with what is pruned zero for good. Can be undone",
                Some(key(COMMAND_SHIFT, Key::D)),
            ),
            Self::Cancel => ("Cancel", "Stop the work that is going on", Some(key(Modifiers::NONE, Key::Escape))),
            Self::ToggleTheme => ("Dark or light", "Change between dark and light", Some(key(Modifiers::COMMAND, Key::T))),
            Self::SwapMethods => (
                "Swap the methods",
                "Apply the method beside, and compare it with the one that was applied",
                Some(key(Modifiers::COMMAND, Key::M)),
            ),
            Self::ToggleDialogs => {
                ("Secateur's own file dialogs", "Ask for files here in the window, and not in a window of the system", None)
            }
            Self::Help => ("Help", "What the numbers mean, and the shortcuts", Some(key(Modifiers::NONE, Key::F1))),
            Self::NextTab => ("Next tab", "Show the next view", Some(key(Modifiers::CTRL, Key::Tab))),
            Self::Quit => ("Quit", "Close the program", Some(key(Modifiers::COMMAND, Key::Q))),
        };
        ActionEntry { label, tooltip, shortcut }
    }

    /// The format that an action saves as.
    pub(super) fn format(self) -> Option<Format> {
        Some(match self {
            Self::SaveOnnx => Format::Onnx,
            Self::SaveSafetensors => Format::Safetensors(Form::Fixed),
            Self::SaveUnfixed => Format::Safetensors(Form::Unfixed),
            Self::SaveBurnpack => Format::Burnpack,
            Self::SaveRust => Format::RustSource,
            _ => return None,
        })
    }
}
