"""The chat labeller against `transformers serve` with a tiny vision-language model of random weights.

Only the protocol matters: its answers mean nothing. Once the model may write what it likes (nonsense: every pair must
abstain), once its generation settings leave it the allowed words alone (every pair must have an answer).

python -m experiments.chat_server_check --packages DIR   # DIR: transformers[serving], installed with pip --target

Seen on two busy CPU cores with transformers 5.23, in about five minutes, nearly all of it imports: the first model's
replies are cut off, four abstentions of four; the second says "first" whatever the order, which makes four ties, a
flip rate of 1 and a share of "Image 1" of 1.

transformers is no dependency of vlmrl: it stays in DIR, and only the server's process sees it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np

from vlmrl.preferences.chat import ChatConfig, ChatLabeller, ImageConfig, RetryConfig
from vlmrl.preferences.protocol import Answer, Pair, Question, Segment

WORDS = ("first", "second", "tie", "unsure")
MAKE = r"""
import sys
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (CLIPImageProcessor, CLIPVisionConfig, GenerationConfig, LlamaConfig, LlavaConfig,
    LlavaForConditionalGeneration, LlavaProcessor, PreTrainedTokenizerFast, set_seed)
folder, tame, words = sys.argv[1], sys.argv[2] == "tame", sys.argv[3].split()
letters = [chr(n) for n in range(32, 127)]
names = ["<unk>", "<s>", "</s>", "<image>", "\n", *letters, *words]
vocabulary = {name: place for place, name in enumerate(names)}
inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
inner.decoder = decoders.Fuse()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
    pad_token="</s>", additional_special_tokens=["<image>"])
template = ("{% for m in messages %}{{ m['role'] }}: {% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for p in m['content'] %}{% if p['type'] == 'image' %}<image>{% else %}{{ p['text'] }}{% endif %}{% endfor %}"
    "{% endif %}\n{% endfor %}assistant: ")
pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
processor = LlavaProcessor(pictures, tokenizer, patch_size=16, vision_feature_select_strategy="default",
    chat_template=template, num_additional_image_tokens=1)
set_seed(0)
small = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
model = LlavaForConditionalGeneration(LlavaConfig(
    vision_config=CLIPVisionConfig(image_size=32, patch_size=16, projection_dim=32, **small),
    text_config=LlamaConfig(vocab_size=len(names), max_position_embeddings=4096, **small),
    image_token_index=vocabulary["<image>"], image_token_id=vocabulary["<image>"]))
settings = dict(eos_token_id=2, bos_token_id=1, pad_token_id=2, do_sample=False)
if tame:  # one of the words, then the end
    allowed = {2, *(vocabulary[word] for word in words)}
    settings |= dict(suppress_tokens=[n for n in range(len(names)) if n not in allowed], begin_suppress_tokens=[2],
        exponential_decay_length_penalty=(0, 1e6))
model.generation_config = GenerationConfig(**settings)
model.save_pretrained(folder)
processor.save_pretrained(folder)
"""


def main() -> None:
    """Make the models, serve them one after the other, ask, and print what came back as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", nargs="+", required=True, help="folders with transformers[serving]")
    parser.add_argument("--port", type=int, default=8765)
    args = parser.parse_args()
    path = os.pathsep.join(str(Path(folder).resolve()) for folder in args.packages)
    environ = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as root:
        found = {kind: check(kind, Path(root) / kind, environ, args.port) for kind in ("wild", "tame")}
    print(json.dumps(found, indent=2))
    if any(label is not None for label in found["wild"]["labels"]):
        sys.exit("the untamed model's nonsense became a label")
    if any(label is None for label in found["tame"]["labels"]):
        sys.exit("the tamed model's words did not become answers")


def check(kind: str, folder: Path, environ: dict[str, str], port: int) -> dict[str, object]:
    """Return what a served model of this kind said of four pairs, and what the labeller reports."""
    make = [sys.executable, "-c", MAKE, str(folder), kind, " ".join(WORDS)]
    subprocess.run(make, env=environ, check=True)
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    command += ["--port", str(port), "--host", "127.0.0.1", "--device", "cpu"]
    with subprocess.Popen(command, env=environ) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server)
            answers, report = ask(f"http://127.0.0.1:{port}/v1", str(folder))
        finally:
            server.terminate()
    return {"labels": [a.label for a in answers], "reasons": [a.reason for a in answers], "report": report}


def ask(url: str, model: str) -> tuple[list[Answer], dict[str, object]]:
    """Ask four pairs in both orders, for a bare word: this server ignores response_format."""
    images = ImageConfig(min_side=32, max_side=64)
    config = ChatConfig(base_url=url, model=model, json_schema=False, images=images, workers=1,
                        retry=RetryConfig(timeout=120.0))  # fmt: skip
    rng = np.random.default_rng(0)
    clips = [Segment(rng.integers(0, 256, (1, 32, 32, 3), np.uint8)) for _ in range(8)]
    pairs = [Pair(clips[2 * i], clips[2 * i + 1]) for i in range(4)]
    labeller = ChatLabeller(config, environ={})
    answers = labeller.answer(pairs, Question("to open the drawer"))
    return answers, vars(labeller.report())


def wait_for(url: str, server: subprocess.Popen[bytes], seconds: float = 120.0) -> None:
    """Wait until the server answers. Raises: SystemExit if it ends, or takes too long."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + seconds
    while True:
        try:
            opener.open(url, timeout=5).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > end:
                sys.exit(f"transformers serve does not answer (exit {server.poll()})")
            time.sleep(0.5)


if __name__ == "__main__":
    main()
