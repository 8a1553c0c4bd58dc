"""Files between stages are whole or absent, equal for equal content, and say where they came from."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

from terraprobe.artifacts import (
    atomic_path,
    digest,
    provenance_path,
    read_json,
    read_table,
    record_provenance,
    sha256_file,
    table_metadata,
    write_json,
    write_table,
)
from terraprobe.errors import TerraprobeError


def start(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """Run Python code in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def squares(n: int = 3) -> gpd.GeoDataFrame:
    shapes = [box(k, 50, k + 0.01, 50.01) for k in range(n)]
    return gpd.GeoDataFrame({"chip_id": [f"c{k}" for k in range(n)]}, geometry=shapes, crs="EPSG:4326")


def test_atomic_path_renames_when_the_block_ends(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "whole"
    assert [f.name for f in path.parent.iterdir()] == ["a.txt"]


def test_an_error_inside_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_keeps_the_older_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("older")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "older"


def test_a_kill_while_writing_leaves_no_final_name_and_the_next_run_succeeds(tmp_path):
    path = tmp_path / "a.bin"
    writer = start(
        """
        import sys, time
        from pathlib import Path
        from terraprobe.artifacts import atomic_path
        with atomic_path(Path(sys.argv[1])) as temporary, temporary.open("wb") as stream:
            stream.write(bytes(1000)); stream.flush()
            print("half", flush=True)
            time.sleep(60)
        """,
        path,
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "half\n"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert not path.exists()
    with atomic_path(path) as temporary:
        temporary.write_bytes(bytes(2000))
    assert path.stat().st_size == 2000


def test_a_copy_that_outgrows_the_limit_is_an_error_that_names_the_copy(tmp_path):
    (tmp_path / "source").write_bytes(bytes(100_000))
    code = """
        import resource, shutil, sys
        from pathlib import Path
        from terraprobe.artifacts import atomic_path
        from terraprobe.errors import TerraprobeError
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            with atomic_path(Path(sys.argv[2])) as temporary:
                shutil.copyfile(sys.argv[1], temporary)
        except TerraprobeError as error:
            print(error)
    """
    out, err = start(code, tmp_path / "source", tmp_path / "copy").communicate(timeout=60)
    assert out.startswith(f"{tmp_path / 'copy'}: cannot be written (File too large)"), err
    assert [f.name for f in tmp_path.iterdir()] == ["source"]


WRITE_TOO_MUCH = """
    import sys
    from pathlib import Path
    import numpy as np, pandas as pd
    from terraprobe.artifacts import write_json, write_table
    from terraprobe.errors import TerraprobeError
    path = Path(sys.argv[1])
    if sys.argv[2] == "limit":
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        if path.suffix == ".json":
            write_json(path, list(range(100_000)))
        else:
            write_table(path, pd.DataFrame({"x": np.random.default_rng(0).random(100_000)}))
    except TerraprobeError as error:
        print("refused", error)
    print(sorted(f.name for f in path.parent.iterdir()))
"""


@pytest.mark.parametrize("name", ["a.json", "a.parquet"])
def test_a_file_that_outgrows_the_limit_is_an_error_and_leaves_nothing(tmp_path, name):
    out, err = start(WRITE_TOO_MUCH, tmp_path / name, "limit").communicate(timeout=60)
    assert out.startswith(f"refused {tmp_path / name}: cannot be written"), err
    assert out.endswith("[]\n")


@pytest.mark.parametrize("name", ["a.json", "a.parquet"])
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path, name):
    # A file system of its own, in a mount namespace of its own: nothing stays mounted, whatever happens.
    mount = 'mount -t tmpfs -o size=64k none "$0" && exec "$@"'
    namespace = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, str(tmp_path)]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no test mount a small file system; the file size limit stands in for it")
    code = textwrap.dedent(WRITE_TOO_MUCH)
    command = [*namespace, sys.executable, "-c", code, str(tmp_path / name), "disk"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"refused {tmp_path / name}: cannot be written"), done.stderr
    assert "space" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TerraprobeError, match="cannot be written"):
        write_json(tmp_path / "file" / "deeper" / "a.json", {})


def test_an_unreadable_input_is_not_blamed_on_the_output(tmp_path):
    denied = PermissionError(13, "Permission denied", str(tmp_path / "input"))
    with pytest.raises(PermissionError), atomic_path(tmp_path / "a.txt"):
        raise denied


def test_two_processes_never_mix_their_bytes(tmp_path):
    path = tmp_path / "a.json"
    code = """
        import sys
        from pathlib import Path
        from terraprobe.artifacts import write_json
        for _ in range(100):
            write_json(Path(sys.argv[1]), [int(sys.argv[2])] * 5000)
    """
    writers = [start(code, path, k) for k in (1, 2)]
    seen = 0
    while any(w.poll() is None for w in writers):
        if path.exists():
            content = read_json(path)
            assert len(content) == 5000
            assert len(set(content)) == 1
            seen += 1
    assert [w.communicate()[1] for w in writers] == ["", ""]
    assert seen > 0
    assert [f.name for f in tmp_path.iterdir()] == ["a.json"]


