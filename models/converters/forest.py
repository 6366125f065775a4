"""IsolationForest: Liu, Ting and Zhou, Isolation Forest, ICDM 2008."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from swapstream.models.arrays import Float64
from swapstream.models.converters.nodes import DOUBLE, Nodes

COARSE = 2.0**-8


def isolation_forest(scope: Any, operator: Any, container: Any) -> None:
    """-2^(-d / (t c(m))) - offset, with d the path lengths summed over t trees of m samples."""
    model = operator.raw_operator
    nodes = Nodes(scope, operator, container)
    # scikit-learn's trees compare float32 values with float64 thresholds.
    single = nodes.add("Cast", [nodes.rows], to=1)
    values = nodes.add("Cast", [single], to=DOUBLE)
    parts = nodes.add("TreeEnsembleRegressor", [values], op_domain="ai.onnx.ml", op_version=3, **_trees(model))
    depth = nodes.row_sums(nodes.add("Cast", [parts], to=DOUBLE), 2)
    normal = len(model.estimators_) * float(_path_length(np.array([model._max_samples]))[0])
    exponent = nodes.add("Div", [depth, nodes.constant([-normal])])
    negative = nodes.add("Neg", [nodes.add("Pow", [nodes.constant([2.0]), exponent])])
    nodes.detector(nodes.add("Sub", [negative, nodes.constant([float(model.offset_)])]))


def _trees(model: Any) -> dict[str, Any]:
    """The attributes of a TreeEnsembleRegressor with two targets that add up to the path lengths.

    Its output is float32 whatever it computes in. Target 0 counts in steps of COARSE, which float32 sums exactly for up to
    a thousand trees; target 1 is the small rest.
    """
    from onnx import numpy_helper

    pairs = zip(model.estimators_, model.estimators_features_, strict=True)
    tables = [_tree(index, estimator.tree_, features) for index, (estimator, features) in enumerate(pairs)]
    merged = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    leaf, lengths, values = merged.pop("leaf"), merged.pop("lengths"), merged.pop("values")
    coarse = np.round(lengths[leaf] / COARSE) * COARSE
    weights = np.stack([coarse, lengths[leaf] - coarse], axis=1).ravel()
    return {name: column.tolist() for name, column in merged.items()} | {
        "n_targets": 2,
        "aggregate_function": "SUM",
        "post_transform": "NONE",
        "nodes_modes": ["LEAF" if end else "BRANCH_LEQ" for end in leaf],
        "nodes_values_as_tensor": numpy_helper.from_array(values, "values"),
        "target_treeids": merged["nodes_treeids"][leaf].repeat(2).tolist(),
        "target_nodeids": merged["nodes_nodeids"][leaf].repeat(2).tolist(),
        "target_ids": [0, 1] * int(leaf.sum()),
        "target_weights_as_tensor": numpy_helper.from_array(weights, "weights"),
    }


def _tree(index: int, tree: Any, features: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    leaf = tree.children_left < 0
    inner = np.where(leaf, 0, tree.feature)
    return {
        "nodes_treeids": np.full(tree.node_count, index),
        "nodes_nodeids": np.arange(tree.node_count),
        "nodes_featureids": np.where(leaf, 0, np.asarray(features)[inner]),
        "nodes_truenodeids": np.where(leaf, 0, tree.children_left),
        "nodes_falsenodeids": np.where(leaf, 0, tree.children_right),
        "values": np.where(leaf, 0.0, tree.threshold),
        "leaf": leaf,
        "lengths": _depths(tree) + _path_length(tree.n_node_samples),
    }


def _depths(tree: Any) -> Float64:
    """Edges from the root to each node. Children come after their parents."""
    depths = np.zeros(tree.node_count)
    for node, (left, right) in enumerate(zip(tree.children_left, tree.children_right, strict=True)):
        if left >= 0:
            depths[[left, right]] = depths[node] + 1
    return depths


def _path_length(samples: NDArray[Any]) -> Float64:
    """Mean length c(n) of an unsuccessful search in a binary tree of n samples: 2 H(n - 1) - 2 (n - 1) / n."""
    count = np.maximum(np.asarray(samples, np.float64), 2.0)
    long = 2.0 * (np.log(count - 1.0) + np.euler_gamma) - 2.0 * (count - 1.0) / count
    return np.select([np.asarray(samples) <= 1, np.asarray(samples) == 2], [0.0, 1.0], long)
