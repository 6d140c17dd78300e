//! The middle of the window as a PNG file: taken from the screen, made and written away from the window's thread.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use eframe::egui;

use crate::atomic::{self, Overwrite, WriteError};

/// What became of a screenshot.
pub(super) enum Shot {
    /// It was written.
    Saved(PathBuf),
    /// There is a file of that name; the picture as it was taken, to be written when that is wanted.
    Occupied(PathBuf, Arc<[u8]>),
    /// Why it could not be written.
    Failed(String),
}

/// Screenshots on their way to files.
pub(super) struct Screenshots {
    sender: Sender<Shot>,
    shots: Receiver<Shot>,
}

impl Default for Screenshots {
    fn default() -> Self {
        let (sender, shots) = channel();
        Self { sender, shots }
    }
}

impl Screenshots {
    /// Takes what the next frame shows in `area`. A file that exists is left alone.
    pub(super) fn take(&self, ctx: &egui::Context, area: egui::Rect, path: PathBuf) {
        let (scale, sender, waker) = (ctx.pixels_per_point(), self.sender.clone(), ctx.clone());
        ctx.request_screenshot(move |image| {
            let image = image.region(&area, Some(scale));
            elsewhere(&sender, &waker, move || match png(&image) {
                Ok(png) => written(path, png.into(), Overwrite::Refuse),
                Err(e) => Shot::Failed(e.to_string()),
            });
        });
        ctx.request_repaint();
    }

    /// Writes a picture that was taken, over the file that is there.
    pub(super) fn replace(&self, ctx: &egui::Context, path: PathBuf, png: Arc<[u8]>) {
        elsewhere(&self.sender, ctx, move || written(path, png, Overwrite::Allow));
    }

    /// The next one that is through.
    pub(super) fn poll(&self) -> Option<Shot> {
        self.shots.try_recv().ok()
    }
}

/// Works on a thread of its own, and wakes the window for the result.
fn elsewhere(sender: &Sender<Shot>, waker: &egui::Context, work: impl FnOnce() -> Shot + Send + 'static) {
    let (outlet, waker) = (sender.clone(), waker.clone());
    let run = move || {
        let _ = outlet.send(work());
        waker.request_repaint();
    };
    if let Err(e) = std::thread::Builder::new().name("screenshot".into()).spawn(run) {
        let _ = sender.send(Shot::Failed(e.to_string()));
    }
}

fn written(path: PathBuf, png: Arc<[u8]>, overwrite: Overwrite) -> Shot {
    match atomic::write(&path, overwrite, |out| std::io::Write::write_all(out, &png)) {
        Ok(()) => Shot::Saved(path),
        Err(WriteError::Exists { path }) => Shot::Occupied(path, png),
        Err(e) => Shot::Failed(e.to_string()),
    }
}

fn png(image: &egui::ColorImage) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let [width, height] = image.size;
    let bytes: Vec<u8> = image.pixels.iter().flat_map(|p| [p.r(), p.g(), p.b()]).collect();
    let picture = image::RgbImage::from_raw(width as u32, height as u32, bytes).ok_or("the picture is empty")?;
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png)?;
    Ok(png.into_inner())
}
