//! Colours, text sizes and fonts, in dark and light.
//!
//! Two colours mean something everywhere: the applied method is orange, the one beside it is blue. They also differ in form.

use std::sync::Arc;

use eframe::egui::{self, Color32, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Stroke, TextStyle, Theme, Vec2};

use crate::prune::Method;

use super::pair::Side;

/// Height of a row in lists.
pub(super) const ROW_HEIGHT: f32 = 25.0;
/// Text of normal size, in points.
const TEXT: f32 = 13.0;
/// Axes and section titles.
const SMALL: f32 = 11.0;
/// The few results that matter.
const LARGE: f32 = 21.0;

/// The colours of a theme.
#[derive(Debug, Clone, Copy)]
pub(super) struct Palette {
    pub ground: Color32,
    pub panel: Color32,
    pub raised: Color32,
    pub line: Color32,
    pub text: Color32,
    pub weak: Color32,
    /// The applied method.
    pub applied: Color32,
    /// The method beside it.
    pub beside: Color32,
    /// Four more methods in one chart; they also differ in form.
    pub others: [Color32; 4],
    pub warning: Color32,
    /// Beyond a warning: the strongest of a scale that begins at the ground and passes it.
    pub harm: Color32,
    pub good: Color32,
    pub selected: Color32,
    /// Text on a filled button.
    pub on_accent: Color32,
}

const DARK: Palette = Palette {
    ground: Color32::from_rgb(0x14, 0x16, 0x1a),
    panel: Color32::from_rgb(0x1a, 0x1d, 0x23),
    raised: Color32::from_rgb(0x23, 0x27, 0x2f),
    line: Color32::from_rgb(0x2c, 0x31, 0x3a),
    text: Color32::from_rgb(0xdf, 0xe2, 0xe8),
    weak: Color32::from_rgb(0x8d, 0x94, 0xa1),
    applied: Color32::from_rgb(0xe6, 0x9f, 0x00),
    beside: Color32::from_rgb(0x56, 0xb4, 0xe9),
    others: [
        Color32::from_rgb(0x2f, 0xb5, 0x8a),
        Color32::from_rgb(0xd9, 0x84, 0xb5),
        Color32::from_rgb(0xee, 0xe3, 0x7a),
        Color32::from_rgb(0x9d, 0x8f, 0xf2),
    ],
    warning: Color32::from_rgb(0xe0, 0x6c, 0x4f),
    harm: Color32::from_rgb(0xff, 0xe3, 0xd3),
    good: Color32::from_rgb(0x2f, 0xb5, 0x8a),
    selected: Color32::from_rgb(0x29, 0x39, 0x4d),
    on_accent: Color32::from_rgb(0x1d, 0x16, 0x05),
};

const LIGHT: Palette = Palette {
    ground: Color32::from_rgb(0xf7, 0xf8, 0xfa),
    panel: Color32::from_rgb(0xff, 0xff, 0xff),
    raised: Color32::from_rgb(0xee, 0xf0, 0xf4),
    line: Color32::from_rgb(0xdf, 0xe3, 0xe9),
    text: Color32::from_rgb(0x1d, 0x21, 0x28),
    weak: Color32::from_rgb(0x61, 0x69, 0x77),
    applied: Color32::from_rgb(0xb8, 0x77, 0x00),
    beside: Color32::from_rgb(0x1f, 0x7f, 0xb8),
    others: [
        Color32::from_rgb(0x0b, 0x7d, 0x5a),
        Color32::from_rgb(0xb8, 0x47, 0x8d),
        Color32::from_rgb(0x4a, 0x4f, 0x5a),
        Color32::from_rgb(0x5a, 0x4b, 0xc4),
    ],
    warning: Color32::from_rgb(0xc2, 0x45, 0x2d),
    harm: Color32::from_rgb(0x52, 0x10, 0x0a),
    good: Color32::from_rgb(0x0f, 0x8a, 0x63),
    selected: Color32::from_rgb(0xd9, 0xea, 0xf7),
    on_accent: Color32::from_rgb(0x1d, 0x16, 0x05),
};

/// The palette of a theme.
pub(super) fn of(theme: Theme) -> &'static Palette {
    match theme {
        Theme::Dark => &DARK,
        Theme::Light => &LIGHT,
    }
}

/// The palette in use.
pub(super) fn palette(ui: &egui::Ui) -> &'static Palette {
    if ui.visuals().dark_mode { &DARK } else { &LIGHT }
}

impl Palette {
    /// The colour of the method that stands there.
    pub(super) fn side(&self, side: Side) -> Color32 {
        match side {
            Side::Applied => self.applied,
            Side::Beside => self.beside,
        }
    }

