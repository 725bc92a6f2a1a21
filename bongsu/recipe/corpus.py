"""The text, and what it is cut into."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from bongsu.recipe.section import BYTES, SPECIAL_TOKENS, Positive, Section


class TextFormat(Section):
    """How files of text and tables are written; by default this is found by looking at each file, and said."""

    encoding: str = "auto"
    """`auto` knows UTF-8, UTF-16, UTF-32, cp949 and cp1252; any other name that Python knows may be given."""
    delimiter: str = "auto"
    """What separates the cells of csv and tsv: one character."""
    quoting: Literal["auto", "rfc4180", "none"] = "auto"
    """csv and tsv: `rfc4180` puts cells with separators and line ends between quotes; with `none` a quote is a character."""
    max_bad: Annotated[int, Field(ge=0)] = 1000
    """Stop with an error after this many unreadable lines, rows or files."""

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str) -> str:
        if delimiter != "auto" and (len(delimiter) != 1 or delimiter in '"\r\n\0 '):
            raise ValueError('give one character, such as ";" or "\\t", or "auto"')
        return delimiter


class Source(TextFormat):
    """Where text comes from. `path` is a file, a pattern, a folder, a URL (http, s3, gs, az, hf), or `bongsu:NAME`.

    So that a recipe names a file once, `path` may also be "task:train", "task:test" or "predict:input": the texts of the file
    that [task] or [predict] names, in the column and the rows that [task] reads.
    """

    path: str
    format: Literal["auto", "text", "csv", "tsv", "jsonl", "json", "parquet", "pile", "aihub", "kaggle", "python"] = "auto"
    text: str = "text"
    """Column or key that holds the text (csv, tsv, jsonl, json, parquet); in JSON, dots reach into objects: "document.text"."""
    where: dict[str, str] = {}
    """Keep only rows whose columns have these values (csv, tsv, jsonl, parquet)."""
    subsets: list[str] = []
    """The Pile: keep only documents of these `pile_set_name`s; empty keeps all."""
    languages: Literal["ko", "en", "both"] = "both"
    """AI Hub: which side of each pair to read."""
    sentences: bool | None = None
    """Split documents into sentences. By default only The Pile's documents and Python's documentation are split."""
    limit: Positive | None = None
    """Read at most this many documents."""


Script = Literal["hangul", "latin"]


class Cleaning(Section):
    """Rules applied to each text, in this order; each is a switch."""

    mojibake: bool = True
    entities: bool = True
    normalize: Literal["none", "nfc", "nfkc"] = "nfc"
    """A form of Unicode; of more than 30 combining marks after one another the first 30 are kept."""
    control: bool = True
    """Remove control and invisible characters."""
    links: Literal["keep", "token", "remove"] = "token"
    mentions: Literal["keep", "token", "remove"] = "token"
    whitespace: bool = True
    min_characters: Annotated[int, Field(ge=1)] = 2
    max_characters: Positive = 2000
    scripts: list[Script] = []
    """Keep only texts written mostly in these scripts; empty keeps all. A script is no language: Spanish is latin, too."""

    @model_validator(mode="before")
    @classmethod
    def _earlier_name(cls, values: Any) -> Any:
        """Model folders of earlier versions hold an empty `languages`."""
        if not isinstance(values, dict) or "languages" not in values:
            return values
        if values["languages"]:
            raise ValueError('languages: is called scripts now, and "ko" is "hangul", "en" is "latin"')
        return {key: value for key, value in values.items() if key != "languages"}


class Corpus(Section):
    """The text an encoder is pre-trained on."""

    sources: list[Source] = Field(min_length=1)
    cleaning: Cleaning = Cleaning()
    duplicates: Literal["keep", "exact", "near"] = "exact"
    """`near` adds MinHash over character shingles: about 0.15 ms a text, and memory that grows by about 6 kB a text kept."""
    near_threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.8
    validation: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.02
    """Share of texts held out, chosen by a hash of the text."""
    validation_sources: list[Source] = []
    """Hold out these texts instead, so that runs on different text are measured on the same; none of them is trained on."""

    @model_validator(mode="after")
    def _nothing_on_both_sides(self) -> Corpus:
        if self.validation_sources and self.duplicates == "keep":
            raise ValueError("duplicates: with validation_sources, give exact or near, which keep their texts out of training")
        return self


class Tokenizer(Section):
    """Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019)."""

    vocab_size: Annotated[int, Field(ge=BYTES + SPECIAL_TOKENS, le=500_000)] = 8000
    normalize: Literal["nfc", "nfkc", "jamo"] = "nfc"
    """`jamo` takes Hangul syllables apart (NFD)."""
    lowercase: bool = False
    min_frequency: Positive = 2
    sample_mb: Annotated[float, Field(gt=0)] = 200.0
    """Train on at most this many megabytes, taken evenly from the whole corpus."""
