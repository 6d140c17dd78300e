//! Which operators are modules, of what type, and which of their inputs they own.

use super::discover::{Discovery, ModulePart};
use super::einsum::factor;
use super::module::{Kind, Layout, Role};
use super::sources::{NodePlace, Weight, WeightOrigin, is_small};

const BLOCKED: &str = "ONNX Runtime optimised this file for one processor, with channels in blocks that are filled up: prune the model that \
it was made from";

impl Discovery<'_, '_> {
    /// Enters the module that this node is, where it is one.
    pub(super) fn module(&mut self, place: NodePlace) {
        let node = self.node(place);
        if node.domain == "com.microsoft" {
            return self.microsoft(place);
        }
        if node.domain == "com.microsoft.nchwc" && node.op == "Conv" {
            return self.convolution(place, 1, Some(2));
        }
        if !node.is_standard() {
            return;
        }
        match node.op.as_str() {
            "Conv" | "ConvTranspose" => self.convolution(place, 1, Some(2)),
            "ConvInteger" => self.convolution(place, 1, None),
            "QLinearConv" => self.convolution(place, 3, Some(8)),
            "Gemm" | "MatMul" => self.linear(place),
            "Einsum" => self.einsum(place),
            "MatMulInteger" => self.small_linear(place, 1, None),
            "QLinearMatMul" => self.small_linear(place, 3, None),
            "BatchNormalization" => self.norm(place, "BatchNorm2d", [1, 2]),
            "LayerNormalization" => self.norm(place, "LayerNorm", [1, 2]),
            "GroupNormalization" => self.norm(place, "GroupNorm", [1, 2]),
            "InstanceNormalization" => self.norm(place, "InstanceNorm2d", [1, 2]),
            "RMSNormalization" | "SimplifiedLayerNormalization" => self.norm(place, "RMSNorm", [1, 2]),
            "Gather" => self.embedding(place),
            "PRelu" => {
                if let Some(weight) = self.weight(place, 1) {
                    self.add(place, "PReLU", Role::Activation, vec![ModulePart::new(Kind::Weight, "weight", weight, Layout::OutFirst)]);
                }
            }
            "LSTM" | "GRU" | "RNN" => self.recurrent(place),
            _ => {}
        }
    }

    /// Operators that ONNX Runtime joins when it optimises a model.
    fn microsoft(&mut self, place: NodePlace) {
        match self.node(place).op.as_str() {
            "FusedConv" | "NhwcFusedConv" => self.convolution(place, 1, Some(2)),
            "FusedGemm" | "FusedMatMul" | "TransposeMatMul" => self.linear(place),
            "DynamicQuantizeMatMul" => self.small_linear(place, 1, Some(4)),
            "MatMulIntegerToFloat" => self.small_linear(place, 1, Some(6)),
            "MatMulNBits" => self.small_linear(place, 1, Some(5)),
            "QGemm" => self.small_linear(place, 3, None),
            "SkipLayerNormalization" => self.norm(place, "LayerNorm", [2, 3]),
            // Its third input is a bias of what comes before.
            "SkipSimplifiedLayerNormalization" => self.norm(place, "RMSNorm", [2, usize::MAX]),
            "SimplifiedLayerNormalization" => self.norm(place, "RMSNorm", [1, 2]),
            "EmbedLayerNormalization" => {
                let tables = [(2, "word_embeddings.weight"), (3, "position_embeddings.weight"), (4, "token_type_embeddings.weight")];
                let rest = [(5, Kind::Weight, "LayerNorm.weight"), (6, Kind::Bias, "LayerNorm.bias")];
                let tables = tables.map(|(i, name)| (i, Kind::Weight, name));
                let parts = self.parts(place, tables.into_iter().chain(rest), Layout::OutFirst);
                self.add(place, "Embeddings", Role::Embedding, parts);
            }
            "Attention" => {
                let parts = self.parts(place, [(1, Kind::Weight, "in_proj_weight"), (2, Kind::Bias, "in_proj_bias")], Layout::InFirst);
                self.add(place, "Attention", Role::Linear, parts);
            }
            "DynamicQuantizeLSTM" => self.recurrent(place),
            "MultiHeadAttention" => {
                let parts = self.parts(place, [(3, Kind::Bias, "in_proj_bias")], Layout::OutFirst);
                self.add(place, "MultiheadAttention", Role::Linear, parts);
            }
            _ => {}
        }
    }

