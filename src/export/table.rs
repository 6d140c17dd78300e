//! The table of figures as CSV (RFC 4180), fractions as numbers 0..=1.

use std::fmt::Write;

use crate::graph::{Graph, ParameterId};
use crate::measure::Figures;
use crate::prune::Method;

/// One line per parameter, in graph order, with both methods at the present amount.
#[must_use]
pub fn csv(graph: &Graph, figures: &Figures) -> String {
    let mut out = String::from("parameter,module,type,role,kind,shape,dtype,elements,in_scope");
    for method in ["layer_wise", "global"] {
        let _ = write!(out, ",{method}_pruned,{method}_sparsity,{method}_cut");
    }
    out.push_str(",pruned_by_both\r\n");
    for (i, parameter) in graph.parameters.iter().enumerate() {
        let id = ParameterId(i);
        let module = graph.owner(id);
        let shape = parameter.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
        let _ = write!(
            out,
            "{},{},{},{},{},{shape},{},{},{}",
            quoted(&parameter.name),
            quoted(&module.name),
            quoted(&module.kind),
            module.role,
            parameter.kind,
            parameter.dtype,
            parameter.elements,
            figures.scope.binary_search(&id).is_ok(),
        );
        for method in Method::ALL {
            match figures.of(method) {
                Ok(outcome) => {
                    let sparsity = outcome.zeros[i] as f64 / parameter.elements.max(1) as f64;
                    let cut = outcome.cuts[i].map(|c| c.to_string()).unwrap_or_default();
                    let _ = write!(out, ",{},{sparsity},{cut}", outcome.masked[i]);
                }
                Err(_) => out.push_str(",,,"),
            }
        }
        let _ = write!(out, ",{}\r\n", figures.shared(id));
    }
    out
}

/// A field of a table, in quotes where it needs them.
pub(crate) fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_needed() {
        assert_eq!(quoted("a.b"), "a.b");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
