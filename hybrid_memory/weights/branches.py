"""Several adapters beside one resident base: each group of rows is multiplied with its own A and B.

Flow:    stacked training and scoring -> [branches] -> hooks on the base's linear layers
Imports: nothing of this package.

As in Punica and S-LoRA (arXiv 2310.18547, 2311.03285), where the groups are users.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Branch", "beside"]


class Branch:
    """x -> B_c A_c x beside one linear layer, with c the candidate that a row belongs to."""

    def __init__(self, module: nn.Module, a: Tensor, out_features: int, count: int, scale: float) -> None:
        """Begin with `count` equal candidates, as PEFT begins: A as given, shape (r, in), and B zero, (out, r)."""
        self.module = module
        self.a = [nn.Parameter(a.clone()) for _ in range(count)]
        self.b = [nn.Parameter(torch.zeros(out_features, a.shape[0], device=a.device)) for _ in range(count)]
        self._scale = scale

    def beside(self, groups: Mapping[int, int]) -> Any:
        """Return a forward hook for batches in which candidate c has the next `groups[c]` rows.

        A single candidate has all rows, however many there are.
        """
        matrices = [matrix for one in groups for matrix in (self.a[one], self.b[one])]

        def add(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
            sizes = list(groups.values()) if len(groups) > 1 else [len(output)]
            added: Tensor = _Add.apply(output, given[0], self._scale, sizes, *matrices)  # type: ignore[no-untyped-call]
            return added

        return add


@contextmanager
def beside(branches: Sequence[Branch], groups: Mapping[int, int]) -> Iterator[None]:
    """Run with the candidates' branches on; see `Branch.beside`."""
    with ExitStack() as hooks:
        for branch in branches:
            hooks.callback(branch.module.register_forward_hook(branch.beside(groups)).remove)
        yield


class _Add(torch.autograd.Function):
    """output += scale * B_c A_c x in place, for the rows of each candidate c.

    In the base's dtype, with float32 master weights and one temporary of r columns: PEFT's own layer makes three
    float32 copies as large as the layer's output, which cost more than the matrix products on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, x: Tensor, scale: float, sizes: Sequence[int], *matrices: Tensor) -> Tensor:
        """Take output (rows, length, out), x (rows, length, in), then A (r, in) and B (out, r) of each candidate."""
        cast = [matrix.to(x.dtype) for matrix in matrices]
        inner = []
        for out, given, a, b in zip(_parts(output, sizes), _parts(x, sizes), cast[::2], cast[1::2], strict=True):
            inner.append(given @ a.T)
            out.addmm_(inner[-1], b.T, alpha=scale)
        ctx.mark_dirty(output)
        ctx.save_for_backward(x, *cast, *inner)
        ctx.scale, ctx.sizes, ctx.dtype = scale, sizes, matrices[0].dtype
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of what `forward` took."""
        (gradient,) = gradients
        x, *saved = ctx.saved_tensors
        count = len(ctx.sizes)
        cast, inner = saved[: 2 * count], saved[2 * count :]
        gradient = gradient.contiguous()
        of_x = torch.empty_like(x) if ctx.needs_input_grad[1] else None
        of_matrices: list[Tensor | None] = []
        for number, (g, given) in enumerate(zip(_parts(gradient, ctx.sizes), _parts(x, ctx.sizes), strict=True)):
            a, b = cast[2 * number : 2 * number + 2]
            low = (g @ b).mul_(ctx.scale)
            of_matrices += [(low.T @ given).to(ctx.dtype), (g.T @ inner[number]).mul_(ctx.scale).to(ctx.dtype)]
            if of_x is not None:
                torch.mm(low, a, out=_parts(of_x, ctx.sizes)[number])
        return gradient, of_x, None, None, *of_matrices


def _parts(tensor: Tensor, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    """Return each candidate's positions, shape (rows * length, width): views, not copies."""
    return tuple(part.reshape(-1, tensor.shape[-1]) for part in torch.split(tensor, list(sizes)))
