//! What a module is called: from the initializer, the exporter's metadata, the node, in that order.

/// Names of a weight from which a module's name follows, less their ending.
const ENDINGS: [&str; 13] = [
    ".weight_quantized",
    ".weight",
    ".bias",
    ".w_0",
    ".b_0",
    "/kernel",
    "/bias",
    ".weight_v",
    ".weight_g",
    ".weight_orig",
    ".parametrizations.weight.original",
    ".parametrizations.weight.original0",
    ".parametrizations.weight.original1",
];

/// Whether PyTorch names tensors so within a module that works its weight out from them.
pub(super) fn is_worked_out(attribute: &str) -> bool {
    matches!(attribute, "weight_v" | "weight_g" | "weight_u" | "weight_orig" | "weight_mask") || attribute.starts_with("parametrizations.")
}

/// The module's name that a parameter's name tells: `conv_stem.weight` → `conv_stem`.
pub(super) fn from_parameter(name: &str) -> Option<&str> {
    ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).filter(|stem| !stem.is_empty())
}

/// Whether an exporter made this name up, so that it says nothing: `onnx::Conv_415`, `841`, `val_12`.
pub(super) fn is_made_up(name: &str) -> bool {
    let number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    name.contains("::") || number(name) || name.strip_prefix("val_").is_some_and(number)
}

/// The module's path in a node's name, as TorchScript and TensorFlow write it.
///
/// `/blocks/blocks.0/blocks.0.0/conv/Conv` → `blocks.0.0.conv`: a component repeats its parent's where the parent is a
/// sequence. `None` where the name holds no path.
pub(super) fn from_node(name: &str) -> Option<String> {
    let (path, _) = name.trim_start_matches('/').rsplit_once('/')?;
    let mut out = String::new();
    let mut previous = "";
    for part in path.split('/').filter(|p| !p.is_empty()) {
        let repeats = !previous.is_empty() && part.strip_prefix(previous).is_some_and(|rest| rest.starts_with('.'));
        if repeats {
            out.truncate(out.len() - previous.len());
        } else if !out.is_empty() {
            out.push('.');
        }
        out.push_str(part);
        previous = part;
    }
    (!out.is_empty()).then_some(out)
}

/// Items of a Python list of strings, as PyTorch's exporter writes its metadata: `['', 'conv_stem', 'conv2d']`.
pub(super) fn python_list(text: &str) -> Vec<&str> {
    text.trim().trim_start_matches('[').trim_end_matches(']').split(", ").map(|item| item.trim_matches(|c| c == '\'' || c == '"')).collect()
}

/// Whether a class name may stand for this operator.
pub(super) fn class_agrees(class: &str, op: &str) -> bool {
    let key = match op {
        "Conv" | "ConvTranspose" | "FusedConv" | "QLinearConv" | "ConvInteger" => "Conv",
        "Gemm" | "MatMul" | "FusedGemm" | "FusedMatMul" | "MatMulInteger" | "QLinearMatMul" => "Linear",
        "Attention" | "MultiHeadAttention" => "Attention",
        "Gather" => "Embedding",
        "PRelu" => "PReLU",
        "LSTM" | "GRU" | "RNN" => op,
        _ => "Norm",
    };
    class.contains(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_path_becomes_a_module_path() {
        assert_eq!(from_node("/blocks/blocks.0/blocks.0.0/conv/Conv").as_deref(), Some("blocks.0.0.conv"));
        assert_eq!(from_node("/backbone/stage1/stage1.0/block/block.0/Conv").as_deref(), Some("backbone.stage1.0.block.0"));
        assert_eq!(from_node("/conv_stem/Conv").as_deref(), Some("conv_stem"));
        assert_eq!(from_node("Conv_0"), None);
        assert_eq!(from_node("/Softmax"), None);
    }

    #[test]
    fn made_up_names_are_known() {
        for name in ["onnx::Conv_415", "841", "val_12"] {
            assert!(is_made_up(name), "{name}");
        }
        for name in ["conv_stem.weight", "val_x", "Parameter5"] {
            assert!(!is_made_up(name), "{name}");
        }
    }

    #[test]
    fn python_lists_are_read() {
        assert_eq!(python_list("['', 'conv_stem', 'conv2d']"), ["", "conv_stem", "conv2d"]);
    }
}
