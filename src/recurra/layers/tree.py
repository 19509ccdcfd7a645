"""Recursive nets over trees: plain (Socher et al. 2011), child-sum and N-ary Tree-LSTM (Tai et al. 2015).

They climb a `Forest` level by level, all nodes of one height at once, so the number of operations follows the height
of the highest tree and not the number of nodes; nothing is padded, and no tree waits for another. Every node's state is
computed once and read once, as the rows of a pool that holds the nodes whose parents are still to come.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Generator, Tensor, nn

from recurra.base.errors import ConfigError, ShapeError, message
from recurra.base.forest import Forest, Level
from recurra.layers.tree_step import tree_step

__all__ = ["ChildSumTreeLSTM", "NaryTreeLSTM", "RecursiveNet", "TreeNet", "TreeState"]

Inputs = Literal["all", "leaves"]


class TreeState(NamedTuple):
    """What a net knows of each tree: the state of its root."""

    h: Tensor
    """(B, H)."""
    c: Tensor | None
    """(B, H) cell state; None for a net without one."""


class TreeNet(nn.Module):
    """What the nets over trees share: the climb. `parts` is how many vectors of size H make a node's state.

    Args:
        input_size: I, features per node.
        hidden_size: H.
        inputs: "all": x has a row for every node; "leaves": for the leaves only, the others hear their children alone.
        generator: random stream of the initial weights.

    """

    parts = 1
    gates = 1
    arity: int | None = None
    native: bool | None = None
    """Set to False to keep a layer off the C++ step; None takes it where it can run."""

    def __init__(
        self, input_size: int, hidden_size: int, *, inputs: Inputs = "all", generator: Generator | None = None
    ) -> None:
        super().__init__()
        faults = [
            f"{name} must be a whole number from 1, got {value!r}"
            for name, value in (
                ("input_size", input_size),
                ("hidden_size", hidden_size),
                ("arity", 1 if self.arity is None else self.arity),
            )
            if not isinstance(value, int) or isinstance(value, bool) or value < 1
        ]
        if inputs not in ("all", "leaves"):
            faults.append(f"inputs must be all or leaves, got {inputs!r}")
        if faults:
            raise ConfigError(message(type(self).__name__, "the arguments do not fit", *faults))
        self.input_size, self.hidden_size, self.inputs = input_size, hidden_size, inputs
        self.weight = nn.Parameter(_glorot(self.gates, hidden_size, input_size, generator))
        self.bias = nn.Parameter(torch.zeros(self.gates * hidden_size))

    def forward(self, x: Tensor, forest: Forest) -> tuple[Tensor, TreeState]:
        """Climb all trees.

        Args:
            x: (N, I) in the order of the forest's nodes; (number of leaves, I), in their order, with inputs="leaves".
            forest: the trees.

        Returns:
            h of all nodes (N, H) in the order of the forest, and the states of the B roots.

        """
        self._check_call(x, forest)
        sizes = [forest.nodes - sum(level.size for level in forest.levels), *(level.size for level in forest.levels)]
        if self.inputs == "leaves":
            # Leaves are the lowest level, in their own order; the others read the bias alone.
            lowest, *higher = nn.functional.linear(x, self.weight, self.bias), *([self.bias] * len(forest.levels))
        else:
            read = nn.functional.linear(x.index_select(0, forest.order), self.weight, self.bias)
            lowest, *higher = read.split(sizes)
        done = self.leaf(lowest)
        levels, pool = [done], done
        for level, said in zip(forest.levels, higher, strict=True):
            children, rest = pool.index_select(0, level.take).tensor_split((level.children,))
            done = self.compose(said, children, level)
            levels.append(done)
            pool = torch.cat((rest, done)) if rest.shape[0] else done
        states = torch.cat(levels).index_select(0, forest.rank)
        h, *c = states.split(self.hidden_size, -1)
        at_root = states.index_select(0, forest.roots).split(self.hidden_size, -1)
        return h, TreeState(at_root[0], at_root[1] if c else None)

    def leaf(self, said: Tensor) -> Tensor:
        """States (m, parts H) of nodes without children, from what they hear of the input (m, gates H)."""
        raise NotImplementedError

    def compose(self, said: Tensor, children: Tensor, level: Level) -> Tensor:
        """States of a level's nodes from the input and their children's (c, parts H)."""
        raise NotImplementedError

    def _slots(self, children: Tensor, level: Level) -> Tensor:
        """Children (c, F) side by side, (m, arity, F); zeros where a node has fewer."""
        arity = self.arity or 1
        if level.uniform == arity:
            return children.unflatten(0, (level.size, arity))
        empty = children.new_zeros(level.size * arity, children.shape[1])
        return empty.index_copy(0, level.parent * arity + level.position, children).unflatten(0, (level.size, arity))

    def _check_call(self, x: Tensor, forest: Forest) -> None:
        where = f"{type(self).__name__}.forward"
        rows, what = (
            (forest.nodes, "nodes") if self.inputs == "all" else (forest.leaves.shape[0], "leaves (inputs='leaves')")
        )
        if tuple(x.shape) != (rows, self.input_size):
            fact = f"x must be ({what}, I) = ({rows}, {self.input_size}), got {tuple(x.shape)}"
            raise ShapeError(message(where, fact, hint="rows in the order of the forest's nodes, all trees together."))
        if x.dtype != self.weight.dtype:
            raise ShapeError(message(where, f"x is {x.dtype}, the weights are {self.weight.dtype}"))
        if self.arity is not None and forest.arity > self.arity:
            fact = f"a node has {forest.arity} children, arity is {self.arity}"
            raise ShapeError(message(where, fact, hint="ChildSumTreeLSTM takes any number."))

    def parameter_count(self) -> int:
        """Numbers in all parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def extra_repr(self) -> str:
        """What print(layer) says of it."""
        arity = "" if self.arity is None else f", arity {self.arity}"
        return f"{self.input_size} -> {self.hidden_size}{arity}, {self.parameter_count():,} parameters"


