"""Reading study files."""

import argparse
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from terraprobe.errors import TerraprobeError
from terraprobe.explain import explain
from terraprobe.study.together import StudyList, put_together
from terraprobe.study.whole import Study


def parse_study(content: Any, where: str) -> Study:
    """Check a study that has been read already.

    Args:
        content: what the YAML holds.
        where: file name, for errors.

    Raises:
        TerraprobeError: it does not fit; says every key that is wrong.
    """
    if isinstance(content, dict) and "studies" in content:
        content = _put_together(content, where)
    try:
        return Study.model_validate(content)
    except ValidationError as error:
        raise TerraprobeError(f"{where}: {explain(error, Study)}") from error


def _put_together(content: dict[str, Any], where: str) -> dict[str, Any]:
    """One study of the files that `studies` lists."""
    try:
        listed = StudyList.model_validate(content)
    except ValidationError as error:
        raise TerraprobeError(f"{where}: {explain(error, StudyList)}") from error
    try:
        return put_together(listed, [(file, read_yaml(Path(file).expanduser())) for file in listed.studies])
    except TerraprobeError as error:
        raise TerraprobeError(f"{where}: {error}") from error


def load_study(path: Path) -> Study:
    """Read and check a study file.

    Raises:
        TerraprobeError: the file is absent, not YAML, or does not fit.
    """
    return parse_study(read_yaml(path), str(path))


def read_yaml(path: Path) -> Any:
    """Read YAML in which no key is given twice: YAML itself would silently keep the last.

    Raises:
        TerraprobeError: the file is absent, not YAML, or names a key twice.
    """
    import yaml

    class Strict(yaml.SafeLoader):
        """Refuses a key that is given twice."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
            twice = {key for key in keys if keys.count(key) > 1}
            if twice:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{sorted(twice)[0]!r} is given twice", node.start_mark
                )
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(path.read_text(), Loader=Strict)  # noqa: S506 (a SafeLoader)
    except OSError as error:
        raise TerraprobeError(f"{path}: cannot be read ({error.strerror}). Give the path of a study file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TerraprobeError(f"{path}: not YAML: {' '.join(str(error).split())}") from error


def check_command(argv: list[str]) -> int:
    """`terraprobe check-study FILE`: check, and say in one line what the study is made of."""
    parser = argparse.ArgumentParser(prog="terraprobe check-study", description="Check a study file, run nothing.")
    parser.add_argument("file", type=Path)
    study = load_study(parser.parse_args(argv).file)
    print(
        f"{study.study}: {len(study.collections)} collections, {len(study.encoders)} encoders, "
        f"{len(study.evaluations)} evaluations: fits",
        file=sys.stdout,
    )
    for name, reasons in study.left_out.items():
        for reason in reasons:
            print(f"  not run: {name}: {reason}")
    return 0
