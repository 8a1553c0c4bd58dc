"""What the documentation says is what the code says."""

from terraprobe.describe import describe


def test_every_deviation_of_clip3_is_in_the_docs(repository):
    text = (repository / "docs/methods.md").read_text()
    rows = describe("clip3", {})["deviations"]
    assert len(rows) > 10
    for row in rows:
        assert f"| {row['what']} | {row['value']} | {row['mark']} | {row['source']} |" in text


def test_linked_files_exist(repository):
    import re

    for page in [repository / "README.md", *(repository / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links {target}"
