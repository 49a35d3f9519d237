"""Audio-visual clips from Atari games: raw media that anyone can make again, and that is never shipped.

`ale-py` emulates the console, whose picture and sound are in step. A clip has one of `GAMES` as its class; its picture
is seen and its sound heard over one interval each, and the event is where both are: at each end, one usually goes on
alone (the timeline of `snn_cace.data.avdigits`). Where the picture is not seen there is another game's or none;
likewise the sound, never of a game that is seen. So neither modality alone knows when the event is.

Every clip is a take of its own, played at random from its number: no two splits share one. The games' makers hold their
rights; the files are for your own experiments, made on your machine.

.venv/bin/python examples/games/write_games.py DIRECTORY [--clips 420] [--seed 0] [--jobs 2]
"""

from __future__ import annotations

import argparse
import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from tqdm import tqdm

from snn_cace.data.avdigits import SEGMENTS, draw_timeline
from snn_cace.encoders.video import write_video
from snn_cace.files import write_json, write_text
from snn_cace.processes import start_worker, workers

GAMES = (
    "zaxxon", "yars_revenge", "enduro", "freeway", "private_eye", "wizard_of_wor", "atlantis", "robotank",
    "battle_zone", "defender", "kangaroo", "seaquest",
)  # fmt: skip
"""Games that are heard in every second of random play."""
FRAMES_PER_SECOND, SHOWN = 60, 4
"""Frames of the console, and one in how many of them is in the file."""
SAMPLE_RATE = 32000
ACTION_FRAMES = 4
WARM_UP = 600
"""Frames that a take may play before the clip begins."""
OTHER_SHARE = 0.5
"""Chance that a clip has another game where its own is not seen, and likewise where it is not heard."""


@dataclass
class Take:
    """A game as it is played: pictures `[150, 210, 160, 3]` of bytes, and sound `[10, samples]` in [-1, 1]."""

    pictures: np.ndarray
    sound: np.ndarray


def play(game: str, rng: np.random.Generator) -> Take:
    """Ten seconds of random play, beginning somewhere within its first ten."""
    from ale_py import ALEInterface, LoggerMode, roms

    ALEInterface.setLoggerMode(LoggerMode.Error)
    console = ALEInterface()
    console.setInt("random_seed", int(rng.integers(1, 2**31)))
    console.setBool("sound_obs", True)
    console.setFloat("repeat_action_probability", 0.0)
    console.loadROM(cast(Path, roms.get_rom_path(game)))
    actions = console.getMinimalActionSet()
    pictures, sound = [], []
    start = int(rng.integers(60, WARM_UP))
    for number in range(start + SEGMENTS * FRAMES_PER_SECOND):
        if number % ACTION_FRAMES == 0:
            action = actions[rng.integers(len(actions))]
        console.act(action)
        if number >= start:
            sound.append(console.getAudio().astype(np.float32))
            if (number - start) % SHOWN == 0:
                pictures.append(console.getScreenRGB())
        if console.game_over():
            console.reset_game()
    wave = (np.concatenate(sound) - 128) / 128
    given = np.linspace(0, SEGMENTS, len(wave), endpoint=False)
    wanted = np.arange(SEGMENTS * SAMPLE_RATE) / SAMPLE_RATE
    resampled = np.interp(wanted, given, wave - wave.mean()).astype(np.float32)
    return Take(np.stack(pictures), resampled.reshape(SEGMENTS, SAMPLE_RATE))


@dataclass
class Plan:
    """A clip: its class, over which segments it is seen and heard, and which games are there instead, if any."""

    game: str
    visible: np.ndarray
    heard: np.ndarray
    seen_else: str | None
    heard_else: str | None

    @property
    def event(self) -> tuple[int, int]:
        """Its half-open range of segments."""
        both = np.flatnonzero(self.visible & self.heard)
        return int(both[0]), int(both[-1]) + 1


