"""Targeted fine-tuning: an image encoder learns to tell which sound belongs to a picture.

A batch holds one event segment of each of B clips: a picture and its sound. With z the unit-length projections of the
encoder's pooled features and a those of the sound's vector, the loss is the contrastive one in both directions,

    -1 / (2 B) sum over i of [log softmax over j of (z_i a_j / temperature) at i + the same with z and a exchanged].

Batch norms keep their running statistics, and nothing is dropped, so that what one clip does depends on no other but
through the loss.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset, DistributedSampler

from snn_cace.data.labels import Annotation, read_annotations
from snn_cace.encoders.audio import AudioEncoder, audio_encoder
from snn_cace.encoders.media import Media, content_digests, decoded_ahead, file_identity, first_difference, video_files
from snn_cace.encoders.video import Plan, UnusableVideoError, read_clip
from snn_cace.encoders.visual import FeatureMap, VisualEncoder, visual_encoder
from snn_cace.errors import InputError
from snn_cace.files import read_json, write_json
from snn_cace.processes import is_unused, sole_writer
from snn_cace.runtime import pick_device
from snn_cace.training.callbacks import LossHistory, StopOnBadLoss, WholeCheckpoints, epoch_progress
from snn_cace.training.checkpoints import write_tensors
from snn_cace.training.ranks import join
from snn_cace.training.run import lightning_quiet

SETTINGS, WEIGHTS, LAST = "finetune.json", "encoder.pth", "last"


@dataclass
class FineTuning(Media):
    """All that decides a fine-tuning; see `snn_cace.commands.finetune`."""

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float
    temperature: float
    width: int
    seed: int


class EventPairs(Dataset):
    """One pair a clip: a picture `[height, width, 3]` of bytes and its second of sound, of an event segment that seed,
    epoch and row draw. A clip whose file cannot be used is an InputError naming it.
    """

    def __init__(self, annotations: list[Annotation], files: list[Path | None], plan: Plan, seed: int) -> None:
        found = zip(annotations, files, strict=True)
        self.clips = [(one, file) for one, file in found if file is not None and one.end > one.start]
        self.plan, self.seed, self.epoch = plan, seed, 0

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        annotation, file = self.clips[row]
        segment = int(np.random.default_rng([self.seed, self.epoch, row]).integers(annotation.start, annotation.end))
        try:
            clip = read_clip(file, self.plan)
        except UnusableVideoError as error:
            raise InputError(f"{file}: {error}; leave it out of the annotations") from None
        return torch.from_numpy(clip.pictures[segment, 0]), torch.from_numpy(clip.sound[segment])


def contrastive(pictures: torch.Tensor, sounds: torch.Tensor, temperature: float) -> torch.Tensor:
    """The loss above, of projections `[B, d]` of both."""
    own = torch.arange(len(pictures), device=pictures.device)
    to_sounds = F.cross_entropy(pictures @ sounds.T / temperature, own)
    to_pictures = F.cross_entropy(sounds @ pictures.T / temperature, own)
    return (to_sounds + to_pictures) / 2


class ContrastiveTuning(L.LightningModule):
    """The encoder and two projections; sound's vectors are computed, never trained."""

    def __init__(self, settings: FineTuning, visual: VisualEncoder, audio: AudioEncoder) -> None:
        super().__init__()
        self.settings, self.visual, self.audio = settings, visual, audio
        self.encoder = visual.network
        for parameter in self.encoder.parameters():
            parameter.requires_grad_(True)
        self.sound_norm = nn.LayerNorm(audio.channels, elementwise_affine=False)
        self.picture_projection = nn.Linear(visual.channels, settings.width)
        self.sound_projection = nn.Linear(audio.channels, settings.width)

    def projections(self, pictures: torch.Tensor, sound: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures `[b, height, width, 3]` of bytes and sound `[b, samples]` to unit vectors `[b, width]` each."""
        maps = self.visual.maps(pictures)
        heard = self.sound_norm(self.audio(sound.cpu()).to(self.device))
        return (
            F.normalize(self.picture_projection(maps.mean((2, 3))), dim=-1),
            F.normalize(self.sound_projection(heard), dim=-1),
        )

    def on_train_epoch_start(self) -> None:
        self.eval()  # batch norms as they were trained; nothing is dropped
        cast(Any, self.trainer.train_dataloader).dataset.epoch = self.current_epoch

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_index: int) -> torch.Tensor:
        loss = contrastive(*self.projections(*batch), self.settings.temperature)
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        settings = self.settings
        optimiser = torch.optim.SGD(self.parameters(), lr=settings.learning_rate, momentum=settings.momentum)
        return [optimiser], [torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs)]


def prepare(output: Path, decides: dict[str, Any], resume: bool) -> None:
    """Write all that decides the result, or hold it against that of the fine-tuning that is gone on with.

    Raises:
        InputError: naming the directory and what to do.
    """
    written = output / SETTINGS
    if not resume:
        if not is_unused(output):
            raise InputError(f"{output} is not empty; give a fresh --output, or --resume to go on with it")
        write_json(written, decides)
        return
    if not written.is_file():
        raise InputError(f"{output} holds no fine-tuning to resume: no {SETTINGS}")
    changed = first_difference(read_json(written), decides)
    if changed:
        raise InputError(f"{output} was started with another {changed}; resume with the same, or start afresh")


def finetune(settings: FineTuning, output: Path, device: str, workers: int, resume: bool, quiet: bool) -> Path:
    """Fine-tune into `output`; returns the file of the encoder's weights, which `extract --visual-weights` takes.

    Raises:
        InputError: no videos or annotations, no weights to tune, too few clips for a batch, or a directory in use.
    """
    annotations = read_annotations(settings.annotations)
    files = video_files(Path(settings.videos), annotations)
    visual = visual_encoder(settings.visual, settings.visual_weights)
    if not list(visual.network.parameters()):
        raise InputError(f"{settings.visual} has no weights to tune; choose another --visual")
    audio = audio_encoder(settings.audio, settings.audio_weights)
    pairs = EventPairs(annotations, files, Plan(1, *visual.size, audio.sample_rate), settings.seed)
    if len(pairs) < settings.batch_size:
        raise InputError(f"{len(pairs)} clips with an event do not fit a batch_size of {settings.batch_size}")
    L.seed_everything(settings.seed, verbose=False)
    module = ContrastiveTuning(settings, visual, audio)
    with sole_writer(output):
        decides = asdict(settings) | content_digests(annotations, visual.network, audio.network)
        prepare(output, decides | {"set of videos": [file_identity(file) for _, file in pairs.clips]}, resume)
        fit(module, pairs, output, device, workers, resume, quiet)
        state = cast(FeatureMap, module.encoder).network.state_dict()
        write_tensors(output / WEIGHTS, {name: value.cpu() for name, value in state.items()})
    return output / WEIGHTS


def fit(
    module: ContrastiveTuning, pairs: EventPairs, output: Path, device: str, workers: int, resume: bool, quiet: bool
) -> None:
    settings = module.settings
    saver = ModelCheckpoint(dirpath=output, filename=LAST, save_on_train_epoch_end=True, enable_version_counter=False)
    callbacks: list[Callback] = [LossHistory(output / "history.json"), StopOnBadLoss(), saver]
    trainer = L.Trainer(
        accelerator="gpu" if pick_device(device).type == "cuda" else "cpu",
        devices=1,
        max_epochs=settings.epochs,
        logger=False,
        callbacks=callbacks if quiet else [*callbacks, epoch_progress()],
        enable_progress_bar=not quiet,
        enable_model_summary=False,
        plugins=[WholeCheckpoints(), join(1)],
    )
    # An epoch's order is a function of seed and epoch alone, whatever ran before.
    order: DistributedSampler = DistributedSampler(pairs, 1, 0, seed=settings.seed)
    loader = decoded_ahead(pairs, workers, batch_size=settings.batch_size, sampler=order, drop_last=True)
    last = output / f"{LAST}.ckpt"
    with lightning_quiet():
        trainer.fit(module, loader, ckpt_path=last if resume and last.is_file() else None, weights_only=True)
