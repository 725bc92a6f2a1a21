"""Batch number n, as a pure function of (shards, settings, seed, n).

The endless stream of sentences is the seeded permutation of every epoch, one after another; batch n is the n-th run of
`shape.sentences` of them. Batch n is the same whenever and by whichever process it is made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bongsu import recipe
from bongsu.arrays import Bool, Float16, Int64
from bongsu.tokens.masking import mask_tokens
from bongsu.tokens.packing import BatchShape, batch_shape, pack, sentences_for_tokens
from bongsu.tokens.random import mix, permute, uniform
from bongsu.tokens.shards import Shards

IGNORE = -100  # the target of a position that does not count

_ORDER, _MASKS, _CUT = range(3)  # what a key is for
_VALIDATION_EPOCH = 2**40  # no epoch of training: validation masks are drawn once, for good


@dataclass(frozen=True)
class Batch:
    """Packed, masked rows. R rows of L tokens, M positions to predict."""

    input_ids: Int64
    """[R, L]: what the encoder sees; [PAD] where nothing is."""
    segment_ids: Int64
    """[R, L]: 0 for padding, 1.. for the sentences of a row."""
    positions: Int64
    """[R, L]: place within the sentence, from 0."""
    query_positions: Int64
    """[M]: flat positions (row * L + column) to predict."""
    targets: Int64
    """[M]: the ids that stood there; -100 where nothing is to be predicted."""
    share: float = 1.0
    """Share of the batch's targets that are in these rows, when it is shared by several processes (`sharing`)."""
    sentences: Int64 | None = None
    """[R, L]: with a teacher, which of the batch's S sentences a token belongs to, from 0; S for padding."""
    vectors: Float16 | None = None
    """[S, width]: the teacher's vectors of the sentences; zeros where it has none."""

    @cached_property
    def taught(self) -> Bool:
        """Which sentences the teacher has a vector of, [S]."""
        found: Bool = np.zeros(0, dtype=bool) if self.vectors is None else np.any(self.vectors != 0, axis=1)
        return found


