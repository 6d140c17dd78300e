//! What the networks are shown: images with their labels and preprocessing, or noise.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::{Finding, MeasurerThread, Shown};
use crate::engine::EngineError;
use crate::evaluate::{EvaluateError, Evaluator, Questions};
use crate::images::{ClassOrder, ImageSet, Preprocess, Provenance};
use crate::watch::Token;

/// Images that go through the network at once, and that are the first part looked at: no more than this,
pub(super) const BATCH: usize = 30;
/// and of large ones only so many that their pixels are no more than this.
const BATCH_PIXELS: usize = 1 << 20;

/// What the networks are shown.
#[derive(Clone)]
pub(super) struct Images {
    pub(super) set: Arc<ImageSet>,
    /// The set as it was opened, its labels included where the network cannot use them.
    pub(super) opened: Arc<ImageSet>,
    pub(super) path: PathBuf,
    pub(super) preprocess: Preprocess,
    pub(super) provenance: Provenance,
    pub(super) remark: Option<String>,
    pub(super) asks_order: bool,
    pub(super) class_order: Option<ClassOrder>,
}

impl MeasurerThread {
    pub(super) fn show(&mut self, path: &Path) -> Result<(), String> {
        let Some(engine) = &self.engine else { return Ok(()) };
        let set = Arc::new(ImageSet::open(path, None).map_err(|e| e.to_string())?);
        let (preprocess, provenance) = Preprocess::for_model(&engine.model().graph, &engine.model().file.path);
        let (path, asks_order) = (path.to_owned(), set.is_order_in_doubt());
        self.show_images(Images { opened: set.clone(), set, path, preprocess, provenance, remark: None, asks_order, class_order: None })
    }

    /// The images in hand, with classes that a file names.
    pub(super) fn label(&mut self, labels: &Path) -> Result<(), String> {
        let Some(images) = self.images.clone() else { return Ok(()) };
        let set = Arc::new(ImageSet::open(&images.path, Some(labels)).map_err(|e| e.to_string())?);
        let asks_order = set.is_order_in_doubt();
        self.show_images(Images { opened: set.clone(), set, remark: None, asks_order, class_order: None, ..images })
    }

    /// The images in hand, with their classes in this order.
    pub(super) fn order(&mut self, order: ClassOrder) -> Result<(), String> {
        let Some(images) = self.images.clone() else { return Ok(()) };
        let set = Arc::new(ImageSet::open(&images.path, None).map_err(|e| e.to_string())?.ordered(order));
        self.show_images(Images { opened: set.clone(), set, remark: None, class_order: Some(order), ..images })
    }

    /// The output of this name answers.
    pub(super) fn answer_with(&mut self, output: Option<String>) -> Result<(), String> {
        let Some(evaluator) = &mut self.evaluator else { return Ok(()) };
        evaluator.choose_output(output.as_deref()).map_err(|e| e.to_string())?;
        self.output = output;
        match self.images.clone() {
            // Labels that another output could not use may suit this one.
            Some(images) => self.show_images(Images { set: images.opened.clone(), remark: None, ..images }),
            None => {
                self.renew();
                Ok(())
            }
        }
    }

    /// The images in hand, preprocessed in another way.
    pub(super) fn preprocess(&mut self, chosen: Option<Preprocess>) -> Result<(), String> {
        let (Some(engine), Some(images)) = (&self.engine, self.images.clone()) else { return Ok(()) };
        let (preprocess, provenance) = match chosen {
            Some(preprocess) => (preprocess, Provenance::Chosen),
            None => Preprocess::for_model(&engine.model().graph, &engine.model().file.path),
        };
        preprocess.check().map_err(|e| e.to_string())?;
        self.show_images(Images { preprocess, provenance, ..images })
    }

