"""The command line: options from signatures, one sentence for bad input, a record beside every output."""

import json
import subprocess
import sys
import textwrap

import pytest

from terraprobe import cli
from terraprobe.artifacts import read_json, sha256_file

TOY = '''
from terraprobe.artifacts import write_json
from terraprobe.errors import TerraprobeError
from terraprobe.stage import In, Ins, Out, Outs, Recipe


class Inner(Recipe):
    """Inner."""

    depth: int = 1


class ToyRecipe(Recipe):
    """Recipe of `join_files`."""

    times: int
    inner: Inner = Inner()


def join_files(*, one_file: In, more: Ins, recipe: ToyRecipe, whole: Out, parts: Outs) -> None:
    """Join files."""
    if recipe.times == 0:
        raise TerraprobeError("times is 0. Take more.")
    texts = [one_file.read_text(), *(path.read_text() for path in more)]
    write_json(whole, texts * recipe.times)
    for path in parts:
        write_json(path, path.name)
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A stage of its own behind the verb `join-files`, and its arguments."""
    (tmp_path / "toy_stage.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "toy_stage", raising=False)
    monkeypatch.setitem(cli.STAGES, "join-files", "toy_stage:join_files")
    for name in ("a.txt", "b.txt", "c.txt"):
        (tmp_path / name).write_text(name)

    def arguments(recipe: str = '{"times": 2}', one: str = "a.txt") -> list[str]:
        inputs = ["--one-file", str(tmp_path / one), "--more", str(tmp_path / "b.txt"), str(tmp_path / "c.txt")]
        outputs = ["--whole", str(tmp_path / "out.json"), "--parts", str(tmp_path / "p.json"), str(tmp_path / "q.json")]
        return ["join-files", *inputs, "--recipe", recipe, *outputs, "--code", "abc"]

    return arguments


def test_a_stage_runs_and_leaves_a_record_beside_every_output(toy, tmp_path, capsys):
    assert cli.main(toy()) == 0
    assert read_json(tmp_path / "out.json") == ["a.txt", "b.txt", "c.txt"] * 2
    for name in ("out.json", "p.json", "q.json"):
        record = read_json(tmp_path / f"{name}.prov.json")
        assert (record["artifact"], record["stage"], record["code"]) == (name, "join-files", "abc")
        assert record["recipe"] == {"times": 2, "inner": {"depth": 1}}
        assert record["sha256"] == sha256_file(tmp_path / name)
        assert record["inputs"] == {str(tmp_path / f"{k}.txt"): sha256_file(tmp_path / f"{k}.txt") for k in "abc"}
    assert "join-files: wrote" in capsys.readouterr().err


def test_a_list_of_inputs_may_be_empty(toy, tmp_path):
    arguments = [a for a in toy() if not a.endswith(("b.txt", "c.txt"))]
    assert cli.main(arguments) == 0
    assert read_json(tmp_path / "out.json") == ["a.txt"] * 2


def test_help_of_a_stage_names_its_options(toy, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["join-files", "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "Join files." in out
    for word in ("--one-file PATH", "--more", "--recipe JSON", "ToyRecipe", "--whole PATH", "--parts"):
        assert word in out


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ('{"times": 2, "speed": 1}', ["speed: unknown key", "allowed times, inner"]),
        ('{"times": 2, "inner": {"width": 1}}', ["inner.width: unknown key", "allowed depth"]),
        ('{"times": "many"}', ["times: found 'many'", "integer"]),
        ("{}", ["times: required"]),
        ("{times: 2}", ["JSON"]),
        ("", ["JSON"]),
        ("[2]", ["found [2]", "allowed a mapping of times, inner"]),
    ],
)
def test_a_recipe_that_does_not_fit(toy, tmp_path, capsys, recipe, words):
    assert cli.main(toy(recipe)) == 1
    err = capsys.readouterr().err
    assert err.startswith("terraprobe join-files: join-files --recipe: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err
    assert not (tmp_path / "out.json").exists()


def test_a_missing_input(toy, tmp_path, capsys):
    assert cli.main(toy(one="absent.txt")) == 1
    path = tmp_path / "absent.txt"
    assert capsys.readouterr().err == (
        f"terraprobe join-files: {path}: not found. Run the stage that makes it (snakemake {path}).\n"
    )


def test_a_stage_that_refuses_leaves_no_record(toy, tmp_path, capsys):
    assert cli.main(toy('{"times": 0}')) == 1
    assert capsys.readouterr().err == "terraprobe join-files: times is 0. Take more.\n"
    assert not list(tmp_path.glob("*.prov.json"))


def test_a_missing_option_is_a_wrong_call(toy, capsys):
    arguments = toy()
    del arguments[1:3]
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "--one-file" in capsys.readouterr().err


def test_options_are_not_guessed_from_their_beginning(toy):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--one" if a == "--one-file" else a for a in toy()])
    assert ended.value.code == 2


def test_an_unknown_command(capsys):
    assert cli.main(["make-tea"]) == 2
    err = capsys.readouterr().err
    assert "no command 'make-tea'" in err
    for verb in (*cli.COMMANDS, *cli.STAGES):
        assert verb in err


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_names_every_stage(arguments, capsys):
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    for verb in (*cli.COMMANDS, *cli.STAGES):
        assert verb in out


def test_every_stage_has_arguments_and_a_docstring():
    code = """
        import json
        from terraprobe import cli
        found = {}
        for verb, reference in cli.STAGES.items():
            function = cli.load(reference)
            found[verb] = [[a.role for a in cli.stage_arguments(function)], function.__doc__, function.__name__]
        print(json.dumps(found))
    """
    done = run(code)
    assert done.returncode == 0, done.stderr
    for verb, (roles, docstring, name) in json.loads(done.stdout).items():
        assert "output" in roles
        assert set(roles) <= {"input", "output", "recipe"}
        assert roles.count("recipe") <= 1
        assert docstring
        assert name == verb.replace("-", "_")


def run(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_loads_nothing_heavy():
    code = """
        import sys
        from terraprobe.cli import main
        main(["--help"])
        print("LOADED", [m for m in ("torch", "numpy", "pandas", "rasterio", "pydantic") if m in sys.modules])
    """
    assert run(code).stdout.endswith("LOADED []\n")


def test_checking_a_study_does_not_load_torch(repository):
    code = """
        import sys
        from terraprobe.cli import main
        assert main(["check-study", sys.argv[1]]) == 0
        print("LOADED", [m for m in ("torch", "pandas", "sklearn", "matplotlib") if m in sys.modules])
    """
    done = run(code, str(repository / "config.yaml"))
    assert done.stdout.endswith("LOADED []\n"), done.stderr


def test_bad_input_is_one_line_without_a_traceback(tmp_path):
    grid = tmp_path / "grid.parquet"
    grid.write_bytes(b"PAR1 cut")
    chips = tmp_path / "chips.parquet"
    options = ["--grid", str(grid), "--context", "--recipe", '{"split": {"kind": "geobands"}}', "--chips", str(chips)]
    command = [sys.executable, "-m", "terraprobe", "assign-splits", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"terraprobe assign-splits: {grid}: not a whole Parquet file")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert [f.name for f in tmp_path.iterdir()] == ["grid.parquet"]


def test_a_reader_that_has_seen_enough_gets_no_traceback():
    process = subprocess.Popen(
        [sys.executable, "-m", "terraprobe", "describe", "clip3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 0
