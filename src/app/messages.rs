//! Notices above the bottom bar, questions, and help.

use eframe::egui::{self, Align2, Ui, vec2};

use crate::prune::Method;

use super::commands::{Action, Answer, Command};
use super::state::{AppState, Question, Tone};
use super::{bottom, repair, text, theme};

pub(super) fn show(ui: &mut Ui, state: &AppState, commands: &mut Vec<Command>) {
    notices_ui(ui, state, commands);
    let ctx = ui.ctx().clone();
    match &state.question {
        None => drop(ctx.data_mut(|data| data.remove_temp::<bool>(focused()))),
        Some(Question::Help) => help_ui(&ctx, commands),
        Some(question) => question_ui(&ctx, question, state, commands),
    }
    if !ctx.input(|i| i.raw.hovered_files.is_empty()) {
        drop_ui(&ctx);
    }
}

fn notices_ui(ui: &Ui, state: &AppState, commands: &mut Vec<Command>) {
    let ctx = ui.ctx();
    let palette = theme::palette(ui);
    let mut above = bottom::HEIGHT + 8.0;
    for (i, notice) in state.notices.iter().enumerate().rev() {
        let color = match notice.tone {
            Tone::Failure => palette.warning,
            Tone::Remark => palette.text,
            Tone::Success => palette.good,
        };
        let area = egui::Area::new(egui::Id::unique(("notice", i)))
            .anchor(Align2::CENTER_BOTTOM, vec2(0.0, -above))
            .order(egui::Order::Foreground);
        let response = area.show(ctx, |ui| {
            let stroke = egui::Stroke::new(1.0, palette.line);
            egui::Frame::popup(ui.style()).fill(palette.panel).stroke(stroke).inner_margin(12).show(ui, |ui| {
                ui.set_max_width(620.0);
                ui.horizontal_top(|ui| {
                    let (bar, _) = ui.allocate_exact_size(vec2(3.0, 34.0), egui::Sense::hover());
                    ui.painter().rect_filled(bar, 1.0, color);
                    ui.vertical(|ui| {
                        ui.set_max_width(530.0);
                        ui.label(egui::RichText::new(&notice.title).font(theme::bold()).color(color));
                        if let Some(repaired) = state.costs.repair.last.as_ref().filter(|_| notice.is_of_repair()) {
                            repair::figures_ui(ui, &repaired.judged);
                        }
                        ui.add(egui::Label::new(&notice.text).wrap());
                    });
                    let close = ui.add(egui::Button::new("×").frame(false).min_size(vec2(24.0, 24.0)));
                    close.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, "Dismiss"));
                    if close.on_hover_text("Dismiss").clicked() {
                        commands.push(Command::Dismiss(i));
                    }
                });
            });
        });
        above += response.response.rect.height() + 8.0;
    }
}

/// A question's frame, with room around the text.
pub(super) fn frame(ctx: &egui::Context) -> egui::Frame {
    egui::Frame::popup(&ctx.style_of(ctx.theme())).inner_margin(18)
}

/// Where it is kept whether the present question was given the focus.
fn focused() -> egui::Id {
    egui::Id::unique("question focused")
}

fn question_ui(ctx: &egui::Context, question: &Question, state: &AppState, commands: &mut Vec<Command>) {
    // What can be taken back, or loses nothing, has the focus and so the Enter key.
    let mut default = None;
    let (title, text, answers) = match question {
        Question::Replace(path, _) | Question::ReplacePicture(path, _) => {
            ("Replace the file?", format!("There is a file of that name already:\n{}", text::path(path)), vec![("Replace", Answer::Yes)])
        }
        Question::Unsaved(_) => {
            default = Some(Answer::Save);
            (
                "Go on without saving?",
                "Weights were fixed, masks kept or channels removed since the model was last saved. They are lost if you go on.".to_owned(),
                vec![("Save…", Answer::Save), ("Go on without saving", Answer::Yes)],
            )
        }
        Question::Repair(removing) => {
            let (title, text) = repair::question(&state.costs, removing.is_some());
            default = Some(if state.costs.shown.is_some() { Answer::Yes } else { Answer::Images });
            let answers = match state.costs.shown {
                Some(_) => vec![("Repair now", Answer::Yes)],
                None => vec![("Use noise instead", Answer::Noise), ("Choose the images…", Answer::Images)],
            };
            (title, text, answers)
        }
        Question::Help => return,
    };
    let modal = egui::Modal::new(egui::Id::unique("question")).frame(frame(ctx)).show(ctx, |ui| {
        ui.set_max_width(440.0);
        ui.label(egui::RichText::new(title).font(theme::bold()));
        ui.add_space(4.0);
        ui.label(text);
        ui.add_space(10.0);
        ui.horizontal(|ui| {
            if ui.button("Cancel").clicked() {
                commands.push(Command::Answer(Answer::No));
            }
            for (name, answer) in answers {
                let button = ui.button(name);
                if default == Some(answer) && !ui.data(|data| data.get_temp(focused()).unwrap_or(false)) {
                    button.request_focus();
                    ui.data_mut(|data| data.insert_temp(focused(), true));
                }
                if button.clicked() {
                    commands.push(Command::Answer(answer));
                }
            }
        });
    });
    if modal.should_close() {
        commands.push(Command::Answer(Answer::No));
    }
}

