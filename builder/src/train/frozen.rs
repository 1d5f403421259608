//! Parameters that training leaves as they are.

use super::{Config, TrainError, head};
use skipstone_onnx::{Graph, Op};

/// Names shown of those that a prefix could have meant.
const SHOWN: usize = 8;

/// For each value of `graph` whether it is a parameter that stays as it is: those of nodes whose names begin with one
/// of `config.freeze`, those whose own names do, and with `config.head_only` all but the head's. Where a batch
/// normalization has a frozen parameter, all of it is frozen: it keeps its statistics and uses them. Empty if nothing
/// is frozen.
///
/// # Errors
/// [`TrainError`] for a prefix of no parameter's name, and where nothing is left to train.
pub(super) fn frozen(graph: &Graph, config: &Config) -> Result<Vec<bool>, TrainError> {
    if config.freeze.is_empty() && !config.head_only {
        return Ok(Vec::new());
    }
    let mut frozen = vec![false; graph.values().len()];
    if config.head_only {
        let head = head::parameters(graph)?;
        graph.parameters().for_each(|(id, ..)| frozen[id.index()] = !head.contains(&id));
    }
    for prefix in &config.freeze {
        let mut found = false;
        for node in graph.nodes() {
            for &id in &node.inputs {
                let value = graph.value(id);
                if value.parameter.is_some() && (node.name.starts_with(prefix) || value.name.starts_with(prefix)) {
                    frozen[id.index()] = true;
                    found = true;
                }
            }
        }
        if !found {
            return Err(TrainError::NothingCalled { prefix: prefix.clone(), names: beginnings(graph) });
        }
    }
    for node in graph.nodes().iter().filter(|node| matches!(node.op, Op::BatchNorm { .. })) {
        let parameters = &node.inputs[1..];
        if parameters.iter().any(|id| frozen[id.index()]) {
            parameters.iter().for_each(|id| frozen[id.index()] = true);
        }
    }
    match graph.parameters().any(|(id, _, parameter)| parameter.trainable && !frozen[id.index()]) {
        true => Ok(frozen),
        false => Err(TrainError::AllFrozen),
    }
}

/// What the names of nodes with parameters begin with, up to their first separator.
fn beginnings(graph: &Graph) -> String {
    let mut names: Vec<&str> = Vec::new();
    for node in graph.nodes() {
        if node.inputs.iter().any(|&id| graph.value(id).parameter.is_some()) {
            let end =
                node.name.char_indices().skip(1).find(|(_, c)| ['.', '/'].contains(c)).map_or(node.name.len(), |c| c.0);
            if !names.contains(&&node.name[..end]) {
                names.push(&node.name[..end]);
            }
        }
    }
    let more = if names.len() > SHOWN { ", ..." } else { "" };
    names.truncate(SHOWN);
    format!("{}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::tests::{config, tiny};

    fn names(config: &Config) -> Result<Vec<String>, TrainError> {
        let graph = tiny();
        let frozen = frozen(&graph, config)?;
        Ok(graph.parameters().filter(|(id, ..)| frozen[id.index()]).map(|(_, name, _)| name.into()).collect())
    }

    #[test]
    fn prefixes_and_the_head_decide() {
        assert!(frozen(&tiny(), &config()).unwrap().is_empty());
        let freeze =
            |prefixes: &[&str]| Config { freeze: prefixes.iter().map(|p| p.to_string()).collect(), ..config() };
        let of = |name: &str| ["weight", "gamma", "beta", "mean", "variance"].map(|field| format!("{name}.{field}"));
        assert_eq!(names(&freeze(&["conv1"])).unwrap(), of("conv1"));
        // One parameter of a batch norm is all of it.
        assert_eq!(names(&freeze(&["conv2.beta"])).unwrap(), of("conv2")[1..]);
        let all = [of("conv1"), of("conv2")].concat();
        assert_eq!(names(&Config { head_only: true, ..config() }).unwrap(), all);
        assert_eq!(names(&freeze(&["conv1", "conv2"])).unwrap(), all);
        let error = names(&freeze(&["conv1", "layer3"])).unwrap_err().to_string();
        assert!(error.contains("`layer3...`") && error.contains("conv1, conv2, linear"), "{error}");
        let error = names(&freeze(&["conv", "linear"])).unwrap_err().to_string();
        assert!(error.contains("nothing is left"), "{error}");
    }
}
