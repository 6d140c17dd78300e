//! Which pictures there are, and which class each belongs to.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::labels::{self, Labels};
use super::rows::{self, Rows};
use crate::arrays::ArraysError;

/// Pictures found in a folder or an array file.
#[derive(Debug, Clone)]
pub struct ImageSet {
    /// The folder or file.
    pub root: PathBuf,
    /// The pictures, in order of their folders and names, or of their rows.
    pub images: Vec<ImageRef>,
    /// Names of the classes by the network's index; empty where nothing names them.
    pub classes: Vec<String>,
    /// Whether the classes are those of sorted folders and no labels file said so.
    is_from_folders: bool,
}

/// One picture, not yet decoded.
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
    /// A row of an array file, which is in memory.
    Row {
        /// The file's rows.
        rows: Arc<Rows>,
        /// Which of them.
        index: usize,
    },
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
    /// An array file could not be read.
    #[error("cannot read the images: {source}")]
    Arrays {
        /// What is wrong with it.
        source: ArraysError,
    },
    /// An array file holds something else.
    #[error("these arrays are no pictures: {reason}: {}", path.display())]
    Array {
        /// What is wrong.
        reason: String,
        /// Which file.
        path: PathBuf,
    },
    /// The labels file cannot be used.
    #[error("the labels cannot be used: {reason}: {}", path.display())]
    Labels {
        /// What is wrong.
        reason: String,
        /// Which file.
        path: PathBuf,
    },
    /// The classes cannot be the network's.
    #[error("{classes} classes and {outputs} outputs of the network do not go together: {reason}: {}", path.display())]
    Classes {
        /// Number of classes found.
        classes: usize,
        /// Outputs of the network.
        outputs: usize,
        /// Why, and what helps.
        reason: &'static str,
        /// The folder.
        path: PathBuf,
    },
}

/// Names of pictures end so.
const ENDINGS: [&str; 7] = ["png", "jpg", "jpeg", "jpe", "webp", "bmp", "dib"];
/// How deep folders are followed.
const MAX_DEPTH: usize = 8;

impl ImageSet {
    /// Lists the pictures at `path`:
    ///
    /// - a folder with one folder per class, whose sorted names are the class indices as in torchvision's `ImageFolder`, or whose
    ///   names `labels` puts in order;
    /// - a folder of pictures without labels, or with a table of names and labels in `labels`;
    /// - an `.npy` or `.npz` file: bytes are pictures, floats are preprocessed ones, an array `labels` or `y` holds classes;
    /// - one picture.
    ///
    /// `labels` is a text file of one class per line, JSON (a list, or a map between index and name), or a table (`.csv`, `.tsv`) of
    /// pictures and labels.
    ///
    /// # Errors
    /// [`ImagesError`]
    pub fn open(path: &Path, labels: Option<&Path>) -> Result<Self, ImagesError> {
        let labels = labels.map(|file| Ok((file, labels::read(file)?))).transpose()?;
        let root = if path.is_file() && is_picture(path) { path.parent().unwrap_or(Path::new("")) } else { path };
        let mut set = Self { root: root.to_owned(), images: Vec::new(), classes: Vec::new(), is_from_folders: false };
        if is_array(path) {
            set.add_rows(path)?;
        } else if path.is_file() {
            set.add(&[path.to_owned()], None);
        } else {
            set.add_folder(matches!(labels, Some((_, Labels::Pictures(_)))))?;
        }
        if set.images.is_empty() {
            return Err(ImagesError::Empty { path: path.to_owned() });
        }
        if let Some((file, labels)) = labels {
            let done = match labels {
                Labels::Classes(classes) => set.name_classes(&classes),
                Labels::Pictures(table) => set.label_pictures(&table),
            };
            done.map_err(|reason| ImagesError::Labels { reason, path: file.to_owned() })?;
            set.is_from_folders = false;
        }
        Ok(set)
    }

    /// Whether every picture has a class.
    #[must_use]
    pub fn is_labelled(&self) -> bool {
        !self.classes.is_empty() && self.images.iter().all(|i| i.class.is_some())
    }

    /// Whether the classes can be those of a network with so many outputs.
    ///
    /// # Errors
    /// [`ImagesError::Classes`]: more classes than outputs, or fewer folders than outputs, whose sorted names then say nothing
    /// about the outputs.
    pub fn fits(&self, outputs: usize) -> Result<(), ImagesError> {
        let classes = self.classes.len();
        let refused = |reason| Err(ImagesError::Classes { classes, outputs, reason, path: self.root.clone() });
        if self.images.iter().any(|i| i.class.is_some_and(|c| c >= outputs)) {
            return refused("a picture belongs to a class that the network does not have; choose other images or another model");
        }
        if !self.is_from_folders || classes >= outputs {
            return Ok(());
        }
        if self.classes.iter().all(|c| labels::is_wnid(c)) {
            return refused(
                "of a part of ImageNet's folders the order does not tell the index; give a labels file that lists the ids of all classes in order",
            );
        }
        refused("the order of the folders does not tell which outputs they are; give a labels file that lists all classes in order")
    }