    /// The plain tensors behind these inputs; weights that are no vectors keep this order of outputs and inputs.
    fn parts(&self, place: NodePlace, inputs: impl IntoIterator<Item = (usize, Kind, &'static str)>, layout: Layout) -> Vec<ModulePart> {
        let part = |(i, kind, name)| {
            let weight = self.weight(place, i)?;
            let layout = if kind == Kind::Bias || self.file.tensor(weight.tensor).shape.len() < 2 { Layout::OutFirst } else { layout };
            Some(ModulePart::new(kind, name, weight, layout))
        };
        inputs.into_iter().filter_map(part).collect()
    }

    fn convolution(&mut self, place: NodePlace, weight: usize, bias: Option<usize>) {
        let node = self.node(place);
        let Some(origin) = self.origin(place, weight) else { return };
        let shape = &self.file.tensor(origin.main().tensor).shape;
        // What a weight is worked out from may be of another shape, and one that is a matrix in the file gets its dimensions here:
        // those of an image where nothing tells them.
        let kernel = node.attributes.ints("kernel_shape").filter(|_| matches!(origin, WeightOrigin::WorkedOut(_)) || shape.len() == 2);
        let dims = kernel.map_or(if shape.len() == 2 { 2 } else { shape.len().saturating_sub(2) }, <[i64]>::len);
        let is_whole = shape.len() == dims + 2;
        if !(1..=3).contains(&dims) {
            return;
        }
        let groups = node.attributes.int("group").unwrap_or(1);
        let transpose = node.op == "ConvTranspose";
        let filters = if !is_whole {
            0
        } else if transpose {
            shape[0]
        } else {
            shape[1]
        };
        let is_point = match kernel {
            Some(kernel) => kernel.iter().all(|&k| k == 1),
            None => shape.iter().skip(2).all(|&k| k == 1),
        };
        let first = !self.graph.modules.iter().any(|m| matches!(m.role, Role::Stem));
        let role = if first && !transpose {
            Role::Stem
        } else if groups > 1 && is_whole && (filters == 1 || (transpose && shape[1] == 1)) {
            Role::Depthwise
        } else if is_point {
            Role::Pointwise
        } else {
            Role::Dense
        };
        let layout = if transpose { Layout::InFirst } else { Layout::OutFirst };
        let mut parts = ModulePart::all("weight", &origin, layout);
        parts.extend(bias.and_then(|i| self.weight(place, i)).map(ModulePart::bias));
        if self.node(place).domain == "com.microsoft.nchwc" {
            for part in &mut parts {
                part.reason = Some(BLOCKED.to_owned());
            }
        }
        let kind = format!("Conv{}{dims}d", if transpose { "Transpose" } else { "" });
        self.add(place, &kind, role, parts);
    }

    fn linear(&mut self, place: NodePlace) {
        let node = self.node(place);
        let gemm = node.op.ends_with("Gemm");
        let (origin, left) = match (self.origin(place, 1), self.origin(place, 0)) {
            (Some(origin), None) => (origin, false),
            (None, Some(origin)) => (origin, true),
            _ => return,
        };
        if !self.is_matrix(&origin) {
            return;
        }
        let flag = |name: &str| node.op != "MatMul" && node.attributes.int(name).unwrap_or(0) != 0;
        // A product x·W keeps inputs first, x·Wᵀ outputs first; on the left side it is the other way round.
        let turned = if left { !flag("transA") } else { flag("transB") };
        let weight = origin.main();
        let layout = if turned == weight.transposed { Layout::InFirst } else { Layout::OutFirst };
        let shape = &self.file.tensor(weight.tensor).shape;
        let mut parts = ModulePart::all("weight", &origin, layout);
        let outputs = match layout {
            Layout::InFirst => shape.last(),
            Layout::OutFirst | Layout::Mixed => shape.first(),
        };
        let outputs: Vec<usize> = outputs.copied().into_iter().collect();
        let bias = if gemm { self.weight(place, 2) } else { self.added_bias(place, &outputs) };
        parts.extend(bias.map(ModulePart::bias));
        self.add(place, "Linear", Role::Linear, parts);
    }

    fn is_matrix(&self, origin: &WeightOrigin) -> bool {
        let shape = &self.file.tensor(origin.main().tensor).shape;
        match origin {
            WeightOrigin::Plain(_) => shape.len() >= 2,
            // A vector that was spread out is no weight.
            WeightOrigin::WorkedOut(_) => shape.iter().filter(|&&d| d > 1).count() >= 2,
        }
    }

    /// Weights among the factors of a sum of products.
    fn einsum(&mut self, place: NodePlace) {
        let node = self.node(place);
        let origins: Vec<Option<WeightOrigin>> = (0..node.inputs.len()).map(|i| self.origin(place, i)).collect();
        let Some(equation) = node.attributes.string("equation").filter(|_| origins.iter().any(Option::is_none)) else { return };
        let (mut parts, mut bias) = (Vec::new(), None);
        for (i, origin) in origins.iter().enumerate() {
            let Some(origin) = origin.as_ref().filter(|origin| self.is_matrix(origin)) else { continue };
            let Weight { tensor, transposed } = origin.main();
            let Some(factor) = factor(equation, i, &self.file.tensor(tensor).shape, transposed) else { continue };
            parts.extend(ModulePart::all("weight", origin, factor.layout));
            bias = bias.or_else(|| self.added_bias(place, &factor.outputs));
        }
        parts.extend(bias.map(ModulePart::bias));
        if parts.iter().any(|part| part.kind == Kind::Weight) {
            self.add(place, "Linear", Role::Linear, parts);
        }
    }

    /// A linear layer of small integers.
    fn small_linear(&mut self, place: NodePlace, weight: usize, bias: Option<usize>) {
        let Some(origin) = self.origin(place, weight) else { return };
        if self.file.tensor(origin.main().tensor).shape.len() < 2 {
            return;
        }
        let layout = if self.node(place).op == "MatMulNBits" { Layout::OutFirst } else { Layout::InFirst };
        let mut parts = ModulePart::all("weight", &origin, layout);
        parts.extend(bias.and_then(|i| self.weight(place, i)).map(ModulePart::bias));
        self.add(place, "Linear", Role::Linear, parts);
    }

    /// What the one reader of a product adds to it, where that is a constant with an element for each of the `outputs`.
    fn added_bias(&self, place: NodePlace, outputs: &[usize]) -> Option<Weight> {
        let output = self.node(place).output(0)?;
        let [reader] = self.readers.get(&output)?.as_slice() else { return None };
        let add = self.node(*reader);
        let other = match (add.domain.as_str(), add.op.as_str()) {
            ("" | "ai.onnx", "Add") if add.input(0) == Some(output) => 1,
            ("" | "ai.onnx", "Add") => 0,
            ("com.microsoft", "BiasGelu" | "FastGelu") if add.input(0) == Some(output) => 1,
            ("com.microsoft", "SkipLayerNormalization") => 4,
            ("com.microsoft", "SkipSimplifiedLayerNormalization") => 3,
            _ => return None,
        };
        let bias = self.weight(*reader, other)?;
        let tensor = self.file.tensor(bias.tensor);
        let is_one_each = !outputs.is_empty() && outputs.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)) == Some(tensor.elements);
        (is_one_each && tensor.shape.last() == outputs.last()).then_some(bias)
    }

    fn norm(&mut self, place: NodePlace, kind: &str, [scale, shift]: [usize; 2]) {
        let is_batch = self.node(place).op == "BatchNormalization";
        let buffers: Vec<_> = [("running_mean", 3), ("running_var", 4)]
            .into_iter()
            .filter(|_| is_batch)
            .filter_map(|(name, i)| Some((name.to_owned(), self.weight(place, i)?.tensor)))
            .collect();
        let parts = self.parts(place, [(scale, Kind::Weight, "weight"), (shift, Kind::Bias, "bias")], Layout::OutFirst);
        if let Some(id) = self.add(place, kind, Role::Normalization, parts) {
            self.graph.modules[id.0].buffers = buffers;
        }
    }

    fn embedding(&mut self, place: NodePlace) {
        let Some(origin) = self.origin(place, 0) else { return };
        let tensor = self.file.tensor(origin.main().tensor);
        // Of floats that are worked out, tables of places are made as often as those of words.
        let is_known = is_small(tensor.dtype) || (tensor.dtype.is_float() && matches!(origin, WeightOrigin::Plain(_)));
        let is_table = tensor.shape.len() == 2 && is_known;
        if is_table && self.node(place).attributes.int("axis").unwrap_or(0) == 0 {
            self.add(place, "Embedding", Role::Embedding, ModulePart::all("weight", &origin, Layout::OutFirst));
        }
    }

    fn recurrent(&mut self, place: NodePlace) {
        let inputs = [(1, Kind::Weight, "weight_ih_l0"), (2, Kind::Weight, "weight_hh_l0"), (3, Kind::Bias, "bias_l0")];
        let mut parts = Vec::new();
        for (i, kind, name) in inputs {
            let Some(origin) = self.origin(place, i) else { continue };
            parts.extend(ModulePart::all(name, &origin, Layout::OutFirst).into_iter().map(|part| ModulePart { kind, ..part }));
        }
        let op = self.node(place).op.trim_start_matches("DynamicQuantize").to_owned();
        self.add(place, &op, Role::Recurrent, parts);
    }
}
