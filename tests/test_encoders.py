"""Encoders: the same vectors as plain open_clip, every name, and every way in which weights can be wrong."""

from __future__ import annotations

import json
import pickle
import shutil
import threading
import time
from pathlib import Path

import huggingface_hub
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from vlmrl.encoders import Encoder, clip, hub, load_encoder, sources, speed
from vlmrl.errors import UsageError

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
VISION = {
    "vit": {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32},
    "resnet": {"image_size": 64, "patch_size": None, "width": 16, "layers": [1, 1, 1, 1]},
}
OWN_MEAN, OWN_STD = [0.5, 0.4, 0.3], [0.3, 0.2, 0.25]
WEIGHTS = "open_clip_model.safetensors"
RESIZE_MODES = {"squash": "squash", "pad": "longest", "crop": "shortest"}
PROMPTS = ["a humanoid robot kneeling", "pole and cart", "pole vertically upright on top of the cart"]


def scenes(count: int, height: int = 60, width: int = 90) -> np.ndarray:
    """Frames with edges and gradients: 60x90 cut out of the square probe frames."""
    return speed.probe_frames(count, side=max(height, width))[:, :height, :width].copy()


def write_config(folder: Path, kind: str) -> None:
    model = {"embed_dim": 48, "vision_cfg": VISION[kind], "text_cfg": TEXT}
    preprocess = {"mean": OWN_MEAN, "std": OWN_STD, "interpolation": "bilinear", "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model, "preprocess_cfg": preprocess})
    )


def make_model(folder: Path, kind: str) -> Path:
    """Save a small open_clip model whose random weights give frames clearly different vectors."""
    folder.mkdir()
    write_config(folder, kind)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
        for name, value in model.state_dict().items():
            if name.endswith("running_mean"):
                value.normal_(std=0.1)
            elif name.endswith("running_var"):
                value.uniform_(0.2, 0.4)
            elif "bn3.weight" in name:
                value.uniform_(0.5, 1.0)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / WEIGHTS)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("encoders")
    return {kind: make_model(root / kind, kind) for kind in VISION}


@pytest.fixture
def broken(folders, tmp_path) -> Path:
    """A copy of the ViT's folder, to be damaged."""
    return Path(shutil.copytree(folders["vit"], tmp_path / "broken"))


@pytest.fixture(scope="module")
def vit(folders) -> clip.ClipEncoder:
    return load_encoder(f"local-dir:{folders['vit']}", "cpu")


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """An empty hub cache and a network on which nothing has a name."""

    def refuse(*args, **kwargs):
        raise ConnectionError("[Errno -2] Name or service not known")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", refuse)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)


def refusal(name: str, **options) -> str:
    with pytest.raises(UsageError) as caught:
        load_encoder(name, "cpu", **options)
    message = str(caught.value)
    assert "\n" not in message and message.startswith("encoder: got ")
    return message


def plain_open_clip(folder: Path, frames: np.ndarray, fit: str) -> torch.Tensor:
    """Embed as open_clip's README does: its model, its transform, PIL images."""
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    size = model.visual.preprocess_cfg["size"]
    transform = open_clip.image_transform(size, False, OWN_MEAN, OWN_STD, RESIZE_MODES[fit], "bilinear")
    with torch.no_grad():
        return model.encode_image(
            torch.stack([transform(Image.fromarray(f)) for f in frames]), normalize=True
        )


@pytest.mark.parametrize("kind", VISION)
@pytest.mark.parametrize("fit", RESIZE_MODES)
def test_images_agree_with_open_clip_and_pil(folders, kind, fit):
    frames = scenes(6)
    encoder = load_encoder(f"local-dir:{folders[kind]}", "cpu", fit=fit, batch_size=4, precision="float32")
    ours, theirs = encoder.embed_images(frames), plain_open_clip(folders[kind], frames, fit)
    assert torch.cosine_similarity(ours, theirs).min() >= 0.9999
    assert torch.cosine_similarity(theirs[:1], theirs[1:]).min() < 0.99  # or the line above would say nothing
    assert encoder.mean == tuple(OWN_MEAN) and encoder.std == tuple(OWN_STD)
    assert encoder.interpolation == "bilinear" and encoder.fit == fit


