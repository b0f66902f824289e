"""The files of the page: all of them, packed, by names and by nothing else."""

import gzip
import json
import re
from importlib import resources

from service.page_files import VENDORED, first_modules, page_files, page_paths


def test_each_file_is_there_as_it_is_and_packed():
    files = page_files()
    assert {"index.html", "icon.svg", "app/main.js", "app/tokens.css"} <= files.keys()
    assert {"vendor/preact.mjs", "vendor/htm.mjs"} <= files.keys()
    for file in files.values():
        assert gzip.decompress(file.packed) == file.content
    assert len({file.tag for file in files.values()}) == len(files)


def test_code_of_python_and_what_makes_the_files_is_not_among_them():
    assert not [name for name in page_files() if name.endswith((".py", ".pyc", ".ts", ".json"))]
    assert "/web/app/main.js" in page_paths()


def test_modules_are_sent_without_comments_each_line_in_its_place():
    for name, file in page_files().items():
        if name.startswith("app/") and name.endswith(".js"):
            whole = resources.files("web").joinpath(name).read_text().splitlines()
            sent = file.content.decode().splitlines()
            assert len(sent) == len(whole)
            for line, before in zip(sent, whole, strict=True):
                assert line == before or "/*" in before or re.match(r"\s*(//|\*)", before), name
            assert "/**" not in file.content.decode()


def test_the_page_begins_with_what_its_first_module_imports():
    first = first_modules()
    assert first[0] == "app/main.js"
    assert {"app/make/make.js", "app/api.js", *VENDORED.values()} <= {*first} <= page_files().keys()


def test_the_import_map_says_where_libraries_are():
    index = page_files()["index.html"].content.decode()
    told = json.loads(re.findall(r"<script type=.importmap.*?>(.*?)</script>", index, re.DOTALL)[0])
    assert told == {"imports": {name: f"./web/{file}" for name, file in VENDORED.items()}}
