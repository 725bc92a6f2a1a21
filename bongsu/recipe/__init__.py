"""What a run is made of: typed sections, read from TOML, overridden with `section.key=value`, checked before any work.

Paths in a recipe are relative to the current folder. `bongsu:NAME` is a file that ships with the package.
Every key has a default that suits a laptop; `recipes/` holds runs one would start from.
"""

from bongsu.recipe.corpus import Cleaning, Corpus, Source, TextFormat, Tokenizer
from bongsu.recipe.finetuning import HUB, Ensemble, Evaluate, Finetune, Predict, Validation
from bongsu.recipe.pretraining import Adapt, Model, Optimization, Pretrain
from bongsu.recipe.reading import (
    dump_recipe,
    load_recipe,
    override,
    parse_recipe,
    parse_section,
    put,
    read_tree,
    show_recipe,
    write_recipe,
)
from bongsu.recipe.section import GATED, Activation, Positive, Schedule, Section, Tree
from bongsu.recipe.task import CNN, Answering, Classification, Labelled, Multilabel, Pair, Regression, Tagging, Task
from bongsu.recipe.whole import Recipe

__all__ = [
    "CNN",
    "GATED",
    "HUB",
    "Activation",
    "Adapt",
    "Answering",
    "Classification",
    "Cleaning",
    "Corpus",
    "Ensemble",
    "Evaluate",
    "Finetune",
    "Labelled",
    "Model",
    "Multilabel",
    "Optimization",
    "Pair",
    "Positive",
    "Predict",
    "Pretrain",
    "Recipe",
    "Regression",
    "Schedule",
    "Section",
    "Source",
    "Tagging",
    "Task",
    "TextFormat",
    "Tokenizer",
    "Tree",
    "Validation",
    "dump_recipe",
    "load_recipe",
    "override",
    "parse_recipe",
    "parse_section",
    "put",
    "read_tree",
    "show_recipe",
    "write_recipe",
]
