//! Which pictures there are, and which class each belongs to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::ImagesError;
use super::inventory::{Inventory, Reason, listed, slashed};
use super::labels::{self, Labels};
use super::noise::NoiseKind;
use super::order::{self, ClassOrder};
use super::rows::{self, ArrayRows};
use super::tree::{Listed, Tree, is_array, is_picture};

/// Pictures found in a folder or an array file.
#[derive(Debug, Clone)]
pub struct ImageSet {
    /// The folder or file.
    pub root: PathBuf,
    /// The pictures, in order of their folders and names, or of their rows.
    pub images: Vec<ImageRef>,
    /// Names of the classes by the network's index; empty where nothing names them.
    pub classes: Vec<String>,
    /// What else lies there.
    pub inventory: Inventory,
    order: OrderFrom,
    is_order_chosen: bool,
    /// Classes that have images and cannot be used, see [`Self::without_labels`].
    unused_classes: usize,
}

/// What put the classes in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OrderFrom {
    /// Indices, or a file that names all classes.
    Given,
    /// The sorted names of folders.
    Folders,
    /// The sorted names in a table.
    Names,
}

/// One picture, not yet decoded.
#[derive(Debug, Clone)]
pub struct ImageRef {
    /// Where it is.
    pub source: Origin,
    /// Its path below the root, or its row.
    pub name: String,
    /// Its class, an index into [`ImageSet::classes`].
    pub class: Option<usize>,
}

/// Where a picture is.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A file of its own.
    File(PathBuf),
    /// A row of an array file, which is in memory.
    Row {
        /// The file's rows.
        rows: Arc<ArrayRows>,
        /// Which of them.
        index: usize,
    },
}

