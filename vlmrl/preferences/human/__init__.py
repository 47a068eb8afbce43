"""A person as the labeller: a local page with two looping clips, answered with the arrow keys."""

from vlmrl.preferences.human.folder import FolderSink, write_pairs
from vlmrl.preferences.human.label import HumanLabeller, LabellingStopped, label_run, serve
from vlmrl.preferences.human.sink import AnswerSink, Given, MemorySink, Shown
from vlmrl.preferences.human.store_sink import StoreSink

__all__ = [
    "AnswerSink",
    "FolderSink",
    "Given",
    "HumanLabeller",
    "LabellingStopped",
    "MemorySink",
    "Shown",
    "StoreSink",
    "label_run",
    "serve",
    "write_pairs",
]