/// What the words and numbers mean.
const WORDS: [(&str, &str); 9] = [
    ("Scope", "the ticked modules that are not locked, with or without their biases"),
    ("Cut", "the largest magnitude that is pruned; where several elements share it, the first in the file go first"),
    ("Mask", "which elements are pruned; originals are kept until the weights are fixed"),
    ("Fix weights", "pruned elements become zero for good, as prune.remove does; it can be undone"),
    (
        "Repair",
        "kept weights, biases and statistics of BatchNorm change so that what is left answers as the dense network did; without labels",
    ),
    ("Remove channels", "the network goes on without them: fewer multiply-accumulates, a smaller file; it can be undone"),
    ("Keep masks", "the next amount applies to what is left, as PyTorch does when pruning twice"),
    ("Sparsity", "zeros divided by elements; zeros that the file held before are counted"),
    ("Emptied", "parameters that are wholly zero, and were not when the file was opened"),
];

fn help_ui(ctx: &egui::Context, commands: &mut Vec<Command>) {
    let modal = egui::Modal::new(egui::Id::unique("help")).frame(frame(ctx)).show(ctx, |ui| {
        ui.set_width(620.0);
        ui.label(egui::RichText::new(format!("Secateur {}", env!("CARGO_PKG_VERSION"))).font(theme::bold()));
        ui.add_space(6.0);
        let height = ctx.content_rect().height() - 160.0;
        // With a least height it is whole at once; otherwise it grows frame by frame, and its button runs away.
        egui::ScrollArea::vertical().max_height(height).min_scrolled_height(height).show(ui, |ui| {
            egui::Grid::new("words").num_columns(2).spacing(vec2(18.0, 6.0)).show(ui, |ui| {
                for (word, meaning) in WORDS {
                    ui.label(egui::RichText::new(word).font(theme::bold()));
                    ui.add(egui::Label::new(meaning).wrap());
                    ui.end_row();
                }
                for method in Method::ALL {
                    ui.label(egui::RichText::new(text::method(method)).font(theme::bold()));
                    ui.add(egui::Label::new(method.help()).wrap());
                    ui.end_row();
                }
            });
            ui.separator();
            egui::Grid::new("shortcuts").num_columns(2).spacing(vec2(18.0, 4.0)).show(ui, |ui| {
                for action in Action::ALL {
                    let entry = action.entry();
                    let Some(shortcut) = entry.shortcut else { continue };
                    ui.weak(ui.ctx().format_shortcut(&shortcut));
                    ui.label(entry.label);
                    ui.end_row();
                }
                ui.weak("← →");
                ui.label("Slider by 0.1 %, when it has the keyboard");
                ui.end_row();
            });
        });
        ui.add_space(8.0);
        if ui.button("Close").clicked() {
            commands.push(Command::Answer(Answer::No));
        }
    });
    if modal.should_close() {
        commands.push(Command::Answer(Answer::No));
    }
}

fn drop_ui(ctx: &egui::Context) {
    let palette = theme::of(ctx.theme());
    let area = ctx.content_rect();
    let painter = ctx.layer_painter(egui::LayerId::new(egui::Order::Foreground, egui::Id::unique("drop")));
    painter.rect_filled(area, 0.0, palette.ground.gamma_multiply(0.9));
    painter.text(area.center(), Align2::CENTER_CENTER, "Drop the model to open it", theme::large(), palette.text);
}