    pub(super) fn show_images(&mut self, images: Images) -> Result<(), String> {
        let shown = Shown {
            path: Some(images.path.clone()),
            images: images.set.images.len(),
            classes: images.set.classes.clone(),
            is_labelled: images.set.is_labelled(),
            unused_classes: images.set.unused_classes(),
            preprocess: Some(images.preprocess.clone()),
            provenance: images.provenance.to_string(),
            remark: images.remark.clone(),
            inventory: images.set.remarks(),
            asks_order: images.asks_order,
            class_order: images.class_order,
        };
        let before = self.images.replace(images);
        if let Err(error) = self.ask_again() {
            self.images = before;
            return Err(error);
        }
        self.tell(Finding::Shown(shown));
        Ok(())
    }

    /// Goes on without labels that cannot be those of the network's outputs, whose number the first images tell.
    pub(super) fn check_labels(&mut self, token: &Token) -> Result<(), EvaluateError> {
        let (Some(evaluator), Some(images)) = (&mut self.evaluator, &self.images) else { return Ok(()) };
        if evaluator.num_classes().is_some() {
            return Ok(());
        }
        evaluator.dense(Some(1), token)?;
        let Some(Err(error)) = evaluator.num_classes().map(|classes| images.set.fits(classes)) else { return Ok(()) };
        let set = Arc::new(images.set.without_labels());
        let remark = Some(format!("The labels are not used: {error}"));
        let images = Images { set, remark, ..images.clone() };
        // The same images and the same model: nothing else can be in the way. They are due at once.
        let _ = self.show_images(images);
        Err(EngineError::Cancelled.into())
    }

    /// Makes the evaluator for the images in hand.
    pub(super) fn ask_again(&mut self) -> Result<(), String> {
        let (Some(engine), Some(Images { set, preprocess, .. })) = (&self.engine, &self.images) else { return Ok(()) };
        let batch = batch(preprocess);
        let questions =
            Questions::images(&engine.model().graph, set.clone(), preprocess.clone(), None, batch).map_err(|e| e.to_string())?;
        self.ask(questions);
        Ok(())
    }

    /// These questions from now on.
    pub(super) fn ask(&mut self, questions: Questions) {
        let Some(engine) = &self.engine else { return };
        let classes = self.images.as_ref().filter(|images| images.set.is_labelled()).map(|images| images.set.classes.len());
        let reference = self.reference.as_ref().unwrap_or(engine);
        let mut evaluator = Evaluator::new(engine.clone(), questions, classes).compared_with(reference.clone());
        // Of another model it is not.
        let _ = evaluator.choose_output(self.output.as_deref());
        self.evaluator = Some(evaluator);
        self.norms = None;
        self.renew();
    }

    pub(super) fn show_noise(&mut self) -> Result<(), String> {
        let Some(engine) = &self.engine else { return Ok(()) };
        let model = engine.model();
        let (preprocess, _) = Preprocess::for_model(&model.graph, &model.file.path);
        let questions = Questions::noise(&model.graph, &preprocess, None, batch(&preprocess)).map_err(|e| e.to_string())?;
        let shown = Shown {
            path: None,
            images: questions.num_images(),
            classes: Vec::new(),
            is_labelled: false,
            unused_classes: 0,
            preprocess: None,
            provenance: String::new(),
            remark: None,
            inventory: Vec::new(),
            asks_order: false,
            class_order: None,
        };
        self.images = None;
        self.ask(questions);
        self.tell(Finding::Shown(shown));
        Ok(())
    }

    /// Other questions: what was measured with those before is over.
    pub(super) fn renew(&mut self) {
        self.drop_tasks("the networks are shown something else");
        (self.ready_repairer, self.judge) = (None, None);
        self.scan = None;
        self.measured = None;
        (self.channels.measured, self.channels.curve) = (None, None);
        self.curve = None;
        self.due = self.position.as_ref().map(|_| Instant::now());
    }
}

/// How many images go through a network of this preprocessing's size at once.
pub(super) fn batch(preprocess: &Preprocess) -> usize {
    let [height, width] = preprocess.size;
    (BATCH_PIXELS / (height * width).max(1)).clamp(1, BATCH)
}
