"""A list of sources and splits is followed to the letter, or refused with one sentence."""

import numpy as np
import pytest

from terraprobe.collections.official import official_split
from terraprobe.errors import TerraprobeError

SOURCES = np.array(["b", "a", "c", "a"], object)


def listed(tmp_path, text):
    path = tmp_path / "official.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("lead", ["", "\ufeff"])
def test_every_chip_gets_the_split_of_its_source(tmp_path, lead):
    path = listed(tmp_path, f'{lead}source,split\na,train\n"b",val\n\nc,test\n')
    assert list(official_split(path, SOURCES)) == ["val", "train", "test", "train"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "header none, expected source,split"),
        ("name,split\na,train\n", "header name,split, expected source,split"),
        ("source,split\na,train\nb,validation\n", r"row 3 is b,validation; expected .* train, val, test"),
        ("source,split\na\n", "row 2 is a; expected"),
        ("source,split\na,train\nb,val\na,test\n", r"source a is given twice \(row 4\)"),
        ("source,split\na,train\nb,val\n", "no split for c, a source of these chips"),
        ("source,split\na,train\nb,val\nc,test\nx,test\n", "x is no source of these chips, which come from a, b, c"),
        (b"source,split\n\xff,train\n", "cannot be read as CSV"),
        ('source,split\n"a,train\n', "cannot be read as CSV"),
    ],
)
def test_a_list_that_does_not_fit(tmp_path, text, words):
    with pytest.raises(TerraprobeError, match=rf"official\.csv: .*{words}") as error:
        official_split(listed(tmp_path, text), SOURCES)
    assert "\n" not in str(error.value)


def test_an_absent_list(tmp_path):
    with pytest.raises(TerraprobeError, match=r"absent\.csv: cannot be read as CSV"):
        official_split(tmp_path / "absent.csv", SOURCES)


def test_many_foreign_names_are_counted(tmp_path):
    rows = "".join(f"{name},train\n" for name in "abcopqrstu")
    with pytest.raises(TerraprobeError, match="o, p, q, r, s and 2 more are no source"):
        official_split(listed(tmp_path, f"source,split\n{rows}"), SOURCES)