@pytest.mark.parametrize("kind", VISION)
def test_texts_agree_with_open_clip(folders, kind):
    encoder = load_encoder(f"local-dir:{folders[kind]}", "cpu")
    model = open_clip.create_model(f"local-dir:{folders[kind]}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{folders[kind]}")(PROMPTS)
    assert tokens.shape[1] == encoder.context_length == TEXT["context_length"]
    with torch.no_grad():
        theirs = model.encode_text(tokens, normalize=True)
    assert torch.allclose(encoder.embed_texts(PROMPTS), theirs, atol=1e-5)


def test_the_folded_tower_is_the_same_function(folders):
    model = open_clip.create_model(f"local-dir:{folders['resnet']}").eval()
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model.encode_image(images)
        speed.fold(model.visual)
        after = model.encode_image(images)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.visual.modules())
    assert torch.allclose(before, after, atol=1e-4 * before.abs().max())


def test_half_precision_is_taken_only_where_it_holds(folders):
    exact = load_encoder(f"local-dir:{folders['resnet']}", "cpu", precision="float32")
    fast = load_encoder(f"local-dir:{folders['resnet']}", "cpu")
    assert exact.precision == "float32"
    assert fast.precision == ("bfloat16" if speed.has_bfloat16() else "float32")
    frames = speed.probe_frames()
    cosines = torch.cosine_similarity(exact.embed_images(frames), fast.embed_images(frames))
    assert cosines.min() >= speed.MIN_COSINE


def test_agrees_looks_at_direction_spread_and_finiteness():
    generator = torch.Generator().manual_seed(0)
    exact = torch.nn.functional.normalize(torch.randn(16, 32, generator=generator), dim=-1)
    noise = torch.randn(16, 32, generator=generator)
    assert speed.agrees(exact, exact)
    assert speed.agrees(exact, exact + 1e-4 * noise)
    assert not speed.agrees(exact, exact + 3e-2 * noise)
    assert not speed.agrees(exact, exact * torch.nan)
    crowded = torch.nn.functional.normalize(exact[:1] + 1e-4 * noise, dim=-1)
    assert not speed.agrees(crowded, crowded + 1e-4 * noise.flip(0))  # in direction all is well


def test_vectors_are_plain_unit_and_deterministic(vit):
    assert isinstance(vit, Encoder)
    frames = scenes(5)
    first = vit.embed_images(frames)
    assert first.shape == (5, vit.embedding_dim) and first.dtype == torch.float32
    assert torch.allclose(first.norm(dim=-1), torch.ones(5), atol=1e-6)
    assert not first.requires_grad and not first.is_inference()
    assert torch.equal(first, vit.embed_images(torch.from_numpy(frames)))
    assert torch.allclose(first[3:], vit.embed_images(frames[3:]), atol=1e-5)
    weight = torch.ones(vit.embedding_dim, requires_grad=True)
    (first @ weight).sum().backward()  # embeddings are what preference learning trains on


def test_batches_of_every_size_give_the_same_vectors(folders):
    frames = scenes(7)
    whole, parts = (
        load_encoder(f"local-dir:{folders['resnet']}", "cpu", batch_size=size, precision="float32")
        for size in (256, 3)
    )
    assert torch.allclose(whole.embed_images(frames), parts.embed_images(frames), atol=1e-5)
    assert whole.embed_images(frames[:0]).shape == (0, whole.embedding_dim)
    assert whole.embed_texts([]).shape == (0, whole.embedding_dim)
    assert whole.is_truncated([]) == []


def test_the_flag_of_mountain_car_is_seen_unless_cropped(folders):
    without = np.full((1, 400, 600, 3), 255, np.uint8)
    flag = without.copy()
    flag[:, 40:100, 540:590] = (204, 204, 0)
    for fit, seen in (("squash", True), ("crop", False)):
        encoder = load_encoder(f"local-dir:{folders['vit']}", "cpu", fit=fit)
        same = torch.equal(encoder.embed_images(without), encoder.embed_images(flag))
        assert same is not seen, fit


def test_truncated_sentences_are_found(vit):
    fits = " ".join(["pole"] * (TEXT["context_length"] - 2))
    assert vit.is_truncated([fits, fits + " pole", "pole", fits + " upright on the cart"]) == [
        False,
        True,
        False,
        True,
    ]


