"""A step of several processes: each sends its share of the faces through the backbones, all else sees the whole batch.

The backbones make nearly all of the work. What they give is gathered, so that what belongs to the whole batch
(partners, class weights, missing landmarks, centres) is computed from it in every process as one process alone would;
inside the backbones batch norm takes its statistics over all processes, and dropout draws for all faces. So loss,
gradients and running statistics are those of one process, up to rounding.

Every process computes the same loss of the whole batch, and `average_gradients` takes the mean of what backward gives
in each. For all that comes after the backbones that is the gradient itself. The gradient of a share of faces is in one
process only, so that `_Gather` hands it back times the number of processes.

torch's process group has to be there (`lsdkit.training.processes`). torch's own SyncBatchNorm refuses a CPU's tensors.
Fabric's collectives wait for all processes before each; in a step, torch's are used.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lsdkit.method.network import MultiTask
from lsdkit.training.forwards import replace_forwards


@contextmanager
def shard_backbones(network: MultiTask) -> Iterator[None]:
    """Within the block, which backward belongs to, each process computes its share of the faces in the backbones.

    Every process gives the same whole batch to the network. A batch of fewer faces than processes is computed whole in
    each of them.
    """
    share = _Share()
    found = network.backbones()
    coupled = [each for backbone in found for each in backbone.modules() if isinstance(each, _COUPLED)]
    with (
        replace_forwards(coupled, lambda module, forward: _over_all(forward, share)),
        replace_forwards(found, lambda module, forward: _sharded(forward, share)),
    ):
        yield


@torch.no_grad()
def average_gradients(network: nn.Module) -> None:
    """Replace each gradient by its mean over the processes, the same to the bit in all of them."""
    gradients = [each.grad for each in network.parameters() if each.grad is not None]
    flat = torch.cat([each.reshape(-1) for each in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
        gradient.copy_(part.view(gradient.shape))


def cut_shares(faces: int, processes: int) -> list[slice]:
    """Which faces of a batch each process takes.

    >>> cut_shares(5, 2)
    [slice(0, 3, None), slice(3, 5, None)]
    """
    sizes = [faces // processes + (rank < faces % processes) for rank in range(processes)]
    return [slice(sum(sizes[:rank]), sum(sizes[: rank + 1])) for rank in range(processes)]


class _Share:
    """This process's share of the batch that goes through a backbone; `own` is None where each computes it whole."""

    faces: int = 0
    own: slice | None = None

    def cut(self, x: Tensor) -> Tensor:
        processes = distributed.get_world_size()
        self.faces, self.own = len(x), None
        if len(x) < processes:
            return x
        self.own = cut_shares(len(x), processes)[distributed.get_rank()]
        return x[self.own]


def _sharded(forward: Callable, share: _Share) -> Callable:
    def run(x: Tensor) -> Tensor:
        y = forward(share.cut(x))
        return y if share.own is None else _Gather.apply(y, len(x))

    return run


class _Gather(torch.autograd.Function):
    """(B / processes, ...) of each process -> (B, ...) in all; backward is told of the same gradient in each."""

    @staticmethod
    def forward(ctx, part: Tensor, faces: int) -> Tensor:
        processes = distributed.get_world_size()
        shares = cut_shares(faces, processes)
        ctx.own = shares[distributed.get_rank()]
        most = shares[0].stop
        room = part.new_zeros(most, *part.shape[1:])  # shares differ by one face at most
        room[: len(part)] = part
        rooms = [torch.empty_like(room) for _ in shares]
        distributed.all_gather(rooms, room)
        whole = torch.cat([each[: one.stop - one.start] for each, one in zip(rooms, shares, strict=True)])
        last = part.ndim == 4 and part.is_contiguous(memory_format=torch.channels_last)
        return whole.contiguous(memory_format=torch.channels_last) if last else whole

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[ctx.own] * distributed.get_world_size(), None


_COUPLED = nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd


def _over_all(forward: Callable, share: _Share) -> Callable:
    def run(x: Tensor) -> Tensor:
        with _OverAll(share):  # here, and not around the step: backward may compute again, in another thread
            return forward(x)

    return run


class _OverAll(TorchFunctionMode):
    """torch's batch norm and dropout, as the whole batch would have them, whichever module calls them."""

    def __init__(self, share: _Share):
        super().__init__()
        self.share = share

    def __torch_function__(self, function: Callable, types: object, args: tuple = (), kwargs: dict | None = None):
        if self.share.own is not None and function is F.batch_norm:
            return _batch_norm(*args, **kwargs or {})
        if self.share.own is not None and function is F.dropout:
            return _dropout(self.share, *args, **kwargs or {})
        return function(*args, **kwargs or {})


def _dropout(share: _Share, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    noise = F.dropout(x.new_ones(share.faces, *x.shape[1:]), p, training)
    return x * noise[share.own]


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`F.batch_norm` with the statistics of all processes' x (B, C, ...)."""
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    y, mean, variance, count = _BatchNorm.apply(x, weight, bias, eps)
    if running_mean is not None:
        running_mean.lerp_(mean.to(running_mean), momentum)
        running_var.lerp_((variance * count / (count - 1)).to(running_var), momentum)
    return y


class _BatchNorm(torch.autograd.Function):
    """x (B, C, ...), weight and bias (C) or None -> y like x; mean and variance (C) over all processes, count (1)."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        over = [0, *range(2, x.ndim)]
        variance, mean = torch.var_mean(wide, over, correction=0)
        own = torch.stack([mean, variance, torch.full_like(mean, x.numel() // x.shape[1])])
        found = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
        distributed.all_gather(found, own)
        means, variances, counts = torch.stack(found, 1)  # each (processes, C)
        count = counts.sum(0)
        mean = (counts * means).sum(0) / count
        variance = (counts * (variances + (means - mean).square())).sum(0) / count
        inverse = (variance + eps).rsqrt()
        ctx.save_for_backward(x, mean, inverse, weight, count)
        y = (wide - _spread(mean, x)) * _spread(inverse if weight is None else inverse * weight, x)
        y = y if bias is None else y + _spread(bias, x)
        ctx.mark_non_differentiable(mean, variance, count)
        return y.to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, inverse, weight, count = ctx.saved_tensors
        over = [0, *range(2, x.ndim)]
        gradient = gradient.to(mean.dtype)
        standard = (x - _spread(mean, x)) * _spread(inverse, x)
        own = torch.stack([gradient.sum(over), (gradient * standard).sum(over)])
        of_bias, of_weight = own.clone()
        distributed.all_reduce(own)
        by_mean, by_variance = (_spread(each / count, x) for each in own)
        of_x = (gradient - by_mean - standard * by_variance) * _spread(
            inverse if weight is None else inverse * weight, x
        )
        return of_x.to(x.dtype), None if weight is None else of_weight, None if weight is None else of_bias, None


def _spread(values: Tensor, like: Tensor) -> Tensor:
    """(C) -> (1, C, 1, ...)."""
    return values.view(1, -1, *[1] * (like.ndim - 2))