    /// A method's colour where all may be in one chart and these two are on screen everywhere.
    pub(super) fn among(&self, method: Method, [applied, beside]: [Method; 2]) -> Color32 {
        if method == applied {
            return self.applied;
        }
        if method == beside {
            return self.beside;
        }
        let others = Method::ALL.into_iter().filter(|other| *other != applied && *other != beside);
        others.zip(self.others).find(|(other, _)| *other == method).map_or(self.text, |(_, color)| color)
    }
}

/// Bold text of normal size.
pub(super) fn bold() -> FontId {
    FontId::new(TEXT, FontFamily::Name("bold".into()))
}

/// Results.
pub(super) fn large() -> FontId {
    FontId::new(LARGE, FontFamily::Name("bold".into()))
}

/// Axes and section titles.
pub(super) fn small() -> FontId {
    FontId::new(SMALL, FontFamily::Proportional)
}

/// Normal text.
pub(super) fn normal() -> FontId {
    FontId::new(TEXT, FontFamily::Proportional)
}

/// Sets fonts and styles of both themes.
pub(super) fn install(ctx: &egui::Context) {
    ctx.set_fonts(fonts());
    for theme in [Theme::Dark, Theme::Light] {
        ctx.style_mut_of(theme, |style| set_style(style, of(theme), theme == Theme::Dark));
    }
}

/// Inter with figures of one width; other scripts come from the built-in fonts and from the system.
fn fonts() -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    let regular = FontData::from_static(include_bytes!("../../assets/fonts/Inter-Regular.otf"));
    let bold = FontData::from_static(include_bytes!("../../assets/fonts/Inter-SemiBold.otf"));
    fonts.font_data.insert("Inter".into(), Arc::new(regular));
    fonts.font_data.insert("Inter SemiBold".into(), Arc::new(bold));
    let fallback = fonts.families.get(&FontFamily::Proportional).cloned().unwrap_or_default();
    let family = |first: &str| std::iter::once(first.to_owned()).chain(fallback.iter().cloned()).collect();
    fonts.families.insert(FontFamily::Proportional, family("Inter"));
    fonts.families.insert(FontFamily::Name("bold".into()), family("Inter SemiBold"));
    fonts
}

fn set_style(style: &mut egui::Style, palette: &Palette, is_dark: bool) {
    style.text_styles = [
        (TextStyle::Small, small()),
        (TextStyle::Body, normal()),
        (TextStyle::Button, normal()),
        (TextStyle::Heading, bold()),
        (TextStyle::Monospace, FontId::new(TEXT, FontFamily::Monospace)),
    ]
    .into();
    style.animation_time = 0.08;
    let spacing = &mut style.spacing;
    spacing.item_spacing = Vec2::new(8.0, 6.0);
    spacing.button_padding = Vec2::new(8.0, 4.0);
    spacing.interact_size.y = 26.0;
    spacing.slider_rail_height = 5.0;
    spacing.icon_width = 14.0;
    spacing.icon_width_inner = 9.0;
    let visuals = &mut style.visuals;
    *visuals = if is_dark { egui::Visuals::dark() } else { egui::Visuals::light() };
    visuals.panel_fill = palette.panel;
    visuals.window_fill = palette.panel;
    visuals.window_stroke = Stroke::new(1.0, palette.line);
    visuals.window_corner_radius = CornerRadius::same(8);
    visuals.menu_corner_radius = CornerRadius::same(6);
    visuals.extreme_bg_color = palette.raised;
    visuals.text_edit_bg_color = Some(palette.raised);
    visuals.faint_bg_color = palette.ground;
    visuals.weak_text_color = Some(palette.weak);
    visuals.warn_fg_color = palette.warning;
    visuals.error_fg_color = palette.warning;
    visuals.hyperlink_color = palette.beside;
    visuals.selection.bg_fill = palette.selected;
    visuals.selection.stroke = Stroke::new(1.0, palette.text);
    visuals.slider_trailing_fill = true;
    visuals.handle_shape = egui::style::HandleShape::Circle;
    let widgets = &mut visuals.widgets;
    for (widget, fill, text) in [
        (&mut widgets.noninteractive, palette.panel, palette.text),
        (&mut widgets.inactive, palette.raised, palette.text),
        (&mut widgets.hovered, palette.line, palette.text),
        (&mut widgets.active, palette.line, palette.text),
        (&mut widgets.open, palette.raised, palette.text),
    ] {
        widget.bg_fill = fill;
        widget.weak_bg_fill = fill;
        widget.fg_stroke = Stroke::new(1.0, text);
        widget.bg_stroke = Stroke::NONE;
        widget.corner_radius = CornerRadius::same(5);
        widget.expansion = 0.0;
    }
    widgets.noninteractive.bg_stroke = Stroke::new(1.0, palette.line);
    // What has the keyboard is outlined.
    widgets.hovered.bg_stroke = Stroke::new(1.0, palette.line);
    widgets.active.bg_stroke = Stroke::new(1.0, palette.weak);
}
