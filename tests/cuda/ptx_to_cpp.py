"""What nvcc made of the kernels (PTX), as C++ that runs on the CPU.

    python ptx_to_cpp.py kernels.ptx > kernels_from_ptx.cpp

Every entry `forward<V, G, cluster>` becomes `ptx_forward_V_G_cluster(char* parameters)`, to be run
by on_cpu.h. It knows the instructions that the kernels use and refuses any other: above all what
flushes, approximates, or rounds otherwise than to nearest.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PRELUDE = """// Written by ptx_to_cpp.py.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "on_cpu.h"

namespace {

template <typename T>
T load(const char* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <typename T>
void store(char* p, T v) {
  std::memcpy(p, &v, sizeof v);
}

// A register's bits as a T, and a T into a register: numbers of fewer bits are extended.
template <typename T, typename R>
T as(R r) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(r);
  } else {
    static_assert(sizeof(T) == sizeof(R));
    T v;
    std::memcpy(&v, &r, sizeof v);
    return v;
  }
}
template <typename R, typename T>
void set(R& r, T v) {
  if constexpr (std::is_integral_v<T>) {
    r = static_cast<R>(v);
  } else {
    static_assert(sizeof(T) == sizeof(R));
    std::memcpy(&r, &v, sizeof v);
  }
}

inline uint32_t insert(uint32_t a, uint32_t b, uint32_t at, uint32_t count) {
  at &= 255;
  count &= 255;
  for (uint32_t i = 0; i < count && at + i < 32; ++i) {
    b = (b & ~(1u << (at + i))) | ((a >> i & 1u) << (at + i));
  }
  return b;
}
// Towards zero; what is too large becomes the largest.
template <typename T>
T whole(double a) {
  using limits = std::numeric_limits<T>;
  if (a != a) return 0;
  if (a <= (double)limits::min()) return limits::min();
  return a >= (double)limits::max() ? limits::max() : (T)a;
}

