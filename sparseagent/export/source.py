"""The two files of an exported policy, put together."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from sparseagent.export.golden import self_test
from sparseagent.export.layers import by_length, index_type
from sparseagent.export.library import closure, parts, text_of
from sparseagent.export.names import c_names, check_name
from sparseagent.export.ops import WRITERS, room_of
from sparseagent.export.writer import Writer, c_type
from sparseagent.head import Argmax, Clip, Unscale
from sparseagent.policy import SparsePolicy


@dataclass(frozen=True)
class CSource:
    """An exported policy.

    Attributes:
        name: what every name in it begins with.
        source: the content of `<name>.c`.
        header: the content of `<name>.h`.
    """

    name: str
    source: str
    header: str


def c_source(policy: SparsePolicy, name: str) -> CSource:
    """The policy as one C99 file and its header; see `export_c`."""
    check_name(name)
    for number, op in enumerate(policy.program.ops):
        if op.kind not in WRITERS:
            raise ValueError(
                f"ops[{number}]: no C text for the op {op.kind!r}; export knows "
                f"{', '.join(WRITERS)}"
            )
    face = _Face(policy, name)
    return CSource(name, face.prefixed(face.source()), face.prefixed(face.header()))


class _Face:
    """Signatures, and the texts that are made of them. `sa_` stands for the policy's name."""

    def __init__(self, policy: SparsePolicy, name: str) -> None:
        self.policy, self.name = policy, name
        self.inputs = c_names(policy.inputs, "observation", taken=["action"])
        self.outputs = c_names(policy.program.outputs, "output", taken=self.inputs.values())
        self.given = ", ".join(
            f"const {c_type(step.dtype)} *{self.inputs[key]}" for key, step in policy.inputs.items()
        )
        results = ", ".join(f"float *{output}" for output in self.outputs.values())
        self.forward = f"void sa_forward({self.given}, {results})"
        if isinstance(policy.head, Argmax):
            self.act = f"int32_t sa_act({self.given})"
        else:
            self.act = f"void sa_act({self.given}, float *action)"

    def prefixed(self, text: str) -> str:
        """With the policy's name in every name."""
        text = re.sub(r"\bsa_", f"{self.name}_", text)
        return re.sub(r"\bSA_", f"{self.name.upper()}_", text)

    def header(self) -> str:
        """What a program includes."""
        policy, sizes = self.policy, []
        for key, step in policy.inputs.items():
            numbers = int(np.prod(step.shape, dtype=np.int64))
            sizes.append(f"#define SA_IN_{self.inputs[key].upper()} {numbers}")
        for key, span in policy.program.outputs.items():
            sizes.append(f"#define SA_OUT_{self.outputs[key].upper()} {span.size}")
        more = " An output may be null, but for the first." if len(self.outputs) > 1 else ""
        return f"""/* {self.title()} */
#ifndef SA_H
#define SA_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{chr(10).join(sizes)}

/* The network's outputs, before the action head.{more} */
{self.forward};

/* {self.action()} */
{self.act};

#ifdef __cplusplus
}}
#endif

#endif
"""

    def title(self) -> str:
        """One line about the policy."""
        policy = self.policy
        return (
            f"{self.name}: {policy.nnz} weights, sparsity {policy.sparsity:.4f}, "
            f"order {policy.order}. Written by sparseagent."
        )

    def action(self) -> str:
        """What `act` gives."""
        head = self.policy.head
        if isinstance(head, Argmax):
            return f"The action: one of 0 to {self.policy.output_size - 1}, of the largest output."
        words = {"clip": "clipped to its bounds", "unscale": "stretched to its bounds"}
        return f"The action, {words.get(head.kind, 'as the network gives it')}."

    def source(self) -> str:
        """The C file."""
        program = by_length(self.policy.program)
        writer = Writer(program, self.inputs, index_type(program))
        writer.place(
            {
                (number, what): floats
                for number, op in enumerate(program.ops)
                for what, floats in room_of(op).items()
            }
        )
        for number, op in enumerate(program.ops):
            WRITERS[op.kind](writer, number, op)
        act = self.act_lines(writer)
        for k, (key, span) in enumerate(program.outputs.items()):
            name = self.outputs[key]
            maybe = f"if ({name}) " if k else ""
            writer.line(f"{maybe}sa_give({span.size}, {writer.at(span)}, {name});")
        forward = writer.function(self.forward)
        test = self_test(self.policy, self.outputs)
        used = set(re.findall(r"\bsa_\w+", forward + act))
        index = f"typedef {writer.index}_t sa_index;\n\n" if "sa_sparse" in used else ""
        texts = [
            f"/* {self.title()}\n\n   C99 without the C library: reentrant, allocates nothing, "
            f"{4 * writer.floats} bytes of stack.\n   Compile with any flags but -ffast-math: the "
            "bits of an action are those of the plan.\n   With -DSA_SELFTEST it is a program that "
            "gives 0 if they are. */",
            f'#include "{self.name}.h"',
            text_of("preamble"),
            index + "\n\n".join(closure(used & set(parts()))),
            *writer.tables,
            forward,
            act,
            test,
        ]
        return "\n\n".join(part for part in texts if part) + "\n"

    def act_lines(self, writer: Writer) -> str:
        """The function `act`."""
        head, size = self.policy.head, self.policy.output_size
        given = ", ".join(self.inputs.values())
        rest = ", 0" * (len(self.outputs) - 1)
        lines = []
        if isinstance(head, Argmax):
            lines = [f"float y[{size}];", f"sa_forward({given}, y{rest});"]
            lines.append(f"return sa_argmax({size}, y);")
        else:
            lines = [f"sa_forward({given}, action{rest});"]
            if isinstance(head, Clip | Unscale):
                bounds = (writer.table(n, getattr(head.box, n).ravel()) for n in ("low", "high"))
                lines.append(f"sa_{head.kind}({size}, {', '.join(bounds)}, action);")
        return "\n  ".join([f"{self.act} {{", *lines]) + "\n}"
