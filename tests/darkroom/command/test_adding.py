"""`darkroom models add`, on files with the names and shapes of published ones."""

from pathlib import Path

import pytest

from darkroom.catalog import Catalog
from tests import published
from tests.commands import invoke
from tests.darkroom.command.test_finds import FILES, LORA
from tests.darkroom.test_file_families import FLUX
from tests.darkroom.test_single_files import write

OLD = '# Mine.\ndefault = "emoji"\n\n[[models]]\nname = "emoji"   # the demo\nsource = "emoji"\n'


@pytest.fixture
def models_toml(tmp_path: Path) -> Path:
    path = tmp_path / "models.toml"
    path.write_text(OLD)
    return path


def add(models_toml: Path, *arguments: str | Path):
    return invoke("models", "add", *map(str, arguments), "--models", str(models_toml))


def cards(models_toml: Path):
    return Catalog.read(models_toml).cards


def put(models_toml: Path, name: str, place: str | None = None) -> Path:
    """A file of `FILES` beside models.toml."""
    file = models_toml.parent / (place or f"{name}.safetensors")
    file.parent.mkdir(parents=True, exist_ok=True)
    return write(file, FILES[name][0])


def test_a_checkpoint_gets_a_card_of_its_family(models_toml: Path) -> None:
    done = add(models_toml, put(models_toml, "checkpoint", "Dream Shaper (8).safetensors"))
    assert done.exit_code == 0, done.stderr
    assert "Dream-Shaper-8: a model, Stable Diffusion 1.x, 1.99 GiB" in done.stdout
    assert "text-to-image, image-to-image, inpaint" in done.stdout
    assert "weights take 2.0 GiB of memory on a GPU, 4.0 GiB on a CPU" in done.stdout
    assert "models check Dream-Shaper-8 -o out" in done.stdout
    assert models_toml.read_text().startswith(OLD)
    card = cards(models_toml)["Dream-Shaper-8"]
    assert card.source == "Dream Shaper (8).safetensors"
    assert (card.defaults.num_inference_steps, card.limits.max_size) == (25, 1024)
    again = add(models_toml, models_toml.parent / "Dream Shaper (8).safetensors")
    assert (again.exit_code, "in models.toml already" in again.stdout) == (0, True)
    other = add(models_toml, models_toml.parent / "Dream Shaper (8).safetensors", "--name", "mine")
    assert (other.exit_code, "already, as 'Dream-Shaper-8'" in other.stderr) == (1, True)


def test_a_dry_run_shows_the_card_and_writes_nothing(models_toml: Path) -> None:
    done = add(models_toml, put(models_toml, "xl", "x_turbo.safetensors"), "--dry-run")
    assert done.exit_code == 0
    assert "would be added: x_turbo" in done.stdout
    assert "distilled to need few steps" in done.stdout
    assert 'scheduler_options = { timestep_spacing = "trailing" }' in done.stdout
    assert 'source = "x_turbo.safetensors"' in done.stdout
    assert models_toml.read_text() == OLD


def test_an_adapter_goes_to_the_model_of_its_family(models_toml: Path) -> None:
    add(models_toml, put(models_toml, "checkpoint"))
    add(models_toml, put(models_toml, "xl"))
    for name in ("lora", "controlnet", "embedding", "vae"):
        done = add(models_toml, put(models_toml, name))
        # VAEs of both families have the same shapes.
        assert (done.exit_code, "--to checkpoint, xl" in done.stderr) == (
            (1, True) if name == "vae" else (0, False)
        ), done.output
    assert add(models_toml, put(models_toml, "vae"), "--to", "checkpoint").exit_code == 0
    one, other = (cards(models_toml)[name] for name in ("checkpoint", "xl"))
    assert [each.name for each in (*one.loras, *one.controlnets)] == ["lora", "controlnet"]
    assert [each.token for each in one.embeddings] == ["embedding"]
    assert one.vae == "vae.safetensors"
    assert (other.loras, other.controlnets, other.vae) == ((), (), None)


def test_a_lora_for_few_steps_brings_its_settings(models_toml: Path) -> None:
    add(models_toml, put(models_toml, "checkpoint"))
    done = add(models_toml, put(models_toml, "lora", "hyper_8steps.safetensors"))
    assert done.exit_code == 0, done.output
    [lora] = cards(models_toml)["checkpoint"].loras
    assert (lora.defaults.scheduler, lora.defaults.num_inference_steps) == ("DDIMScheduler", 8)
    assert lora.defaults.scheduler_options.timestep_spacing == "trailing"


def test_an_adapter_needs_a_model_that_it_fits(models_toml: Path) -> None:
    lora = put(models_toml, "lora")
    alone = add(models_toml, lora)
    assert (alone.exit_code, "add such a model first" in alone.stderr) == (1, True)
    add(models_toml, put(models_toml, "xl"))
    other = add(models_toml, lora, "--to", "xl")
    assert "does not fit xl, which is SDXL" in other.stderr
    add(models_toml, put(models_toml, "checkpoint"), "--name", "a")
    add(models_toml, put(models_toml, "checkpoint", "copy.safetensors"), "--name", "b")
    several = add(models_toml, lora)
    assert (several.exit_code, "several fit: --to a, b" in several.stderr) == (1, True)
    assert add(models_toml, lora, "--to", "b", "--name", "ink").exit_code == 0
    assert [each.name for each in cards(models_toml)["b"].loras] == ["ink"]


