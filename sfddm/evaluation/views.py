"""The teacher's images as a scorer sees them: the same for every row of a comparison, so they are looked at once."""

from pathlib import Path

from sfddm.errors import UserError
from sfddm.evaluation.reference import Reference
from sfddm.evaluation.scorer import Scorer, View
from sfddm.networks.weights import read_tensors, write_tensors
from sfddm.runtime.files import atomic_file, digest
from sfddm.runtime.fingerprint import fingerprint
from sfddm.runtime.locks import locked
from sfddm.runtime.machine import machine


def teachers_view(scorer: Scorer, reference: Reference, views: Path | None, label: str = "") -> View:
    """The reference's images in a scorer's features.

    With a folder `views` they are kept there under the hash of all that they depend on. Deleting it loses nothing but
    time.
    """
    if views is None:
        return scorer.view(reference.images, label)
    extractor, device = scorer.extractor, scorer.real.scale.device
    key = digest(
        {
            "images": reference.digest,
            "network": extractor.digest,
            "version": extractor.version,
            "real": scorer.real.digest,
            "machine": machine(1),
            "device": device.type,
            "code": fingerprint(__name__),
        }
    )[:16]
    path = views / f"{key}.safetensors"
    with locked(views / f"{key}.lock"):
        try:
            kept = {name: tensor.to(device) for name, tensor in read_tensors(path).items()}
        except UserError:  # not there, or damaged
            seen = scorer.view(reference.images, label)
            kept = {"features": seen.features, **({} if seen.classes is None else {"classes": seen.classes})}
            with atomic_file(path) as partial:
                write_tensors(partial, kept)
    return View(features=kept["features"], classes=kept.get("classes"))