def test_weights_stored_in_half_precision_become_float32(folders, tmp_path, vit):
    write_config(tmp_path, "vit")
    stored = {name: value.half() for name, value in load_file(folders["vit"] / WEIGHTS).items()}
    save_file(stored, tmp_path / WEIGHTS)
    encoder = load_encoder(f"local-dir:{tmp_path}", "cpu")
    assert encoder.model.visual.proj.dtype == torch.float32
    cosines = torch.cosine_similarity(encoder.embed_images(scenes(3)), vit.embed_images(scenes(3)))
    assert cosines.min() > 0.9999


def test_bad_arguments_are_refused(vit):
    for options in ({"fit": "stretch"}, {"batch_size": 0}, {"precision": "int8"}):
        with pytest.raises(UsageError, match=f"{next(iter(options))}: got "):
            load_encoder("random", "cpu", **options)
    for texts in ("a lone string", [1], [None]):
        with pytest.raises(UsageError, match=r"texts: got .*list of strings"):
            vit.embed_texts(texts)
    with pytest.raises(UsageError, match=r"frames: got .*float32"):
        vit.embed_images(np.zeros((1, 32, 32, 3), np.float32))


def test_a_vector_that_is_not_finite_is_an_error(folders):
    encoder = load_encoder(f"local-dir:{folders['vit']}", "cpu")
    encoder.model.visual.proj.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="not finite"):
        encoder.embed_images(scenes(1))


def test_random_encoders_are_their_seeds():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    zero, named, argument = (
        load_encoder("random", "cpu"),
        load_encoder("random:3", "cpu"),
        load_encoder("random", "cpu", seed=3),
    )
    assert torch.equal(before, torch.random.get_rng_state())  # the caller's own randomness is left alone
    frames = scenes(2, 64, 64)
    assert torch.equal(named.embed_images(frames), argument.embed_images(frames))
    assert not torch.equal(named.embed_images(frames), zero.embed_images(frames))
    assert named.name == "random:3" and named.image_size == 64
    # An untrained tower's vectors nearly coincide: bfloat16 would drown what tells them apart.
    assert named.precision == "float32"


def test_an_architecture_of_open_clip_with_random_weights(monkeypatch):
    config = {"embed_dim": 48, "vision_cfg": VISION["vit"], "text_cfg": TEXT}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-vit", config)
    encoder = load_encoder("tiny-vit/random:2", "cpu")
    assert encoder.embed_images(scenes(2)).shape == (2, 48)
    assert encoder.mean == open_clip.OPENAI_DATASET_MEAN


def test_a_small_encoder_answers_at_the_cost_of_a_large_one(monkeypatch):
    config = {"embed_dim": 48, "vision_cfg": VISION["vit"], "text_cfg": TEXT}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-vit", config)
    slow, plain = load_encoder("as-slow-as:tiny-vit:0.25", "cpu"), load_encoder("embedded", "cpu")
    given: list[int] = []
    embed = slow.large.embed_images
    monkeypatch.setattr(slow.large, "embed_images", lambda frames: given.append(len(frames)) or embed(frames))
    for count in (6, 0, 1, 1, 8):  # what a batch leaves over, the next one makes up for
        frames = scenes(count, 64, 64)
        assert torch.equal(slow.embed_images(frames), plain.embed_images(frames))
    assert given == [1, 1, 2] and slow.metrics()["frames"] == 16 and slow.metrics()["passed"] == 4
    assert slow.metrics()["seconds_a_frame"] > 0 and slow.name == "as-slow-as:tiny-vit:0.25"
    assert load_encoder("as-slow-as:tiny-vit", "cpu").share == 1
    for wrong in (
        "as-slow-as:",
        "as-slow-as:tiny-vit:0",
        "as-slow-as:tiny-vit:2",
        "as-slow-as:tiny-vit:some",
        "as-slow-as",
    ):
        with pytest.raises(UsageError, match="encoder: got"):
            load_encoder(wrong, "cpu")


