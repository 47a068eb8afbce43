"""Training or fine-tuning an encoder."""

from __future__ import annotations

from dataclasses import dataclass

from vlmrl.adapt.options import AdaptOptions
from vlmrl.commands.outcome import Outcome, progress_line, rows
from vlmrl.configs import to_plain


@dataclass(frozen=True)
class Adapt(AdaptOptions):
    """Train or fine-tune an open_clip model on frames and captions: of worlds, of videos, of stored files.

    Writes an open_clip directory, to be used as --encoder local-dir:OUT. For example, on a world of one's own:

        vlmrl adapt --out models/mine --world my/World-v0 --start embedded

    or a large pretrained model on videos, few of its weights at a time:

        vlmrl adapt --out models/large --videos clips --start ViT-B-32/laion2b_s34b_b79k --low-rank 8
    """

    json: bool = False
    """Print the result as JSON."""

    def run(self) -> Outcome:
        """Train, or go on with --resume; what was made so far is whole at any moment."""
        config = None
        if self.resume is None:
            config = self.config()
        else:
            self.check_resume()
        from vlmrl import adapt
        from vlmrl.adapt.progress import adapt_line
        from vlmrl.runtime import limit_threads

        limit_threads()
        path = self.resume_path()
        interrupted = f"interrupted; go on with: vlmrl adapt --resume {path}"
        with progress_line(lambda: interrupted, line=adapt_line) as printer:
            if config is None:
                result = adapt.resume(path, self.device, printer, weights=self.weights)
            else:
                result = adapt.run(config, printer)
        plain = to_plain(result)
        figures = {f"held-out {name}": value for name, value in result.validation.items()}
        text = rows({"open_clip directory": result.path, "steps": result.step,
                      "weights of step": result.exported_step, **figures})  # fmt: skip
        return Outcome(plain, f"{text}\nnext: vlmrl preflight TASK --encoder local-dir:{result.path}")