@dataclass(frozen=True)
class Batches:
    """The batches of one split."""

    shards: Shards
    shape: BatchShape
    settings: recipe.Pretrain
    vocab_size: int
    seed: int
    word_starts: Bool | None = None
    total: int | None = None
    """Batches of the whole training, over which `mask_rate_start` changes to `mask_rate`."""
    vectors: Float16 | None = None
    """[sentences of the split, width]: a teacher's vectors, to be passed on with each batch."""

    def batch(self, n: int) -> Batch:
        """Return batch `n` of training."""
        sentence, epoch = self._stream(n * self.shape.sentences, (n + 1) * self.shape.sentences)
        mask_epoch = np.zeros_like(epoch) if self.settings.masking == "static" else epoch
        return self._assemble(sentence, mask_epoch, epoch, self.mask_rate(n))

    def mask_rate(self, n: int) -> float:
        """Return the share of the tokens that batch `n` masks."""
        start, end = self.settings.mask_rate_start, self.settings.mask_rate
        if start is None or self.total is None:
            return end
        return start + (end - start) * min(1.0, n / max(1, self.total - 1))

    def training_sentences(self, batches: int) -> Int64:
        """Return the sentences of the first batches of training in the order of their first use, int64."""
        return self._stream(0, min(batches * self.shape.sentences, self.shards.sentences))[0]

    def validation_sentences(self, limit: int) -> Int64:
        """Return the first `limit` sentences of a seeded order, int64."""
        count = min(limit, self.shards.sentences)
        return permute(np.arange(count), self.shards.sentences, mix(self.seed, _ORDER, _VALIDATION_EPOCH))

    def validation(self, limit: int) -> list[Batch]:
        """Return batches of the `validation_sentences`, each once, with masks that never change."""
        sentence = self.validation_sentences(limit)
        batches = []
        while len(sentence):
            # A few sentences short of a full batch, so that all find room; those that do not are the first of the next batch.
            head, later = np.split(sentence, [max(1, int(0.8 * self.shape.sentences))])
            fits = pack(self._lengths(head), self.shape.rows, self.shape.row_length)[0] >= 0
            epoch = np.full(int(fits.sum()), _VALIDATION_EPOCH)
            batches.append(self._assemble(head[fits], epoch, epoch, self.settings.mask_rate))
            sentence = np.concatenate([head[~fits], later])
        return batches

    def _stream(self, start: int, end: int) -> tuple[Int64, Int64]:
        """Return sentences of the endless stream of every epoch's permutation, and their epochs."""
        epoch, index = np.divmod(np.arange(start, end, dtype=np.int64), self.shards.sentences)
        return permute(index, self.shards.sentences, mix(self.seed, _ORDER, epoch)), epoch

    def _lengths(self, sentence: Int64) -> Int64:
        length: Int64 = self.shards.offsets[sentence + 1] - self.shards.offsets[sentence]
        return np.minimum(length, self.shape.row_length)

    def _assemble(self, sentence: Int64, mask_epoch: Int64, epoch: Int64, mask_rate: float) -> Batch:
        shards, row_length = self.shards, self.shape.row_length
        start, end = shards.offsets[sentence], shards.offsets[sentence + 1]
        length = self._lengths(sentence)
        # A sentence longer than a row shows another window of itself each epoch.
        slack = end - start - length
        start = start + (uniform(mix(self.seed, _CUT, epoch, sentence)) * (slack + 1)).astype(np.int64)

        row, column, segment = pack(length, self.shape.rows, row_length)
        placed = row >= 0
        sentence, start, length, mask_epoch = sentence[placed], start[placed], length[placed], mask_epoch[placed]
        row, column, segment = row[placed], column[placed], segment[placed]

        owner = np.repeat(np.arange(len(length)), length)  # [tokens]: which sentence of the batch
        position = np.arange(len(owner)) - np.repeat(np.cumsum(length) - length, length)
        tokens = shards.tokens[start[owner] + position].astype(np.int64)
        keys = mix(self.seed, _MASKS, mask_epoch, sentence)
        seen, chosen = mask_tokens(tokens, owner, keys, mask_rate, self.vocab_size, self.word_starts)
        flat = (row * row_length + column)[owner] + position

        # More than fit is rare; those past the end are shown unmasked and not predicted.
        over = np.flatnonzero(chosen)[self.shape.masked :]
        chosen[over], seen[over] = False, tokens[over]
        count = int(chosen.sum())
        queries = np.zeros(self.shape.masked, dtype=np.int64)
        targets = np.full(self.shape.masked, IGNORE, dtype=np.int64)
        queries[:count], targets[:count] = flat[chosen], tokens[chosen]
        batch = Batch(
            input_ids=self._rows(flat, seen),
            segment_ids=self._rows(flat, segment[owner]),
            positions=self._rows(flat, position),
            query_positions=queries,
            targets=targets,
        )
        if self.vectors is None:
            return batch
        vectors = np.zeros((self.shape.sentences, self.vectors.shape[1]), dtype=np.float16)
        vectors[: len(sentence)] = self.vectors[sentence]
        return replace(batch, sentences=self._rows(flat, owner, self.shape.sentences), vectors=vectors)

    def _rows(self, flat: Int64, values: Int64, padding: int = 0) -> Int64:
        rows = np.full(self.shape.positions, padding, dtype=np.int64)  # [PAD] is 0, and so is "no segment"
        rows[flat] = values
        return rows.reshape(self.shape.rows, self.shape.row_length)


def training_shape(shards: Shards, settings: recipe.Pretrain) -> BatchShape:
    """Return the shape of a run's batches: 128 sentences by default."""
    lengths = shards.lengths(settings.row_length)
    sentences = settings.batch_sentences or 128
    if settings.batch_tokens:
        sentences = sentences_for_tokens(lengths, settings.batch_tokens)
    return batch_shape(lengths, settings.row_length, settings.highest_mask_rate, sentences)