def draw_plan(number: int, rng: np.random.Generator) -> Plan:
    """The clip with this number; classes take turns."""
    game = GAMES[number % len(GAMES)]
    timeline = draw_timeline(rng)
    others = rng.permutation([other for other in GAMES if other != game])
    seen, heard = (str(other) if rng.random() < OTHER_SHARE else None for other in others[:2])
    return Plan(game, timeline.visible, timeline.heard, seen, heard)


def make_clip(path: Path, number: int, seed: int) -> str:
    """Write one clip, and return its line of the annotations."""
    rng = np.random.default_rng([seed, number])
    plan = draw_plan(number, rng)
    own = play(plan.game, rng)
    pictures, sound = np.zeros_like(own.pictures), np.zeros_like(own.sound)
    if plan.seen_else:
        pictures = play(plan.seen_else, rng).pictures
    if plan.heard_else:
        sound = play(plan.heard_else, rng).sound
    shown = np.repeat(plan.visible, FRAMES_PER_SECOND // SHOWN)
    pictures[shown] = own.pictures[shown]
    sound[plan.heard] = own.sound[plan.heard]
    write_video(path, pictures, FRAMES_PER_SECOND // SHOWN, sound.ravel(), SAMPLE_RATE)
    start, end = plan.event
    return f"{plan.game}&{path.stem}&good&{start}&{end}\n"


def write_games(directory: Path, clips: int, seed: int, jobs: int) -> str:
    """Make `clips` clips, Annotations.txt and, as `sha256sum -c` reads it, SHA256SUMS; clips that are there already
    stay. Returns the digest of SHA256SUMS, which is another if any file is.

    Raises:
        ValueError: fewer clips than classes, or clips of another seed that are there already.
    """
    if clips < len(GAMES):
        raise ValueError(f"{clips} clips are fewer than the {len(GAMES)} classes")
    seed_of = directory / "games.json"
    if seed_of.is_file() and (other := json.loads(seed_of.read_text(encoding="utf-8"))["seed"]) != seed:
        raise ValueError(
            f"{directory} holds clips of seed {other}; go on with --seed {other}, or choose another directory"
        )
    write_json(seed_of, {"seed": seed})
    paths = [directory / f"game-{number:05d}.mp4" for number in range(clips)]
    with ProcessPoolExecutor(jobs, workers(), start_worker, (1,)) as pool:
        made = pool.map(clip_or_line, paths, range(clips), [seed] * clips)
        lines = list(tqdm(made, total=clips, unit="clip", desc="playing", disable=None))
    write_text(directory / "Annotations.txt", "".join(lines))
    sums = [f"{digest(path)}  {path.name}\n" for path in [*paths, directory / "Annotations.txt"]]
    write_text(directory / "SHA256SUMS", "".join(sums))
    return digest(directory / "SHA256SUMS")


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def clip_or_line(path: Path, number: int, seed: int) -> str:
    """`make_clip`, or only its line where the file is there."""
    if not path.is_file():
        return make_clip(path, number, seed)
    plan = draw_plan(number, np.random.default_rng([seed, number]))
    return f"{plan.game}&{path.stem}&good&{plan.event[0]}&{plan.event[1]}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Make videos of Atari games with events and background, for extract.")
    parser.add_argument("directory", type=Path, help="to make; clips that are there already stay")
    parser.add_argument("--clips", type=int, default=420, help="of ten seconds, one of twelve games each")
    parser.add_argument("--seed", type=int, default=0, help="of everything; the same one gives the same files")
    parser.add_argument("--jobs", type=int, default=2, help="processes that play and encode")
    given = parser.parse_args()
    try:
        digest_of_all = write_games(given.directory, given.clips, given.seed, given.jobs)
    except ValueError as error:
        parser.error(str(error))
    print(f"{given.clips} clips, SHA256SUMS {digest_of_all}: {given.directory}")


if __name__ == "__main__":
    main()