/// Why the order of numbered classes has to be chosen.
const ORDER_IN_DOUBT: &str = "Classes are numbered, and their order as text is not that of their numbers";
/// Folders with these names hold parts of a data set; in small letters.
const PARTS: [&str; 16] = [
    "train",
    "training",
    "train_set",
    "trainset",
    "val",
    "valid",
    "validation",
    "val_set",
    "dev",
    "eval",
    "evaluation",
    "test",
    "testing",
    "test_set",
    "testset",
    "holdout",
];

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
        let (images, classes, inventory) = (Vec::new(), Vec::new(), Inventory::default());
        let order = OrderFrom::Given;
        let mut set = Self { root: root.to_owned(), images, classes, inventory, order, is_order_chosen: false, unused_classes: 0 };
        if is_array(path) && !path.is_dir() {
            set.add_rows(path)?;
        } else if path.is_file() {
            let name = path.file_name().map(PathBuf::from).unwrap_or_default();
            if is_picture(path) {
                set.add(vec![Listed { path: path.to_owned(), relative: name }], None);
            }
        } else {
            let tree = Tree::of(path, labels.as_ref().map(|(file, _)| *file))?;
            set.add_tree(tree, matches!(labels, Some((_, Labels::Pictures(_)))))?;
        }
        if !path.is_dir() {
            set.inventory.entries = set.images.len();
        }
        if set.images.is_empty() {
            let left_out = set.inventory.lines().iter().flat_map(|line| ["; ", line]).collect();
            return Err(ImagesError::Empty { path: path.to_owned(), left_out });
        }
        if let Some((file, labels)) = labels {
            let done = match labels {
                Labels::Classes(classes) => set.name_classes(&classes),
                Labels::Pictures(table) => set.label_pictures(&table),
            };
            done.map_err(|reason| ImagesError::Labels { reason, path: file.to_owned() })?;
        }
        Ok(set)
    }

    /// So many pictures of seeded noise, `size` high and wide.
    #[must_use]
    pub fn noise(kind: NoiseKind, size: [usize; 2], count: usize, seed: u64) -> Self {
        let rows = Arc::new(ArrayRows::noise(kind, size, count, seed));
        let image =
            |index| ImageRef { source: Origin::Row { rows: rows.clone(), index }, name: format!("noise {}", index + 1), class: None };
        Self {
            root: PathBuf::new(),
            images: (0..count).map(image).collect(),
            classes: Vec::new(),
            inventory: Inventory::default(),
            order: OrderFrom::Given,
            is_order_chosen: false,
            unused_classes: 0,
        }
    }

    /// The classes in this order, where their names alone tell it: those of folders, or of a table without numbers. Which of both
    /// orders is meant is then no longer in doubt.
    #[must_use]
    pub fn ordered(mut self, order: ClassOrder) -> Self {
        if self.order == OrderFrom::Given {
            return self;
        }
        let by_name = order.sorted(&self.classes);
        let mut place = vec![0; by_name.len()];
        for (new, &old) in by_name.iter().enumerate() {
            place[old] = new;
        }
        for image in &mut self.images {
            image.class = image.class.map(|class| place[class]);
        }
        self.classes = by_name.into_iter().map(|old| std::mem::take(&mut self.classes[old])).collect();
        self.is_order_chosen = true;
        self
    }

    /// These of its images, by number; all else as it is.
    #[must_use]
    pub fn of(&self, images: &[usize]) -> Self {
        Self { images: images.iter().map(|&i| self.images[i].clone()).collect(), ..self.clone() }
    }

    /// Whether names of classes are numbered, all or some, and nothing tells whether they are sorted as text or as numbers.
    #[must_use]
    pub fn is_order_in_doubt(&self) -> bool {
        self.order != OrderFrom::Given && !self.is_order_chosen && order::is_in_doubt(&self.classes)
    }

    /// Classes that have images, in order, with the number of these.
    #[must_use]
    pub fn class_sizes(&self) -> Vec<(&str, usize)> {
        let mut sizes = vec![0; self.classes.len()];
        for class in self.images.iter().filter_map(|image| image.class) {
            sizes[class] += 1;
        }
        self.classes.iter().map(String::as_str).zip(sizes).filter(|(_, size)| *size > 0).collect()
    }

    /// What a person is to know of what was taken and left out; nothing where everything that lies there is an image of a class.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let doubt = self.is_order_in_doubt().then(|| format!("{}: {}", ORDER_IN_DOUBT, self.both_orders()));
        let lines: Vec<String> = doubt.into_iter().chain(self.inventory.lines()).collect();
        if lines.is_empty() {
            return lines;
        }
        let (images, classes) = (self.images.len(), self.class_sizes().len());
        let what = match (classes, self.unused_classes) {
            (0, 0) => "no classes".to_owned(),
            (0, 1) => "1 class that is not used".to_owned(),
            (0, n) => format!("{n} classes that are not used"),
            (1, _) => "1 class".to_owned(),
            (n, _) => format!("{n} classes"),
        };
        let images = if images == 1 { "1 image".to_owned() } else { format!("{images} images") };
        std::iter::once(format!("{what}, {images}")).chain(lines).collect()
    }

    /// The first names in both orders.
    fn both_orders(&self) -> String {
        let of = |order: ClassOrder| {
            listed(&order.sorted(&self.classes).into_iter().map(|class| self.classes[class].clone()).collect::<Vec<_>>())
        };
        format!("as text {}; by number {}", of(ClassOrder::Text), of(ClassOrder::Number))
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
    /// about the outputs. [`ImagesError::Order`]: numbered folders, see [`Self::is_order_in_doubt`].
    pub fn fits(&self, outputs: usize) -> Result<(), ImagesError> {
        let classes = self.classes.len();
        let refused = |reason: String| Err(ImagesError::Classes { classes, outputs, reason, path: self.root.clone() });
        if self.images.iter().any(|i| i.class.is_some_and(|c| c >= outputs)) {
            let reason = "a picture belongs to a class that the network does not have; choose other images or another model";
            return refused(reason.to_owned());
        }
        if self.order == OrderFrom::Folders && classes < outputs {
            if self.classes.iter().all(|c| labels::is_wnid(c)) {
                let reason = "of a part of ImageNet's folders the order does not tell the index; give a labels file that lists the ids of all classes in order";
                return refused(reason.to_owned());
            }
            let without = match self.inventory.without_pictures.as_slice() {
                [] => String::new(),
                names => format!(" (there is no picture in {})", listed(names)),
            };
            return refused(format!(
                "the order of the folders does not tell which outputs they are{without}; give a labels file that lists all classes in order"
            ));
        }
        if self.is_order_in_doubt() {
            return Err(ImagesError::Order { classes, orders: self.both_orders(), path: self.root.clone() });
        }
        Ok(())
    }

    /// The same pictures without their classes, of which it is still known how many there were.
    #[must_use]
    pub fn without_labels(&self) -> Self {
        let images = self.images.iter().map(|image| ImageRef { class: None, ..image.clone() }).collect();
        let unused_classes = self.class_sizes().len();
        Self { images, classes: Vec::new(), order: OrderFrom::Given, unused_classes, ..self.clone() }
    }

    /// Classes with images that [`Self::without_labels`] gave up.
    #[must_use]
    pub fn unused_classes(&self) -> usize {
        self.unused_classes
    }

    fn add_rows(&mut self, path: &Path) -> Result<(), ImagesError> {
        let (rows, classes) = rows::read(path)?;
        let rows = Arc::new(rows);
        let digits = rows.count.max(1).ilog10() as usize + 1;
        self.images.extend((0..rows.count).map(|index| ImageRef {
            source: Origin::Row { rows: rows.clone(), index },
            name: format!("{} row {index:0digits$}", file_name(path)),
            class: classes.as_ref().map(|c| c[index]),
        }));
        self.classes = classes.iter().filter_map(|c| c.iter().max()).flat_map(|&last| 0..=last).map(|i| i.to_string()).collect();
        Ok(())
    }

    /// Folders that hold pictures are the classes; without such, or with a table, the pictures are just pictures.
    fn add_tree(&mut self, tree: Tree, has_table: bool) -> Result<(), ImagesError> {
        let Tree { mut pictures, folders, mut left_out, entries } = tree;
        let mut inside = PathBuf::new();
        if !has_table {
            let parts = loop {
                let parts = Parts::of(&pictures, &inside);
                // Around all of it: what an archive was unpacked into, or the one part of a data set that is there.
                match parts.folders.as_slice() {
                    [only] if parts.beside == 0 && only.is_around() => inside.push(&only.name),
                    _ => break parts,
                }
            };
            let names: Vec<String> = parts.folders.iter().map(|f| f.name.to_string_lossy().into_owned()).collect();
            if names.len() > 1 && names.iter().all(|name| PARTS.contains(&name.to_lowercase().as_str())) {
                return Err(ImagesError::Parts { names: listed(&names), path: self.root.join(&inside) });
            }
            // One folder beside more pictures than are in it is no class.
            let is_flat = parts.folders.is_empty() || (parts.folders.len() == 1 && parts.beside > parts.folders[0].pictures);
            let is_beside = |listed: &Listed| component(listed, &inside, 1).is_none();
            let reason = if is_flat { Reason::BesidePictures } else { Reason::BesideFolders };
            pictures.retain(|listed| {
                let stays = is_beside(listed) == is_flat;
                if !stays {
                    left_out.add(reason.clone(), &listed.relative);
                }
                stays
            });
            if !is_flat {
                self.order = OrderFrom::Folders;
                self.classes = names;
                let holds = |name: &OsStr| parts.folders.iter().any(|f| f.name == name);
                let of_classes = folders.iter().filter(|f| f.parent() == Some(&inside)).filter_map(|f| f.file_name());
                self.inventory.without_pictures =
                    of_classes.filter(|name| !holds(name)).map(|n| n.to_string_lossy().into_owned()).collect();
                self.inventory.inside = (inside != Path::new("")).then(|| slashed(&inside));
                for listed in pictures {
                    let class = component(&listed, &inside, 0).and_then(|name| parts.folders.iter().position(|f| f.name == name));
                    self.add(vec![listed], class);
                }
                pictures = Vec::new();
            }
        }
        self.add(pictures, None);
        self.inventory.entries = entries;
        self.inventory.left_out = left_out.into_list();
        Ok(())
    }

    fn add(&mut self, pictures: Vec<Listed>, class: Option<usize>) {
        self.images.extend(pictures.into_iter().map(|listed| {
            let name = slashed(&listed.relative);
            ImageRef { source: Origin::File(listed.path), name, class }
        }));
    }

    /// Puts classes in the order of a list: folders by name; rows have indices already.
    fn name_classes(&mut self, classes: &[labels::Class]) -> Result<(), String> {
        if self.order == OrderFrom::Folders {
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
        self.order = OrderFrom::Given;
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
        let is_numbered = classes.iter().enumerate().all(|(i, class)| *class == i.to_string());
        self.order = if is_numbered { OrderFrom::Given } else { OrderFrom::Names };
        self.classes = classes;
        Ok(())
    }
}

/// How pictures lie in the folder that the classes are in.
struct Parts {
    /// Directly in it.
    beside: usize,
    /// In folders, by their names.
    folders: Vec<Subfolder>,
}

struct Subfolder {
    name: OsString,
    pictures: usize,
    /// Directly in the folder, not in folders in it.
    holds_pictures: bool,
    /// Folders in it that hold pictures.
    folders: BTreeSet<OsString>,
}

impl Subfolder {
    /// Whether this may be a folder around classes rather than one class.
    fn is_around(&self) -> bool {
        !self.holds_pictures || self.folders.len() > 1
    }
}

impl Parts {
    fn of(pictures: &[Listed], inside: &Path) -> Self {
        let mut parts = Self { beside: 0, folders: Vec::new() };
        let mut folders: BTreeMap<OsString, Subfolder> = BTreeMap::new();
        for listed in pictures {
            match (component(listed, inside, 0), component(listed, inside, 1)) {
                (Some(name), Some(_)) => {
                    let folder = folders.entry(name.to_owned()).or_insert_with(|| Subfolder {
                        name: name.to_owned(),
                        pictures: 0,
                        holds_pictures: false,
                        folders: BTreeSet::new(),
                    });
                    folder.pictures += 1;
                    match component(listed, inside, 2) {
                        Some(_) => drop(component(listed, inside, 1).map(|name| folder.folders.insert(name.to_owned()))),
                        None => folder.holds_pictures = true,
                    }
                }
                _ => parts.beside += 1,
            }
        }
        parts.folders = folders.into_values().collect();
        parts
    }
}

/// The part number `index` of where a picture lies below the folder `inside`.
fn component<'a>(listed: &'a Listed, inside: &Path, index: usize) -> Option<&'a OsStr> {
    listed.relative.strip_prefix(inside).ok()?.iter().nth(index)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