@pytest.mark.skipif(not (sources.EMBEDDED / WEIGHTS).is_file(), reason="the weights have not been made yet")
@pytest.mark.parametrize("fit", RESIZE_MODES)
@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_the_embedded_encoder_agrees_with_open_clip_and_pil(fit, precision):
    model = open_clip.create_model(f"local-dir:{sources.EMBEDDED}").eval()
    own = model.visual.preprocess_cfg
    transform = open_clip.image_transform(
        own["size"], False, own["mean"], own["std"], RESIZE_MODES[fit], own["interpolation"]
    )
    frames = scenes(8, 96, 96)
    with torch.no_grad():
        images = torch.stack([transform(Image.fromarray(frame)) for frame in frames])
        theirs = model.encode_image(images, normalize=True)
    ours = load_encoder("embedded", "cpu", fit=fit, precision=precision).embed_images(frames)
    assert torch.cosine_similarity(ours, theirs).min() >= 0.9999


def test_embedded_weights_that_are_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "EMBEDDED", tmp_path)
    message = refusal("embedded")
    assert str(tmp_path) in message and "local-dir:PATH" in message


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nonsense", ["embedded", "local-dir:PATH", "MODEL/PRETRAINED"]),
        ("", ["embedded"]),
        ("ViT-B-32", ["ViT-B-32/TAG"]),
        ("ViT-B32/openai", ["ViT-B-32"]),
        ("ViT-B/32", ["ViT-B-32", "a model that open_clip knows"]),
        ("ViT-B-32/laion2b", ["laion2b_s34b_b79k", "a tag of ViT-B-32's weights"]),
        ("random:one", ["a seed of 0 or more"]),
        ("random:-1", ["a seed of 0 or more"]),
        ("ViT-B-32/random:x", ["a seed of 0 or more"]),
        ("hf-hub:org/repository", ["local-dir:PATH"]),
        ("local-dir:/nowhere", ["/nowhere", "a folder that exists"]),
    ],
)
def test_unknown_names_are_refused_with_what_is_close(name, words):
    message = refusal(name)
    assert all(word in message for word in words), message


def test_a_tag_without_a_network_fails_at_once_and_says_where_it_looked(no_network, tmp_path):
    start = time.perf_counter()
    message = refusal("ViT-B-32/laion2b_s34b_b79k")
    assert time.perf_counter() - start < 2  # open_clip alone retries for 52 s
    for word in (
        "ViT-B-32/laion2b_s34b_b79k",
        f"{tmp_path}/hub/models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K",
        "https://huggingface.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        "Name or service not known",
        "embedded",
        "local-dir:PATH",
    ):
        assert word in message


@pytest.mark.parametrize("how", ["environment", "constant"])
def test_a_tag_in_offline_mode_never_asks_the_network(no_network, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    else:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "probe", None)
    assert "HF_HUB_OFFLINE" in refusal("RN50/openai")


def test_a_network_that_never_answers_is_given_up(no_network, monkeypatch):
    monkeypatch.setattr(hub, "PROBE_DEADLINE_S", 0.1)
    silence = threading.Event()
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *a, **k: silence.wait(30))
    assert "no answer within 0 s" in refusal("ViT-B-32/openai")
    silence.set()


def test_a_download_that_breaks_off(no_network, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *a, **k: None)
    assert "a download of open_clip_model.safetensors" in refusal("ViT-B-32/openai")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("org/name/", ("org/name", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])),
        ("org/name/pytorch_model.bin", ("org/name", ["pytorch_model.safetensors", "pytorch_model.bin"])),
        ("org/name/a.safetensors", ("org/name", ["a.safetensors"])),
    ],
)
def test_safetensors_are_looked_for_first(address, expected):
    assert hub.hub_files(address) == expected


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_a_cached_tag_loads_without_a_network_as_open_clip_loads_it(
    no_network, monkeypatch, folders, tmp_path, suffix
):
    """A tag's own normalisation and QuickGELU count, and nothing is asked of the network."""
    entry = {"hf_hub": "org/tiny/", "mean": OWN_MEAN, "std": OWN_STD, "interpolation": "bilinear"}
    entry |= {"resize_mode": "squash", "quick_gelu": True}
    config = {"embed_dim": 48, "vision_cfg": VISION["vit"], "text_cfg": TEXT}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-vit", config)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-vit", {"made_here": entry})
    cache = tmp_path / "hub" / "models--org--tiny"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("abc")
    snapshot = cache / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    weights = load_file(folders["vit"] / WEIGHTS)
    if suffix == "safetensors":
        save_file(weights, snapshot / WEIGHTS)
    else:
        torch.save(weights, snapshot / "open_clip_pytorch_model.bin")
    encoder = load_encoder("tiny-vit/made_here", "cpu")
    frames = scenes(4)
    path = str(folders["vit"] / WEIGHTS)
    model = open_clip.create_model("tiny-vit", pretrained=path, force_quick_gelu=True).eval()
    transform = open_clip.image_transform(32, False, OWN_MEAN, OWN_STD, "squash", "bilinear")
    with torch.no_grad():
        images = torch.stack([transform(Image.fromarray(frame)) for frame in frames])
        theirs = model.encode_image(images, normalize=True)
    assert torch.cosine_similarity(encoder.embed_images(frames), theirs).min() >= 0.9999
    with torch.no_grad():
        words = model.encode_text(open_clip.get_tokenizer("tiny-vit")(PROMPTS), normalize=True)
    assert torch.allclose(encoder.embed_texts(PROMPTS), words, atol=1e-5)


