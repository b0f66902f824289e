from pathlib import Path

from tests.darkroom.command.test_adding import OLD, add, put


def test_reasons_that_hold_for_several_files_stand_once(tmp_path: Path) -> None:
    models_toml = tmp_path / "models.toml"
    models_toml.write_text(OLD)
    folder = models_toml.parent / "models"
    folder.mkdir()
    for name in ("one", "two", "three"):
        (folder / f"{name}.ckpt").write_bytes(b"PK\x03\x04")
    put(models_toml, "checkpoint", "models/a.safetensors")
    told = add(models_toml, folder, "--dry-run").stdout
    assert "3  left out: it is a pickle" in told.replace("\n", " ")
    assert "1  would be added: a model" in told
    assert "would add  a: a model" in told
    assert models_toml.read_text() == OLD


def test_a_name_that_is_a_word_is_not_taken_out_of_sentences(tmp_path: Path) -> None:
    models_toml = tmp_path / "models.toml"
    models_toml.write_text(OLD)
    (tmp_path / "models" / "a").mkdir(parents=True)
    (tmp_path / "models" / "a" / "config.json").write_text('{"_class_name": "CLIPTextModel"}')
    (tmp_path / "models" / "page.safetensors").write_bytes(b"<!doctype html>")
    told = " ".join(add(models_toml, tmp_path / "models", "--dry-run").stdout.split())
    assert "left out: it is the folder of CLIPTextModel, which is a part of a model" in told
    assert "left out: it is a web page: the download was answered with it" in told
