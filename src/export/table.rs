//! Tables as CSV, all of them: lines end in LF on every system, and fields are quoted as RFC 4180 has it, wherever a table
//! goes. Fractions are numbers 0..=1; what is not known is an empty field. Names stand as they are, also those that a spreadsheet
//! would take for a formula: a table is read by programs too, and they are to find the name.

use csv::{Terminator, WriterBuilder};

use crate::graph::{Graph, ParameterId};
use crate::measure::{Effect, Figures};
use crate::prune::{Amount, Method};

/// Columns of [`effect_fields`].
const EFFECT_HEADS: [&str; 6] = ["top1", "top5", "agreement", "mean_cosine", "mean_kl", "images"];

/// A table with these heads; rows have as many fields.
#[must_use]
pub fn table<R: IntoIterator<Item: AsRef<[u8]>>>(heads: &[&str], rows: impl IntoIterator<Item = R>) -> String {
    let mut writer = WriterBuilder::new().terminator(Terminator::Any(b'\n')).flexible(true).from_writer(Vec::new());
    // Nothing can fail: memory takes everything, and rows may be of any length.
    let _ = writer.write_record(heads);
    for row in rows {
        let _ = writer.write_record(row);
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// One row per parameter, in graph order, with all methods of `figures` at the present amount, in their order.
#[must_use]
pub fn csv(graph: &Graph, figures: &Figures) -> String {
    let first = ["parameter", "module", "type", "role", "kind", "shape", "dtype", "elements", "in_scope"].map(str::to_owned);
    let of = |method: Method| ["pruned", "sparsity", "cut"].map(|figure| format!("{}_{figure}", head(method)));
    let methods = figures.outcomes.iter().flat_map(|(method, _)| of(method));
    let heads: Vec<String> = first.into_iter().chain(methods).chain(["pruned_by_both".to_owned()]).collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let rows = graph.parameters.iter().enumerate().map(|(i, parameter)| {
        let id = ParameterId(i);
        let module = graph.owner(id);
        let mut row = vec![
            parameter.name.clone(),
            module.name.clone(),
            module.kind.clone(),
            module.role.to_string(),
            parameter.kind.to_string(),
            parameter.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x"),
            parameter.dtype.to_string(),
            parameter.elements.to_string(),
            figures.scope.binary_search(&id).is_ok().to_string(),
        ];
        for (_, outcome) in figures.outcomes.iter() {
            row.extend(match outcome {
                Ok(outcome) => {
                    let sparsity = outcome.zeros[i] as f64 / parameter.elements.max(1) as f64;
                    [outcome.masked[i].to_string(), sparsity.to_string(), optional(outcome.cuts[i])]
                }
                Err(_) => Default::default(),
            });
        }
        row.push(optional(figures.all().is_ok().then(|| figures.shared(id))));
        row
    });
    table(&heads, rows)
}

/// A method's name as part of a column's.
fn head(method: Method) -> &'static str {
    match method {
        Method::LayerWise => "layer_wise",
        Method::UniformPlus => "uniform_plus",
        Method::Global | Method::Lamp | Method::Norm | Method::Erk => method.name(),
    }
}

/// What pruning costs, row by row: the first columns are the caller's, the figures of the effect follow.
#[must_use]
pub fn effects(first: &[&str], rows: impl IntoIterator<Item = (Vec<String>, [String; 6])>) -> String {
    table(&[first, &EFFECT_HEADS].concat(), rows.into_iter().map(|(first, fields)| first.into_iter().chain(fields).collect::<Vec<_>>()))
}

/// An effect's figures, as [`effects`] takes them.
#[must_use]
pub fn effect_fields(effect: &Effect) -> [String; 6] {
    let Effect { top1, top5, agreement, mean_cosine, mean_kl, images, .. } = effect;
    [optional(*top1), optional(*top5), optional(*agreement), optional(*mean_cosine), optional(*mean_kl), images.to_string()]
}

/// An amount as it is typed: a fraction with a dot, a count without.
#[must_use]
pub fn amount_field(amount: Amount) -> String {
    match amount {
        Amount::Fraction(value) => format!("{value:?}"),
        Amount::Count(count) => count.to_string(),
    }
}

/// A number, or an empty field.
pub(crate) fn optional<T: ToString>(value: Option<T>) -> String {
    value.map(|v| v.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 9] = ["a.b", "a,\"b\"", "two\nlines", "ends\r\nso", "=1+1", "-x", "\u{6587}\u{5b57} \u{1f600}", " spaced ", ""];

    #[test]
    fn names_come_back_whatever_is_in_them() {
        let text = table(&["name", "other"], NAMES.map(|name| [name, "1"]));
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap(), &["name", "other"][..]);
        let names: Vec<String> = reader.records().map(|r| r.unwrap()[0].to_owned()).collect();
        assert_eq!(names, NAMES);
        assert!(text.starts_with("name,other\na.b,1\n\"a,\"\"b\"\"\",1\n\"two\nlines\",1\n"), "{text}");
    }

    #[test]
    fn effects_have_their_heads_and_empty_fields_for_what_is_not_known() {
        let effect = Effect { top1: Some(0.5), mean_cosine: Some(0.25), images: 3, ..Effect::default() };
        let row = (vec!["=x,y".to_owned(), amount_field(Amount::Fraction(1.0))], effect_fields(&effect));
        assert_eq!(
            effects(&["parameter", "amount"], [row]),
            "parameter,amount,top1,top5,agreement,mean_cosine,mean_kl,images\n\"=x,y\",1.0,0.5,,,0.25,,3\n"
        );
    }
}
