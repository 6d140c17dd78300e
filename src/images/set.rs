//! Which pictures there are, and which class each belongs to.

use std::path::{Path, PathBuf};

/// Pictures found in a folder, sorted by name.
#[derive(Debug, Clone)]
pub struct ImageSet {
    /// The folder or array file.
    pub root: PathBuf,
    /// The pictures, in order of class and name.
    pub images: Vec<ImageRef>,
    /// Names of the classes by the network's index; empty where there are no labels.
    pub classes: Vec<String>,
}

/// One picture, not yet read.
#[derive(Debug, Clone)]
pub struct ImageRef {
    /// Where it is.
    pub source: Source,
    /// Its path below the root, or its row.
    pub name: String,
    /// Its class, an index into [`ImageSet::classes`].
    pub class: Option<usize>,
}

/// Where a picture is.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file of its own.
    File(PathBuf),
}

/// Why a folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// The folder, or something in it, could not be read.
    #[error("cannot read the images: {source}: {}", path.display())]
    Read {
        /// What the system said.
        source: std::io::Error,
        /// Which file or folder.
        path: PathBuf,
    },
    /// No pictures.
    #[error("there is no PNG, JPEG, WebP or BMP picture in this folder nor in the folders in it: {}", path.display())]
    Empty {
        /// Which folder.
        path: PathBuf,
    },
}

/// Names of pictures end so.
const ENDINGS: [&str; 7] = ["png", "jpg", "jpeg", "jpe", "webp", "bmp", "dib"];

impl ImageSet {
    /// Lists the pictures of a folder: with one folder per class in it, whose sorted names are the class indices as in
    /// torchvision's `ImageFolder`, or flat and without labels.
    ///
    /// # Errors
    /// [`ImagesError`]
    pub fn open(path: &Path, labels: Option<&Path>) -> Result<Self, ImagesError> {
        let _ = labels;
        let (files, folders) = entries(path)?;
        let mut set = Self { root: path.to_owned(), images: Vec::new(), classes: Vec::new() };
        if folders.is_empty() || files.iter().any(|f| is_picture(f)) {
            set.add(&files, None);
        } else {
            for folder in &folders {
                let class = set.classes.len();
                let mut files = Vec::new();
                collect(folder, &mut files, 0)?;
                set.classes.push(file_name(folder));
                set.add(&files, Some(class));
            }
        }
        if set.images.is_empty() {
            return Err(ImagesError::Empty { path: path.to_owned() });
        }
        Ok(set)
    }

    /// Whether every picture has a class.
    #[must_use]
    pub fn is_labelled(&self) -> bool {
        !self.classes.is_empty() && self.images.iter().all(|i| i.class.is_some())
    }

    fn add(&mut self, files: &[PathBuf], class: Option<usize>) {
        for file in files.iter().filter(|f| is_picture(f)) {
            let name = file.strip_prefix(&self.root).unwrap_or(file).to_string_lossy().replace('\\', "/");
            self.images.push(ImageRef { source: Source::File(file.clone()), name, class });
        }
    }
}

/// How deep folders in a class's folder are followed.
const MAX_DEPTH: usize = 8;

fn collect(folder: &Path, into: &mut Vec<PathBuf>, depth: usize) -> Result<(), ImagesError> {
    let (files, folders) = entries(folder)?;
    into.extend(files);
    for folder in folders.iter().filter(|_| depth < MAX_DEPTH) {
        collect(folder, into, depth + 1)?;
    }
    Ok(())
}

/// Files and folders in a folder, each sorted by name; hidden ones left out.
fn entries(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), ImagesError> {
    let read = |source| ImagesError::Read { source, path: folder.to_owned() };
    let mut files = Vec::new();
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if file_name(&path).starts_with('.') {
            continue;
        }
        if path.is_dir() { folders.push(path) } else { files.push(path) }
    }
    files.sort();
    folders.sort();
    Ok((files, folders))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn is_picture(path: &Path) -> bool {
    path.extension().is_some_and(|e| ENDINGS.iter().any(|&known| e.eq_ignore_ascii_case(known)))
}
