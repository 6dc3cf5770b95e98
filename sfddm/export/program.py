"""A student as one program from noise to image, for torch.export and for ONNX.

The steps are a loop inside the program (`scan`), so its size does not grow with T'. The last step, and with multistep
solvers the first ones too, differ from the others and are outside of it.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.export import Dim, ExportedProgram

from sfddm.diffusion.sampling import advance, clipped
from sfddm.diffusion.solvers import SOLVERS
from sfddm.diffusion.steps import Step
from sfddm.export.bare import Bare, sampler_of

TORCH_FILE, ONNX_FILE = "student.pt2", "student.onnx"
TRACES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node", "custom")
"""Metadata that says where each operation comes from: paths of this machine, several times the size of the rest."""
EXAMPLE = 2
"""Images in the batch that the program is traced with; it takes any number."""


class Program(nn.Module):
    """From noise [B, C, H, W], and with a stochastic solver step noise [T' - 1, B, C, H, W], to images [B, C, H, W]."""

    def __init__(self, network: nn.Module, student: Mapping[str, Any]) -> None:
        super().__init__()
        _take_any_batch(network)
        self.bare = Bare(network, student).eval().requires_grad_(False)
        self.sampler = sampler_of(student)
        self.steps = len(self.sampler.levels)
        self.memory = SOLVERS[self.sampler.solver].memory
        self.peeled = min(self.memory, self.steps - 1)
        self.register_buffer("here", torch.arange(self.steps - self.peeled, 1, -1), persistent=False)

    here: Tensor

    def forward(self, noise: Tensor, step_noise: Tensor | None = None) -> Tensor:
        """The images [B, C, H, W]."""
        x, predicted = noise, list[Tensor]()
        for k in range(self.steps, self.steps - self.peeled, -1):
            x, x0 = self._step(x, predicted, k, k - 1, None)
            predicted = [x0, *predicted][: self.memory]
        if len(self.here):
            along = (self.here, *(() if step_noise is None else (step_noise,)))
            (x, *predicted), _ = scan(self._middle, (x, *predicted), along)
        return self._step(x, predicted, 1, 0, None)[0]

    def _middle(self, carry: tuple[Tensor, ...], along: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], Tensor]:
        (x, *predicted), (here, *noise) = carry, along
        x, x0 = self._step(x, predicted, here, here - 1, noise[0] if noise else None)
        return tuple(each.clone() for each in (x, *[x0, *predicted][: self.memory])), here.clone()

    def _step(
        self, x: Tensor, predicted: list[Tensor], k: int | Tensor, below: int | Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The state at phi_(k - 1), and the image predicted at phi_k; the last predictions are those above it."""
        here, there, levels = _index(x, k), _index(x, below), self.bare.schedule
        x0 = clipped(self.sampler, self.bare.predict(x, here, there)[0])
        past = tuple((one, levels.at(_index(x, k + back), x)) for back, one in enumerate(predicted, 1))
        step = Step(x, x0, levels.at(here, x), levels.at(there, x), past, iter(() if noise is None else (noise,)),
                    lambda state: clipped(self.sampler, self.bare.predict(state, there, there)[0]))  # fmt: skip
        return advance(self.sampler, step, final=isinstance(below, int) and below == 0), x0


def _trace(network: Any, student: Mapping[str, Any]) -> ExportedProgram:
    """The traced program of a student, for batches of any size."""
    program, shape = Program(network, student).eval(), (network.config["in_channels"], *network.config["sample_size"])
    inputs: list[Tensor] = [torch.randn(EXAMPLE, *shape)]
    batch = Dim("batch", min=1)
    sizes: list[dict[int, Dim]] = [{0: batch}]
    if SOLVERS[program.sampler.solver].stochastic and program.steps > 1:
        inputs.append(torch.randn(program.steps - 1, EXAMPLE, *shape))
        sizes.append({1: batch})
    with torch.no_grad():
        return torch.export.export(program, tuple(inputs), dynamic_shapes=tuple(sizes))


def write_program(folder: Path, network: Any, student: Mapping[str, Any]) -> None:
    """Write a student's program into an existing folder, for `torch.export.load`."""
    exported = _trace(network, student)
    _forget_traces(exported.graph_module)
    torch.export.save(exported, folder / TORCH_FILE)


def draw_from_program(folder: Path, noise: Tensor, step_noise: Tensor | None) -> Tensor:
    """The images that the written program makes of given noises."""
    inputs = [noise] if step_noise is None else [noise, step_noise]
    images: Tensor = torch.export.load(folder / TORCH_FILE).module()(*inputs)
    return images


def write_onnx(folder: Path, network: Any, student: Mapping[str, Any]) -> None:
    """Write a student's program into an existing folder as ONNX, weights and all in one file."""
    import onnx_ir

    exported = _trace(network, student)
    names = ["noise", "step_noise"][: len(exported.graph_signature.user_inputs)]
    converted = torch.onnx.export(
        exported, dynamo=True, input_names=names, output_names=["images"], verbose=False, optimize=True
    )
    assert converted is not None
    model = converted.model
    for graph in (model, model.graph, *model.functions.values()):
        graph.metadata_props.clear()
        for node in onnx_ir.traversal.RecursiveGraphIterator(graph.graph if hasattr(graph, "graph") else graph):
            node.metadata_props.clear()
    onnx_ir.save(model, folder / ONNX_FILE)


def draw_from_onnx(folder: Path, noise: Tensor, step_noise: Tensor | None) -> Tensor:
    """The images that the written ONNX program makes of given noises."""
    import onnxruntime

    inputs = {"noise": noise.numpy()} | ({} if step_noise is None else {"step_noise": step_noise.numpy()})
    session = onnxruntime.InferenceSession(folder / ONNX_FILE, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, inputs)[0])


def _index(x: Tensor, k: int | Tensor) -> Tensor:
    """An index of a level for every image, int64 [B]."""
    return torch.full((x.shape[0],), k, device=x.device) if isinstance(k, int) else k.expand(x.shape[0])


def _take_any_batch(network: nn.Module) -> None:
    """diffusers treats batches of 64 and more apart when it enlarges images, which would bound the program's batch."""
    for module in network.modules():
        if isinstance(module, Upsample2D):
            module.forward = partial(_enlarge, module)


def _enlarge(module: Upsample2D, x: Tensor, output_size: None = None) -> Tensor:
    enlarged = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
    convolved: Tensor = module.conv(enlarged) if module.use_conv else enlarged
    return convolved


def _forget_traces(module: torch.fx.GraphModule) -> None:
    for node in module.graph.nodes:
        for name in TRACES:
            node.meta.pop(name, None)
    for part in module.children():
        if isinstance(part, torch.fx.GraphModule):
            _forget_traces(part)