    /// The same pictures, of which nothing else is known.
    #[must_use]
    pub fn without_labels(&self) -> Self {
        let images = self.images.iter().map(|image| ImageRef { class: None, ..image.clone() }).collect();
        Self { root: self.root.clone(), images, classes: Vec::new(), is_from_folders: false }
    }

    fn add_rows(&mut self, path: &Path) -> Result<(), ImagesError> {
        let (rows, classes) = rows::read(path)?;
        let rows = Arc::new(rows);
        let digits = rows.count.max(1).ilog10() as usize + 1;
        self.images.extend((0..rows.count).map(|index| ImageRef {
            source: Source::Row { rows: rows.clone(), index },
            name: format!("{} row {index:0digits$}", file_name(path)),
            class: classes.as_ref().map(|c| c[index]),
        }));
        self.classes = classes.iter().filter_map(|c| c.iter().max()).flat_map(|&last| 0..=last).map(|i| i.to_string()).collect();
        Ok(())
    }

    fn add_folder(&mut self, has_table: bool) -> Result<(), ImagesError> {
        let (files, folders) = entries(&self.root.clone())?;
        if has_table {
            let mut files = Vec::new();
            collect(&self.root.clone(), &mut files, 0)?;
            self.add(&files, None);
        } else if folders.is_empty() || files.iter().any(|f| is_picture(f)) {
            self.add(&files, None);
        } else {
            self.is_from_folders = true;
            for folder in &folders {
                let class = self.classes.len();
                let mut files = Vec::new();
                collect(folder, &mut files, 0)?;
                self.classes.push(file_name(folder));
                self.add(&files, Some(class));
            }
        }
        Ok(())
    }

    fn add(&mut self, files: &[PathBuf], class: Option<usize>) {
        for file in files.iter().filter(|f| is_picture(f)) {
            let name = file.strip_prefix(&self.root).unwrap_or(file).to_string_lossy().replace('\\', "/");
            self.images.push(ImageRef { source: Source::File(file.clone()), name, class });
        }
    }

    /// Puts classes in the order of a list: folders by name; rows have indices already.
    fn name_classes(&mut self, classes: &[labels::Class]) -> Result<(), String> {
        if self.is_from_folders {
            let find = |folder: &String| {
                let found = classes.iter().position(|c| c.is_called(folder));
                found.ok_or_else(|| format!("the folder “{folder}” is not in it"))
            };
            let indices: Vec<usize> = self.classes.iter().map(find).collect::<Result<_, _>>()?;
            for image in &mut self.images {
                image.class = image.class.map(|c| indices[c]);
            }
        } else if self.classes.len() > classes.len() {
            return Err(format!("it names {} classes, the array has {}", classes.len(), self.classes.len()));
        }
        self.classes = classes.iter().map(|c| c.name.clone()).collect();
        Ok(())
    }

    /// Labels pictures by a table. Every picture needs a row; rows without a picture are passed over.
    fn label_pictures(&mut self, table: &[(String, String)]) -> Result<(), String> {
        let rows: HashMap<&str, &str> = table.iter().map(|(file, label)| (file.as_str(), label.as_str())).collect();
        let label = |image: &ImageRef| {
            let last = image.name.rsplit('/').next().unwrap_or(&image.name);
            let stem = last.rsplit_once('.').map_or(last, |(stem, _)| stem);
            let found = [image.name.as_str(), last, stem].iter().find_map(|name| rows.get(name).copied());
            found.ok_or_else(|| format!("the picture “{}” is not in it", image.name))
        };
        let found: Vec<&str> = self.images.iter().map(label).collect::<Result<_, _>>()?;
        // Classes that no picture here has count too; a heading names no picture and has no number.
        let is_number = |label: &str| label.parse::<usize>().is_ok();
        let has_heading = table.first().is_some_and(|(_, l)| !is_number(l)) && table.iter().skip(1).all(|(_, l)| is_number(l));
        let is_heading_of_names = table.first().is_some_and(|(file, _)| !is_picture(Path::new(file)));
        let skipped = usize::from(has_heading || is_heading_of_names && table.iter().skip(1).any(|(file, _)| is_picture(Path::new(file))));
        let (classes, index) = labels::classes_of(table.iter().skip(skipped).map(|(_, label)| label.as_str()))?;
        for (image, label) in self.images.iter_mut().zip(found) {
            image.class = index.get(label).copied();
        }
        self.classes = classes;
        Ok(())
    }
}

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

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    path.extension().is_some_and(|e| endings.iter().any(|&known| e.eq_ignore_ascii_case(known)))
}

fn is_picture(path: &Path) -> bool {
    has_ending(path, &ENDINGS)
}

fn is_array(path: &Path) -> bool {
    has_ending(path, &["npy", "npz"])
}