def test_a_network_alone_takes_the_rest_from_a_folder(models_toml: Path) -> None:
    flux = published.flux(**FLUX, into=64)
    file = write(models_toml.parent / "flux.safetensors", flux)
    done = add(models_toml, file)
    assert done.exit_code == 0, done.stderr
    assert "models pull flux" in done.stdout
    card = cards(models_toml)["flux"]
    assert card.source.startswith("black-forest-labs/FLUX.1-dev")
    assert card.transformer == "flux.safetensors"


def test_of_a_checkpoint_of_flux_the_network_is_taken_and_that_is_said(models_toml: Path) -> None:
    whole = {f"model.diffusion_model.{k}": v for k, v in published.flux(**FLUX, into=64).items()}
    whole |= {
        "text_encoders.clip_l.transformer.text_projection.weight": (768, 768),
        "text_encoders.t5xxl.transformer.shared.weight": (32, 4096),
        "vae.decoder.conv_in.weight": (512, 16, 3, 3),
    }
    done = add(models_toml, write(models_toml.parent / "all.safetensors", whole))
    assert done.exit_code == 0, done.stderr
    assert "all: a checkpoint of which the network is read, FLUX.1 dev" in done.stdout
    words = " ".join(done.stdout.split())
    assert (
        "the file's own vae, text encoder, text encoder 2 are not read: those of "
        "black-forest-labs/FLUX.1-dev are used"
    ) in words
    assert cards(models_toml)["all"].transformer == "all.safetensors"


def test_a_repository_gets_a_card(models_toml: Path) -> None:
    assert add(models_toml, "sd35").exit_code == 0
    done = add(models_toml, "https://huggingface.co/owner/thing/tree/abc1234")
    assert "models pull thing" in done.stdout
    made = cards(models_toml)
    assert made["sd35"].source == "stabilityai/stable-diffusion-3.5-medium"
    assert (made["thing"].source, made["thing"].revision) == ("owner/thing", "abc1234")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"<html>", "a web page"), (b"\x02" + bytes(7) + b"{}", "without any weights")],
)
def test_a_bad_file_leaves_all_as_it_was(models_toml: Path, content: bytes, said: str) -> None:
    (models_toml.parent / "bad.safetensors").write_bytes(content)
    done = add(models_toml, models_toml.parent / "bad.safetensors")
    assert (done.exit_code, said in done.stderr) == (1, True)
    assert models_toml.read_text() == OLD


def test_a_file_elsewhere_is_named_by_its_whole_path(models_toml: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    inner = tmp_path / "here" / "models.toml"
    inner.write_text(OLD)
    file = put(models_toml, "checkpoint")
    assert add(inner, file).exit_code == 0
    assert cards(inner)["checkpoint"].source == str(file)


@pytest.mark.parametrize(
    "names",
    [
        ("Stable-diffusion", "Lora", "VAE", "ControlNet", "embeddings"),
        ("checkpoints", "loras", "vae", "controlnet", "embeddings"),
    ],
)
def test_a_folder_of_loose_files_is_taken_whole(models_toml: Path, names: tuple[str, ...]) -> None:
    folder = models_toml.parent / "models"
    kinds = ("checkpoint", "lora", "vae", "controlnet", "embedding")
    for name, kind in zip(names, kinds, strict=True):
        put(models_toml, kind, f"models/{name}/{kind}.safetensors")
    put(models_toml, "checkpoint", f"models/{names[0]}/other.safetensors")
    flux = {name.replace("_unet_", "_unet_double_blocks_0_"): size for name, size in LORA.items()}
    write(folder / names[1] / "flux.safetensors", flux)
    (folder / names[0] / "old.ckpt").write_bytes(b"PK\x03\x04")
    done = add(models_toml, folder)
    assert done.exit_code == 0, done.output
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert [line.split()[0] for line in lines[:-1]].count("added") == 5
    whole = lines[lines.index("In all:") + 1 : -1]
    assert sorted(whole[:4]) == [
        "1  added: a ControlNet",
        "1  added: a LoRA",
        "1  added: an embedding",
        "2  added: a model",
    ]
    assert len(whole) == 4 + 3
    assert any(line.startswith("1  left out: it is a pickle, which could run") for line in whole)
    for left in (f"{names[0]}/old.ckpt", f"{names[1]}/flux.safetensors", f"{names[2]}/vae"):
        assert any(line.startswith(f"left out  {left}") for line in lines), lines
    made = cards(models_toml)
    for name in ("checkpoint", "other"):
        assert [each.name for each in made[name].loras] == ["lora"]
        assert [each.token for each in made[name].embeddings] == ["embedding"]
    text = models_toml.read_text()
    assert text.startswith(OLD)
    again = add(models_toml, folder)
    assert (again.exit_code, "5  there already" in again.stdout) == (0, True)
    assert models_toml.read_text() == text


def test_a_lora_goes_to_no_model_that_takes_none_and_half_of_one_nowhere(models_toml: Path) -> None:
    wrong = put(models_toml, "lora", "half.safetensors")
    write(wrong, {name: size for name, size in LORA.items() if "up" not in name})
    half = add(models_toml, wrong)
    assert (half.exit_code, "some of its weights are missing" in half.stderr) == (1, True)
    folder = models_toml.parent / "emoji"
    folder.mkdir()
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionUpscalePipeline"}')
    none = add(models_toml, put(models_toml, "lora"), "--to", "emoji")
    assert (none.exit_code, "emoji takes no LoRAs" in none.stderr) == (1, True)


def test_a_folder_with_nothing_of_use_is_told(models_toml: Path) -> None:
    (models_toml.parent / "x").mkdir()
    done = add(models_toml, models_toml.parent / "x")
    assert (done.exit_code, "nothing that can be used" in done.stderr) == (1, True)