def test_json_is_sorted_and_read_back(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, None]})
    write_json(tmp_path / "b.json", {"a": [1.5, None], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert read_json(tmp_path / "a.json") == {"a": [1.5, None], "b": 1}


@pytest.mark.parametrize(("content", "word"), [(None, "not found"), ("{", "not JSON"), (b"\xff\xfe\x00", "not JSON")])
def test_broken_json_is_named(tmp_path, content, word):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TerraprobeError, match=rf"a\.json: {word}"):
        read_json(path)


@pytest.mark.parametrize("geographic", [False, True])
def test_equal_tables_have_equal_bytes(tmp_path, geographic):
    code = """
        import sys
        from pathlib import Path
        import geopandas as gpd, pandas as pd
        from shapely.geometry import MultiPoint, Point, box
        from terraprobe.artifacts import write_table
        frame = pd.DataFrame({"chip_id": ["a", "b", "c"], "transform": [[1.0, 2.0]] * 3})
        if sys.argv[2] == "True":
            shapes = [box(0, 50, 1, 51), Point(2, 3), MultiPoint([(1, 1), (2, 2)])]
            frame = gpd.GeoDataFrame(frame, geometry=shapes, crs="EPSG:4326")
        write_table(Path(sys.argv[1]), frame, {"chip_px": "64", "unit": "dn"})
    """
    for name in ("a.parquet", "b.parquet"):  # each process hashes strings differently
        assert start(code, tmp_path / name, geographic).communicate(timeout=60)[1] == ""
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_geoparquet_keeps_crs_and_metadata(tmp_path):
    frame = squares()
    write_table(tmp_path / "a.parquet", frame, {"chip_px": "64"})
    for back in (gpd.read_parquet(tmp_path / "a.parquet"), read_table(tmp_path / "a.parquet")):
        assert back.crs == "EPSG:4326"
        assert list(back.columns) == ["chip_id", "geometry"]
        assert back.geometry.geom_equals(frame.geometry).all()
    metadata = table_metadata(tmp_path / "a.parquet")
    assert metadata["chip_px"] == "64"
    column = json.loads(metadata["geo"])["columns"]["geometry"]
    assert column["geometry_types"] == ["Polygon"]
    np.testing.assert_allclose(column["bbox"], frame.total_bounds)


def test_geoparquet_in_a_projected_crs(tmp_path):
    frame = squares().to_crs("EPSG:32633")
    write_table(tmp_path / "a.parquet", frame)
    assert read_table(tmp_path / "a.parquet").crs == "EPSG:32633"


def test_a_plain_table_is_read_back(tmp_path):
    frame = pd.DataFrame({"chip_id": ["a", "b"], "embedding": [[1.0, 2.0], [3.0]], "bio01": [np.nan, 1.5]})
    write_table(tmp_path / "a.parquet", frame)
    back = read_table(tmp_path / "a.parquet")
    assert type(back) is pd.DataFrame
    assert [list(e) for e in back["embedding"]] == [[1.0, 2.0], [3.0]]
    np.testing.assert_array_equal(back["bio01"], [np.nan, 1.5])


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("geographic", [False, True])
def test_a_cut_table_is_never_read(tmp_path, share, geographic):
    path = tmp_path / "a.parquet"
    write_table(path, squares() if geographic else pd.DataFrame({"x": range(1000)}))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(TerraprobeError, match=r"a\.parquet: not a whole Parquet file"):
        read_table(path)


def test_an_absent_table_says_what_to_do(tmp_path):
    with pytest.raises(TerraprobeError, match=r"a\.parquet: not found\. Run the stage"):
        read_table(tmp_path / "a.parquet")


def test_digest_of_content_ignores_the_order_of_keys():
    assert digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})
    assert digest({"a": 1, "b": [2, 3]}) != digest({"a": 1, "b": [3, 2]})


def test_provenance_says_what_came_from_what(tmp_path):
    inputs = [tmp_path / "in1.json", tmp_path / "in2.json"]
    outputs = [tmp_path / "out1.json", tmp_path / "out2.json"]
    for path in (*inputs, *outputs):
        write_json(path, path.name)
    record_provenance(outputs, reversed(inputs), "cut-chips", {"chip_px": 64}, "abc123")
    for path in outputs:
        record = read_json(provenance_path(path))
        assert record["artifact"] == path.name
        assert record["bytes"] == path.stat().st_size
        assert record["sha256"] == sha256_file(path)
        assert record["inputs"] == {str(p): sha256_file(p) for p in inputs}
        assert (record["stage"], record["recipe"], record["code"]) == ("cut-chips", {"chip_px": 64}, "abc123")
        assert {"python", "numpy", "rasterio", "terraprobe", "torch"} <= set(record["versions"])
    first = provenance_path(outputs[0]).read_bytes()
    record_provenance(outputs, inputs, "cut-chips", {"chip_px": 64}, "abc123")
    assert provenance_path(outputs[0]).read_bytes() == first
    assert provenance_path(Path("x/grid.parquet")) == Path("x/grid.parquet.prov.json")