// Shared memory of the cluster: the block in the high byte.
inline char* shared_at(uint32_t a) {
  return on_cpu::place().others[a >> 24] + (a & 0xffffffu);
}

}  // namespace
"""

CTYPE = {f"{kind}{bits}": f"{name}{bits}_t" for bits in (8, 16, 32, 64)
         for kind, name in (("b", "uint"), ("u", "uint"), ("s", "int"))}  # fmt: skip
CTYPE |= {"pred": "bool", "f32": "float", "f64": "double"}
SPECIAL = {
    "%tid.x": "threadIdx.x",
    "%ctaid.x": "blockIdx.x",
    "%ntid.x": "blockDim.x",
    "%nctaid.x": "gridDim.x",
    "%cluster_ctarank": "on_cpu::place().rank",
    "%cluster_nctaid.x": "on_cpu::place().cluster",
}
BINARY = {"add": "+", "sub": "-", "mul": "*", "div": "/", "and": "&", "or": "|", "xor": "^"}
ORDERED = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
UNORDERED = {"equ": "!=", "ltu": ">=", "leu": ">", "gtu": "<=", "geu": "<"}  # not (a OP b)
WHOLE = [("u32", "f64"), ("s32", "f32")]  # towards zero, as C++ casts
INEXACT = {"ftz", "approx", "sat", "full", "rz", "rm", "rp", "rzi", "rni"}


class RefusedError(Exception):
    """An instruction that is not exact, or that the kernels did not use so far."""


def width(kind: str) -> int:
    return 1 if kind == "pred" else int(kind[1:])


def register(text: str) -> str:
    return "r_" + text.strip()[1:]


def label(text: str) -> str:
    return "L" + text.strip().replace("$", "_")


class Entry:
    """One kernel: its parameters' places and its instructions as C++."""

    def __init__(self, name: str, shared: set[str]) -> None:
        self.name = name
        self.shared = shared
        self.parameters: dict[str, int] = {}
        self.local: set[str] = set()
        self.registers: list[str] = []
        self.code: list[str] = []
        self.size = 0
        self.count = 0

    def parameter(self, line: str) -> None:
        found = re.match(r"\.param (?:\.align (\d+) )?\.(\w+) (\w+)(?:\[(\d+)\])?", line)
        if not found:
            raise RefusedError(line)
        size = int(found[4]) if found[4] else width(found[2]) // 8
        align = int(found[1]) if found[1] else size
        at = -(-self.size // align) * align
        self.parameters[found[3]] = at
        self.size = at + size

    def value(self, text: str, kind: str) -> str:
        """An operand as an expression of that type."""
        text = text.strip()
        ctype = CTYPE[kind]
        if text in SPECIAL:
            return f"({ctype})({SPECIAL[text]})"
        if text.startswith("%"):
            return register(text) if kind == "pred" else f"as<{ctype}>({register(text)})"
        if text in self.parameters:
            return f"(uint64_t)(parameters + {self.parameters[text]})"
        if text in self.local:
            return f"(uint64_t)(uintptr_t)(local_{text})"
        if text in self.shared:
            return f"({ctype})(on_cpu::place().rank << 24)"
        if text[:2].lower() in ("0f", "0d"):
            bits, real = ("uint32_t", "float") if text[1] in "fF" else ("uint64_t", "double")
            return f"as<{real}>({bits}(0x{text[2:]}ull))"
        if kind == "pred" and text in ("0", "1", "-1"):
            return "false" if text == "0" else "true"
        if not re.fullmatch(r"-?\d+|0[xX][0-9a-fA-F]+", text):
            raise RefusedError(f"operand {text}")
        return f"({ctype})({text}ll)"

    def put(self, to: str, kind: str, expression: str) -> str:
        if kind == "pred":
            return f"{register(to)} = {expression};"
        return f"set({register(to)}, ({CTYPE[kind]})({expression}));"

    def address(self, text: str, space: str) -> str:
        found = re.fullmatch(r"\[([%\w$]+)(?:\+(-?\d+))?\]", text.strip())
        if not found:
            raise RefusedError(f"address {text}")
        base, offset = found[1], int(found[2] or 0)
        if base in self.parameters:
            return f"(parameters + {self.parameters[base] + offset})"
        if space.startswith("shared"):
            return f"(shared_at({self.value(base, 'u32')}) + {offset})"
        return f"((char*)(uintptr_t)({register(base)}) + {offset})"

    def memory(self, name: str, parts: list[str], args: list[str]) -> str:
        kind = parts[-1]
        space = next((p for p in parts if p in ("param", "shared", "global", "local")), None)
        if space is None and "shared::cluster" in parts:
            space = "shared::cluster"
        if space is None:  # generic: nothing makes a generic address of shared memory
            space = "global"
        where, what = (args[1], args[0]) if name == "ld" else (args[0], args[1])
        at = self.address(where, space)
        registers = what.strip("{} ").split(",")
        step = width(kind) // 8
        if name == "st":
            return " ".join(
                f"store<{CTYPE[kind]}>({at} + {i * step}, {self.value(r, kind)});"
                for i, r in enumerate(registers)
            )
        # All parts are read before a register of the address may be written.
        loads = " ".join(
            f"const auto v{i} = load<{CTYPE[kind]}>({at} + {i * step});"
            for i in range(len(registers))
        )
        return loads + " ".join(self.put(r, kind, f"v{i}") for i, r in enumerate(registers))

    def compare(self, parts: list[str], args: list[str]) -> str:
        if len(parts) != 3:
            raise RefusedError(".".join(parts))
        _, how, kind = parts
        a, b = self.value(args[1], kind), self.value(args[2], kind)
        if how == "nan":
            test = f"({a} != {a} || {b} != {b})"
        elif how == "num":
            test = f"({a} == {a} && {b} == {b})"
        elif how == "neu":
            test = f"({a} != {b})"
        elif how in UNORDERED:
            test = f"!({a} {UNORDERED[how]} {b})"
        elif how == "ne" and kind[0] == "f":
            test = f"({a} < {b} || {a} > {b})"
        elif how in ORDERED:
            test = f"({a} {ORDERED[how]} {b})"
        else:
            raise RefusedError(".".join(parts))
        return f"{register(args[0])} = {test};"

    def convert(self, parts: list[str], args: list[str]) -> str:
        to, source = parts[-2], parts[-1]
        how = parts[1:-2]
        real = (to[0] == "f", source[0] == "f")
        value = self.value(args[1], source)
        if how == ["rzi"] and (to, source) in WHOLE:
            return self.put(args[0], to, f"whole<{CTYPE[to]}>({value})")
        exact = real == (False, False) or (to, source) == ("f64", "f32")
        if real == (False, True) or how != ([] if exact else ["rn"]):
            raise RefusedError(".".join(parts))
        return self.put(args[0], to, value)

    def real(self, name: str, parts: list[str], args: list[str]) -> str:
        """Arithmetic of floating point: nearest, and not to be contracted."""
        kind = parts[-1]
        if parts[1:-1] != ["rn"]:
            raise RefusedError(f"{'.'.join(parts)}: may be contracted or is not exact")
        a = [self.value(x, kind) for x in args[1:]]
        if name == "fma":
            return self.put(args[0], kind, f"std::fma({', '.join(a)})")
        if name == "sqrt":
            return self.put(args[0], kind, f"std::sqrt({a[0]})")
        return self.put(args[0], kind, f"{a[0]} {BINARY[name]} {a[1]}")

    def integer(self, name: str, parts: list[str], args: list[str]) -> str:
        kind = parts[-1]
        u = kind if kind == "pred" else "u" + kind[1:]
        if name in ("mul", "mad") and parts[1] == "wide":
            wide = kind[0] + str(2 * width(kind))
            a = [f"({CTYPE[wide]}){self.value(x, kind)}" for x in args[1:3]]
            return self.put(args[0], wide, f"{a[0]} * {a[1]}")
        if name == "mul" and parts[1:] == ["hi", "u32"]:
            a, b = (f"(uint64_t){self.value(x, kind)}" for x in args[1:])
            return self.put(args[0], kind, f"{a} * {b} >> 32")
        if name in ("mul", "mad"):
            if parts[1] != "lo":
                raise RefusedError(".".join(parts))
            more = f" + {self.value(args[3], u)}" if name == "mad" else ""
            return self.put(
                args[0], u, f"{self.value(args[1], u)} * {self.value(args[2], u)}{more}"
            )
        if len(parts) != 2:
            raise RefusedError(".".join(parts))
        a = self.value(args[1], kind)
        if name in ("div", "min", "max"):
            b = self.value(args[2], kind)
            return self.put(
                args[0], kind, f"{a} / {b}" if name == "div" else f"std::{name}({a}, {b})"
            )
        if name in BINARY:
            return self.put(
                args[0], u, f"{self.value(args[1], u)} {BINARY[name]} {self.value(args[2], u)}"
            )
        if name in ("not", "neg"):
            sign = "!" if kind == "pred" else {"not": "~", "neg": "-"}[name]
            return self.put(args[0], u, f"{sign}{self.value(args[1], u)}")
        if name == "bfi" and kind == "b32":
            return self.put(
                args[0], kind, f"insert({', '.join(self.value(x, 'u32') for x in args[1:])})"
            )
        if name in ("shl", "shr"):
            by = self.value(args[2], "u32")
            over = f"({a} >> {width(kind) - 1})" if kind[0] == "s" else "0"
            sign = "<<" if name == "shl" else ">>"
            return self.put(args[0], kind, f"{by} >= {width(kind)}u ? {over} : {a} {sign} {by}")
        raise RefusedError(f"unknown instruction {'.'.join(parts)}")

    def instruction(self, op: str, args: list[str]) -> str:
        op = op.replace("shared::cluster", "shared@cluster")
        parts = [part.replace("@", "::") for part in op.split(".")]
        name, kind = parts[0], parts[-1]
        casts = [f"cvt.rzi.{to}.{source}" for to, source in WHOLE]
        if INEXACT & set(parts) and op not in casts:
            raise RefusedError(f"{op}: not exact")
        if name == "bra":
            return f"goto {label(args[0])};"
        if name in ("ret", "exit"):
            return "return;"
        if name == "bar":
            return "on_cpu::barrier(false);"
        if op.startswith("barrier.cluster.arrive.release"):
            return ";"
        if op.startswith("barrier.cluster.wait.acquire"):
            return "on_cpu::barrier(true);"
        if name == "mapa":
            at, rank = self.value(args[1], "u32"), self.value(args[2], "u32")
            return self.put(args[0], "u32", f"({at} & 0xffffffu) | {rank} << 24")
        if name in ("ld", "st"):
            return self.memory(name, parts, args)
        if name == "mov" or op in ("cvta.to.global.u64", "cvta.local.u64", "cvta.param.u64"):
            return self.put(args[0], kind, self.value(args[1], kind))
        if name == "cvt":
            return self.convert(parts, args)
        if name == "setp":
            return self.compare(parts, args)
        if name == "selp":
            a, b = self.value(args[1], kind), self.value(args[2], kind)
            return self.put(args[0], kind, f"{register(args[3])} ? {a} : {b}")
        if kind[0] == "f":
            if name not in ("fma", "add", "sub", "mul", "div", "sqrt"):
                raise RefusedError(f"unknown instruction {op}")
            return self.real(name, parts, args)
        return self.integer(name, parts, args)

    def line(self, line: str) -> None:
        declared = re.match(r"\.reg \.(\w+) (%[\w$]+)<(\d+)>", line)
        if declared:
            bits = width(declared[1])
            ctype = "bool" if bits == 1 else f"uint{bits}_t"
            names = [f"{register(declared[2])}{i} = 0" for i in range(int(declared[3]))]
            self.registers.append(f"  {ctype} {', '.join(names)};")
            return
        declared = re.match(r"\.reg \.b64 (%[\w$]+)$", line)
        if declared:
            self.registers.append(f"  uint64_t {register(declared[1])} = 0;")
            return
        declared = re.match(r"\.local \.align \d+ \.b8 (\w+)\[(\d+)\]", line)
        if declared:
            self.local.add(declared[1])
            self.registers.append(f"  alignas(16) char local_{declared[1]}[{declared[2]}];")
            return
        if line.startswith((".pragma", ".loc")) or line in ("{", "}"):
            return
        if line.endswith(":"):
            self.code.append(label(line[:-1]) + ":;")
            return
        guard = ""
        found = re.match(r"@(!?)(%[\w$]+) ", line)
        if found:
            guard = f"if ({found[1]}{register(found[2])}) "
            line = line[found.end() :]
        op, _, args = line.partition(" ")
        operands = [a.strip() for a in re.findall(r"\s*(\{[^}]*\}|[^,]+)", args)]
        self.code.append(f"  {guard}{{ {self.instruction(op, operands)} }}")
        self.count += 1

    def text(self) -> str:
        numbers = re.search(r"forwardILi(\d)ELi(\d)ELb(\d)E", self.name)
        if not numbers:
            raise RefusedError(f"entry {self.name}")
        cluster = "true" if numbers[3] == "1" else "false"
        name = f"ptx_forward_{numbers[1]}_{numbers[2]}_{cluster}"
        body = "\n".join([*self.registers, *self.code])
        return f'extern "C" void {name}(char* parameters) {{\n{body}\n}}\n'


def entries(ptx: str) -> list[Entry]:
    """The kernels of a PTX file.

    Raises:
        RefusedError: an instruction that is not exact or not known.
    """
    source = re.sub(r"//[^\n]*", "", ptx)
    shared = set(re.findall(r"\.extern \.shared[^;]*?(\w+)\[\]", source))
    found = []
    for part in re.split(r"\.visible \.entry ", source)[1:]:
        name, rest = part.split("(", 1)
        entry = Entry(name.strip(), shared)
        head, code = rest.split("{", 1)
        for line in head.split(")")[0].split(",\n"):
            if ".param" in line:
                entry.parameter(line.strip())
        for line in re.split(r";|(?<=:)\n", code[: code.rindex("}")]):
            words = " ".join(line.split())
            if words:
                entry.line(words)
        found.append(entry)
    return found


def translated(ptx: str) -> str:
    """The C++ of a PTX file."""
    return "\n".join([PRELUDE, *(entry.text() for entry in entries(ptx))])


if __name__ == "__main__":
    print(translated(Path(sys.argv[1]).read_text()))
