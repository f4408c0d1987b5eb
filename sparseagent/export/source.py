"""The two files of an exported policy, put together."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from sparseagent.export.golden import self_test
from sparseagent.export.heads import DRAW, act_lines, check_head, result_of, sample_lines, words_of
from sparseagent.export.layers import by_length, has_long_rows, index_type
from sparseagent.export.library import closure, parts, text_of
from sparseagent.export.names import c_names, check_name
from sparseagent.export.ops import WRITERS, room_of
from sparseagent.export.writer import Writer, c_type
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
    check_head(policy.head, policy.output_size)
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
        kind, action = result_of(policy.head)
        self.act = f"{kind} sa_act({', '.join(filter(None, [self.given, action]))})"
        drawn = ", ".join(filter(None, [self.given, DRAW, action]))
        self.sample = f"{kind} sa_sample({drawn})" if policy.head.samples else ""

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
        sampled = (
            "\n/* A sample: a function of the observation, a seed, the step, and the row, which\n"
            f"   numbers the environment or robot. */\n{self.sample};\n"
            if self.sample
            else ""
        )
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

/* {words_of(policy.head, policy.output_size)} */
{self.act};
{sampled}
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
        given, others = ", ".join(self.inputs.values()), ", 0" * (len(self.outputs) - 1)
        call = f"sa_forward({given}, %s{others});"
        lines = act_lines(writer, self.policy.head, self.policy.output_size, call)
        act = "\n  ".join([f"{self.act} {{", *lines]) + "\n}"
        if self.sample:
            sizes = [(key, span.size) for key, span in program.outputs.items()]
            lines = sample_lines(writer, self.policy.head, sizes, f"sa_forward({given}, %s);")
            act += "\n\n" + "\n  ".join([f"{self.sample} {{", *lines]) + "\n}"
        for k, (key, span) in enumerate(program.outputs.items()):
            name = self.outputs[key]
            maybe = f"if ({name}) " if k else ""
            writer.line(f"{maybe}sa_give({span.size}, {writer.at(span)}, {name});")
        forward = writer.function(self.forward)
        test = self_test(self.policy, self.outputs)
        used = set(re.findall(r"\bsa_\w+", forward + act))
        index = (
            f"typedef {writer.index}_t sa_index;\n\n" if used & {"sa_sparse", "sa_conv2d"} else ""
        )
        texts = [
            f"/* {self.title()}\n\n   C99 without the C library: reentrant, allocates nothing, "
            f"{4 * writer.floats} bytes of stack.\n   Compile with any flags but -ffast-math: the "
            "bits of an action are those of the plan.\n   With -DSA_SELFTEST it is a program that "
            "gives 0 if they are. */",
            f'#include "{self.name}.h"',
            text_of("preamble"),
            index + "\n\n".join(closure(used & set(parts()), long_rows=has_long_rows(program))),
            *writer.tables,
            forward,
            act,
            test,
        ]
        return "\n\n".join(part for part in texts if part) + "\n"
