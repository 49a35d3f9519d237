"""Type-wise F-scores: by hand, and as LLP's authors' evaluation computes them, restated with loops."""

from __future__ import annotations

import numpy as np
import pytest

from snn_cace.training.parsing import parsing_scores


def runs_of(row: list[bool]) -> list[set[int]]:
    runs: list[set[int]] = []
    for place, there in enumerate(row):
        if there and place and row[place - 1]:
            runs[-1].add(place)
        elif there:
            runs.append({place})
    return runs


def counts_of(found: list[bool], true: list[bool], of_events: bool) -> tuple[int, int, int]:
    if not of_events:
        pairs = list(zip(found, true, strict=True))
        return sum(f and t for f, t in pairs), sum(f and not t for f, t in pairs), sum(t and not f for f, t in pairs)
    ours, theirs = runs_of(found), runs_of(true)
    hits = sum(any(len(a & b) >= 0.5 * len(a | b) for b in theirs) for a in ours)
    missed = sum(not any(len(a & b) >= 0.5 * len(a | b) for a in ours) for b in theirs)
    return hits, len(ours) - hits, missed


def restated(found: np.ndarray, true: np.ndarray, of_events: bool) -> list[float]:
    """Audio, visual, audio-visual, type and event, in percent, of `[N, T, 2, C]`."""
    of_clips = []
    for clip in range(len(found)):
        scores: list[list[float]] = [[], [], [], []]
        for index in range(found.shape[3]):
            rows = [(one[clip, :, 0, index], one[clip, :, 1, index]) for one in (found, true)]
            (heard, seen), (truly_heard, truly_seen) = rows
            counted = [
                counts_of(heard.tolist(), truly_heard.tolist(), of_events),
                counts_of(seen.tolist(), truly_seen.tolist(), of_events),
                counts_of((heard & seen).tolist(), (truly_heard & truly_seen).tolist(), of_events),
            ]
            counted.append(tuple(a + b for a, b in zip(counted[0], counted[1], strict=True)))
            for kind, (right, wrong, missed) in enumerate(counted):
                if right + wrong or right + missed:
                    scores[kind].append(2 * right / (2 * right + wrong + missed))
        of_clips.append([sum(kind) / len(kind) if kind else 1.0 for kind in scores])
    audio, visual, both, event = (100 * np.mean(of_clips, 0)).tolist()
    return [audio, visual, both, (audio + visual + both) / 3, event]


def classes(parsed: np.ndarray) -> np.ndarray:
    """`[N, T, 2, C]` of bool as `[N, T, 2 C + 1]`, background last."""
    events = parsed.reshape(*parsed.shape[:2], -1)
    return np.concatenate([events, ~events.any(-1, keepdims=True)], -1).astype(np.int8)


def test_scores_by_hand():
    """Two classes over five segments: 0 is heard in 0 to 3 and found in 1 to 4, 1 is seen in 2 but found nowhere."""
    true, found = np.zeros((2, 1, 5, 2, 2), bool)
    true[0, 0:4, 0, 0], found[0, 1:5, 0, 0], true[0, 2, 1, 1] = True, True, True
    scores = parsing_scores(classes(found), classes(true))
    # Heard: 3 hits, one false, one missed, 6 / 8; seen: a miss; at once: nothing to find, 1.
    assert [scores[f"segment_f1_{kind}"] for kind in ("audio", "visual", "audio_visual")] == [75, 0, 100]
    assert scores["segment_f1_type"] == pytest.approx(175 / 3)
    assert scores["segment_f1_event"] == pytest.approx(100 * (0.75 + 0) / 2)
    # 3 of 5 segments in common: the event is found.
    assert [scores[f"event_f1_{kind}"] for kind in ("audio", "visual", "audio_visual")] == [100, 0, 100]


def test_scores_are_the_authors():
    rng = np.random.default_rng(0)
    true = rng.random((6, 10, 2, 4)) > 0.6
    found = np.where(rng.random(true.shape) > 0.25, true, rng.random(true.shape) > 0.5)
    found[0], true[0, ..., 0] = False, False
    scores = parsing_scores(classes(found), classes(true))
    for of_events, name in ((False, "segment"), (True, "event")):
        kinds = ("audio", "visual", "audio_visual", "type", "event")
        assert [scores[f"{name}_f1_{kind}"] for kind in kinds] == pytest.approx(restated(found, true, of_events))
