"""The study file: what to collect, what to pretrain, what to evaluate. Checked whole before the first job.

Collections, encoders and evaluations are lists of named entries. A key that is not known, a name that is not
known and a combination that cannot work fail here, with the key, what was found and what is allowed.
"""

from terraprobe.study.area import AreaCollection
from terraprobe.study.collections import Collection, SceneCollection, SimulatedCollection
from terraprobe.study.encoders import EncoderEntry
from terraprobe.study.evaluations import Classification, Evaluation, Pool, Reconstruction
from terraprobe.study.files import check_command, load_study, parse_study, read_yaml
from terraprobe.study.own import AnyCollection, ArchiveCollection, FolderCollection
from terraprobe.study.probing import MlpProbe
from terraprobe.study.segmentations import Segmentation
from terraprobe.study.whole import Study

__all__ = [
    "AnyCollection",
    "ArchiveCollection",
    "AreaCollection",
    "Classification",
    "Collection",
    "EncoderEntry",
    "Evaluation",
    "FolderCollection",
    "MlpProbe",
    "Pool",
    "Reconstruction",
    "SceneCollection",
    "Segmentation",
    "SimulatedCollection",
    "Study",
    "check_command",
    "load_study",
    "parse_study",
    "read_yaml",
]