class Bomb:
    """A pickle that makes a file when it is opened."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


@pytest.mark.parametrize(
    "file", ["open_clip_pytorch_model.bin", "weights.pt", "model.pth", "a.ckpt", "b.npz", WEIGHTS]
)
def test_a_pickle_is_refused_and_never_opened(broken, tmp_path, file):
    (broken / WEIGHTS).unlink()
    (broken / file).write_bytes(pickle.dumps(Bomb(tmp_path / "canary")))
    message = refusal(f"local-dir:{broken}")
    assert str(broken / file) in message and "safetensors" in message
    assert not (tmp_path / "canary").exists()


def test_a_pickle_beside_safetensors_is_ignored(broken, tmp_path, vit):
    (broken / WEIGHTS).rename(broken / "any_name.safetensors")
    bomb = pickle.dumps(Bomb(tmp_path / "canary"))
    (broken / "open_clip_pytorch_model.bin").write_bytes(bomb)  # which open_clip itself would prefer
    encoder = load_encoder(f"local-dir:{broken}", "cpu")
    assert torch.equal(encoder.embed_texts(PROMPTS), vit.embed_texts(PROMPTS))
    assert not (tmp_path / "canary").exists()


def damage_nothing_left(path: Path) -> None:
    path.write_bytes(b"")


def damage_tail(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damage_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


def damage_noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(10_000))


def damage_nan(path: Path) -> None:
    weights = load_file(path)
    weights["visual.proj"][0, 0] = torch.nan
    save_file(weights, path)


@pytest.mark.parametrize(
    "damage", [damage_nothing_left, damage_tail, damage_header, damage_noise, damage_nan]
)
def test_corrupt_weights_are_named(broken, damage):
    damage(broken / WEIGHTS)
    message = refusal(f"local-dir:{broken}")
    assert str(broken / WEIGHTS) in message and "corrupt" in message


def test_weights_of_another_architecture_are_named(folders, broken):
    shutil.copy(folders["resnet"] / WEIGHTS, broken / WEIGHTS)
    message = refusal(f"local-dir:{broken}")
    assert str(broken / WEIGHTS) in message and "of one and the same model" in message


def test_foreign_safetensors_are_named(broken):
    save_file({"agent.weight": torch.zeros(3)}, broken / WEIGHTS)
    assert str(broken / WEIGHTS) in refusal(f"local-dir:{broken}")
    save_file({}, broken / WEIGHTS)
    assert str(broken / WEIGHTS) in refusal(f"local-dir:{broken}")


def test_a_config_without_weights_is_named(broken):
    (broken / WEIGHTS).unlink()
    message = refusal(f"local-dir:{broken}")
    assert str(broken) in message and WEIGHTS in message


@pytest.mark.parametrize(
    "text",
    [
        "{not json",
        "{}",
        "[]",
        '{"model_cfg": {}}',
        '{"model_cfg": {"embed_dim": 48, "vision_cfg": {"colour": 1}, "text_cfg": {}}}',
    ],
)
def test_a_broken_config_is_named(broken, text):
    (broken / "open_clip_config.json").write_text(text)
    assert str(broken / "open_clip_config.json") in refusal(f"local-dir:{broken}")


def test_a_missing_config_is_named(broken):
    (broken / "open_clip_config.json").unlink()
    assert str(broken / "open_clip_config.json") in refusal(f"local-dir:{broken}")
