//! A picture of the window as a PNG file.

use std::path::Path;

use eframe::egui;

use crate::atomic::{self, Overwrite};

/// Writes a picture as PNG. The dialog has asked before it replaced anything.
pub(super) fn write_png(image: &egui::ColorImage, path: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let [width, height] = image.size;
    let bytes: Vec<u8> = image.pixels.iter().flat_map(|p| [p.r(), p.g(), p.b()]).collect();
    let picture = image::RgbImage::from_raw(width as u32, height as u32, bytes).ok_or("the picture is empty")?;
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png)?;
    atomic::write(path, Overwrite::Allow, |out| std::io::Write::write_all(out, png.get_ref()))?;
    Ok(())
}
