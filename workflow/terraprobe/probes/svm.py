"""Classes by a support vector machine on frozen embeddings (Leonhardt et al., `bioclim`)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC

from terraprobe.collections.chiptable import read_classes
from terraprobe.errors import TerraprobeError
from terraprobe.probes.features import read_chips, read_feature_sets


def call_classes(train: NDArray[np.float32], names: NDArray[np.str_], others: NDArray[np.float32]) -> NDArray[np.str_]:
    """Learn classes and call those of other chips.

    An RBF `SVC` on min-max-scaled values [C]; scaled by the train chips, penalty C = 1 and the kernel's width as
    scikit-learn sets them, because no source states them [D].

    Args:
        train: embeddings, (n, D).
        names: their classes, (n,).
        others: embeddings, (m, D).

    Returns:
        (m,).
    """
    scaler = MinMaxScaler().fit(train)
    machine = SVC(kernel="rbf", C=1.0, gamma="scale").fit(scaler.transform(train), names)
    called: NDArray[np.str_] = machine.predict(scaler.transform(others))
    return called


def svm_calls(embeddings: Path, chips: Path, labels: Path, label: str, classes: Sequence[str]) -> pd.DataFrame:
    """What machines that learnt the train chips call the test chips; no label of a test chip is read.

    Args:
        embeddings: of one encoder and its untrained twins.
        chips: `chips.parquet`.
        labels: `labels.parquet`.
        label: chip-level classes, one a chip.
        classes: that count; train chips of any other are left out.

    Returns:
        `chip_id, init, called` of every test chip that has an embedding.

    Raises:
        TerraprobeError: a file is broken, or the train chips have fewer than two classes.
    """
    table = read_chips(chips, ("train", "test"))
    is_train = (table["split"] == "train").to_numpy()
    truth = np.full(len(table), "", object)
    truth[is_train] = read_classes(labels, label, table["chip_id"].to_numpy(str)[is_train])
    learnt = is_train & np.isin(truth, list(classes))
    parts = []
    for features in read_feature_sets([embeddings], table):
        train, test = learnt[features.chips], ~is_train[features.chips]
        names = truth[features.chips[train]].astype(str)
        if len(set(names.tolist())) < 2:
            raise TerraprobeError(
                f"{labels}: train chips with an embedding have {len(set(names.tolist()))} of the classes of {label}; a "
                "support vector machine needs two. Look at the labels and at the split, or leave the evaluation's "
                "label out."
            )
        called = call_classes(features.matrix[train], names, features.matrix[test])
        ids = table["chip_id"].to_numpy(str)[features.chips[test]]
        parts.append(pd.DataFrame({"chip_id": ids, "init": features.init, "called": called}))
    return pd.concat(parts, ignore_index=True)