class RecursiveNet(TreeNet):
    """h = tanh(W x + Σ_k U_k h_k + b), one matrix per place among the children.

    Socher et al. 2011 (ICML, "Parsing natural scenes and natural language with recursive neural networks"), whose
    leaves are the word vectors themselves: `embedded=True` does that, with input_size = hidden_size.

    >>> net = RecursiveNet(3, 5)
    >>> y, state = net(torch.zeros(5, 3), Forest.from_parents([[-1, 0, 0, 2, 2]]))
    >>> y.shape, state.h.shape
    (torch.Size([5, 5]), torch.Size([1, 5]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        arity: int = 2,
        embedded: bool = False,
        inputs: Inputs = "all",
        generator: Generator | None = None,
    ) -> None:
        self.arity = arity
        super().__init__(input_size, hidden_size, inputs=inputs, generator=generator)
        if embedded and (input_size != hidden_size or inputs != "leaves"):
            fact = f"embedded leaves need inputs='leaves' and one size, got {inputs!r}, {input_size} and {hidden_size}"
            raise ConfigError(message("RecursiveNet", fact))
        self.embedded = embedded
        if embedded:
            # Nothing is left for W to read.
            self.weight = nn.Parameter(torch.eye(hidden_size), requires_grad=False)
        self.hidden = nn.Parameter(_glorot(1, hidden_size, arity * hidden_size, generator))

    def leaf(self, said: Tensor) -> Tensor:
        """See TreeNet."""
        return said - self.bias if self.embedded else torch.tanh(said)

    def compose(self, said: Tensor, children: Tensor, level: Level) -> Tensor:
        """See TreeNet."""
        return torch.tanh(said + self._slots(children, level).flatten(1) @ self.hidden.t())


class ChildSumTreeLSTM(TreeNet):
    """Tree-LSTM whose gates read the sum of the children's outputs; any number of children, in no order.

    h~ = Σ_k h_k;  i, o, u = σ, σ, tanh of (W x + U h~ + b);  f_k = σ(W_f x + U_f h_k + b_f);
    c = i ⊙ u + Σ_k f_k ⊙ c_k;  h = o ⊙ tanh(c). Tai et al. 2015, arXiv:1503.00075, eq. 2-8. The forget bias starts
    at 1. `weight` and `bias` have the rows i, o, u, f; `hidden` i, o, u; `forget` is U_f.

    >>> net = ChildSumTreeLSTM(3, 5)
    >>> y, state = net(torch.zeros(6, 3), Forest.from_parents([[-1, 0, 0, 0], [1, -1]]))
    >>> y.shape, state.c.shape
    (torch.Size([6, 5]), torch.Size([2, 5]))
    """

    parts, gates = 2, 4

    def __init__(
        self, input_size: int, hidden_size: int, *, inputs: Inputs = "all", generator: Generator | None = None
    ) -> None:
        super().__init__(input_size, hidden_size, inputs=inputs, generator=generator)
        self.hidden = nn.Parameter(_glorot(3, hidden_size, hidden_size, generator))
        self.forget = nn.Parameter(_glorot(1, hidden_size, hidden_size, generator))
        nn.init.ones_(self.bias.data[3 * hidden_size :])

    def leaf(self, said: Tensor) -> Tensor:
        """See TreeNet."""
        return tree_step(said, native=self.native)

    def compose(self, said: Tensor, children: Tensor, level: Level) -> Tensor:
        """See TreeNet."""
        h = children[:, : self.hidden_size]
        return tree_step(
            said, level.total(h) @ self.hidden.t(), h @ self.forget.t(), children, level, native=self.native
        )


class NaryTreeLSTM(TreeNet):
    """Tree-LSTM with matrices of its own for each place among up to N ordered children.

    i, o, u = σ, σ, tanh of (W x + Σ_k U_k h_k + b);  f_k = σ(W_f x + Σ_l U_kl h_l + b_f);
    c = i ⊙ u + Σ_k f_k ⊙ c_k;  h = o ⊙ tanh(c). Tai et al. 2015, arXiv:1503.00075, eq. 9-14; N = 2 is their
    constituency Tree-LSTM. A child that is not there has h = c = 0. The forget bias, one for all places, starts at 1.
    `weight` and `bias` have the rows i, o, u, f; `hidden` (3 H + N H, N H) has i, o, u, f_1 ... f_N.

    >>> net = NaryTreeLSTM(3, 5, arity=3)
    >>> y, state = net(torch.zeros(6, 3), Forest.from_parents([[-1, 0, 0, 0], [1, -1]]))
    >>> y.shape, state.c.shape
    (torch.Size([6, 5]), torch.Size([2, 5]))
    """

    parts, gates = 2, 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        arity: int = 2,
        inputs: Inputs = "all",
        generator: Generator | None = None,
    ) -> None:
        self.arity = arity
        super().__init__(input_size, hidden_size, inputs=inputs, generator=generator)
        blocks = [_glorot(3 + arity, hidden_size, hidden_size, generator) for _ in range(arity)]
        self.hidden = nn.Parameter(torch.cat(blocks, 1))
        nn.init.ones_(self.bias.data[3 * hidden_size :])

    def leaf(self, said: Tensor) -> Tensor:
        """See TreeNet."""
        return tree_step(said, native=self.native)

    def compose(self, said: Tensor, children: Tensor, level: Level) -> Tensor:
        """See TreeNet."""
        h = self._slots(children[:, : self.hidden_size], level)
        return tree_step(said, h.flatten(1) @ self.hidden.t(), None, children, level, native=self.native)


def _glorot(blocks: int, rows: int, columns: int, generator: Generator | None) -> Tensor:
    """`blocks` matrices (rows, columns) below one another, each Glorot uniform by itself."""
    made: list[Any] = [nn.init.xavier_uniform_(torch.empty(rows, columns), generator=generator) for _ in range(blocks)]
    return torch.cat(made)
