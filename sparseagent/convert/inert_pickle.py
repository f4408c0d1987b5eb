"""Reads a pickle as data: no import, no call, no attribute of any object is ever touched.

A pickle is a small program; the usual loader runs it, and whoever wrote the file decides what it
calls. Here the same program only builds a tree: a global becomes a `Name`, a call becomes a `Call`
that nobody carries out. What is needed, numbers and arrays, is then decoded from the tree, and
everything else is left alone. The opcodes are those of protocols 0 to 5 (Python's `pickletools`);
extension codes and out-of-band buffers are refused, and persistent ids unless they are asked for.

A short pickle may make a tree that shares its branches and counts 2^100 leaves: nothing here walks
a tree, hashes or prints one, and `describe` is what messages say about a node.
"""

from __future__ import annotations

import pickletools
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Name:
    """A global that the pickle mentions, such as `numpy.dtype`; it is not looked up."""

    module: str
    qualname: str

    def __str__(self) -> str:
        return f"{self.module}.{self.qualname}"


@dataclass(eq=False)
class Call:
    """A call that the pickle asks for; it is not carried out.

    Attributes:
        callee: a `Name` as a rule.
        args: positional arguments.
        state: what `__setstate__` would get, or None.
        items: what would be appended, or the key-value pairs that would be set.
    """

    callee: Any
    args: tuple[Any, ...]
    state: Any = None
    items: list[Any] = field(default_factory=list)


#: What a persistent id "calls", where such ids are read: `Call(PERSISTENT, (id,))`.
PERSISTENT = Name("", "persistent id")
#: A pickle of more operations is refused: spaces, classes and statistics need some hundreds.
_MOST_OPERATIONS = 50_000
_MOST_TUPLE_KEYS = 10_000
_MOST_KEY_PARTS = 16
#: Arguments that an operation may copy; of more, a few bytes each could fill the memory.
_MOST_COPIED = 16
_SHOWN = 100


def describe(node: Any) -> str:
    """What a foreign object is, in a few words: never its whole tree, which may be endless.

    The only way in which a message may speak of anything that came out of a file.
    """
    if isinstance(node, Call):
        called = describe(node.callee) if isinstance(node.callee, Name) else "object"
        return f"a pickled {called}"
    if isinstance(node, Name):
        return brief(f"{node.module[:_SHOWN]}.{node.qualname[:_SHOWN]}")
    if node is None or isinstance(node, bool | float):
        return repr(node)
    if isinstance(node, int) and node.bit_length() <= 128:
        return repr(node)
    if isinstance(node, str):
        return repr(node[:_SHOWN])
    return f"a {type(node).__name__}"


def brief(text: object) -> str:
    """A line of at most some 100 characters, without control characters."""
    line = str(text)[:_SHOWN]
    return "".join(sign if sign.isprintable() else "?" for sign in line)


def read_pickle(name: str, data: bytes, *, persistent: bool = False) -> Any:
    """The tree of a pickle: plain containers and numbers, `Name` and `Call`.

    Args:
        name: what messages call the pickle.
        data: the pickle's bytes.
        persistent: whether persistent ids are read, as a `Call` of `PERSISTENT`.

    Raises:
        ValueError: `data` is no pickle, or uses what is refused.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in texts
            return _Tree(persistent=persistent).build(data)
    except _DAMAGE as error:
        raise ValueError(
            f"{name}: expected a readable pickle, got one that fails: {brief(error)}"
        ) from error


# What the wrong operand of an operation can end in.
_DAMAGE = (
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


class _Tree:
    """The pickle machine's stack and memo, holding trees in place of objects."""

    #: Opcodes whose decoded argument is the value itself.
    literals: ClassVar[frozenset[str]] = frozenset(
        {
            *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"),
            *("FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING"),
            *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
            *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        }
    )
    #: Opcodes that push a fixed or an empty value.
    constants: ClassVar[dict[str, Callable[[], Any]]] = {
        "NONE": lambda: None,
        "NEWTRUE": lambda: True,
        "NEWFALSE": lambda: False,
        "EMPTY_TUPLE": tuple,
        "EMPTY_LIST": list,
        "EMPTY_DICT": dict,
        "EMPTY_SET": set,
    }

    def __init__(self, *, persistent: bool) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.persistent = persistent
        self.tuple_keys = 0

    def build(self, data: bytes) -> Any:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            name = opcode.name
            if number == _MOST_OPERATIONS:
                raise ValueError(f"more than {_MOST_OPERATIONS:,} operations")
            if name == "STOP":
                return self.stack.pop()
            if name in self.literals:
                self.stack.append(argument)
            elif name in self.constants:
                self.stack.append(self.constants[name]())
            elif name not in ("PROTO", "FRAME"):
                self._operation(name)(argument)
        raise ValueError("no STOP")

    def _operation(self, name: str) -> Callable[[Any], None]:
        aliases = {"BINGET": "GET", "LONG_BINGET": "GET", "BINPUT": "PUT", "LONG_BINPUT": "PUT"}
        method: Callable[[Any], None] | None = getattr(
            self, f"op_{aliases.get(name, name).lower()}", None
        )
        if method is None:
            raise ValueError(f"opcode {name} is refused")
        return method

    def _since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("stack underflow")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def op_mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def op_pop(self, _: Any) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def op_pop_mark(self, _: Any) -> None:
        self._since_mark()

    def op_dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def op_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def op_put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def op_get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def op_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._since_mark()))

    def op_tuple1(self, _: Any) -> None:
        self.stack.append(tuple(self._pop(1)))

    def op_tuple2(self, _: Any) -> None:
        self.stack.append(tuple(self._pop(2)))

    def op_tuple3(self, _: Any) -> None:
        self.stack.append(tuple(self._pop(3)))

    def op_list(self, _: Any) -> None:
        self.stack.append(self._since_mark())

    def op_frozenset(self, _: Any) -> None:
        self.stack.append(frozenset(map(self._key, self._since_mark())))

    def op_dict(self, _: Any) -> None:
        items = self._since_mark()
        self.stack.append({})
        self._set_items(items)

    def op_append(self, _: Any) -> None:
        self._extend(self._pop(1))

    def op_appends(self, _: Any) -> None:
        self._extend(self._since_mark())

    def op_additems(self, _: Any) -> None:
        items = self._since_mark()
        self.stack[-1].update(map(self._key, items))

    def op_setitem(self, _: Any) -> None:
        self._set_items(self._pop(2))

    def op_setitems(self, _: Any) -> None:
        self._set_items(self._since_mark())

    def op_global(self, names: str) -> None:
        self.stack.append(Name(*names.split(" ", 1)))

    def op_stack_global(self, _: Any) -> None:
        module, qualname = self._pop(2)
        if not (isinstance(module, str) and isinstance(qualname, str)):
            raise ValueError("a global's name is no text")
        self.stack.append(Name(module, qualname))

    def op_reduce(self, _: Any) -> None:
        callee, args = self._pop(2)
        if not isinstance(args, tuple):  # a list would be copied, as often as it is asked for
            raise ValueError("arguments that are no tuple")
        self.stack.append(Call(callee, args))

    def op_newobj(self, _: Any) -> None:
        self.op_reduce(None)

    def op_newobj_ex(self, _: Any) -> None:
        callee, args, keywords = self._pop(3)
        if not isinstance(args, tuple) or len(args) > _MOST_COPIED:
            raise ValueError("too many arguments")
        self.stack.append(Call(callee, (*args, keywords)))

    def op_obj(self, _: Any) -> None:
        callee, *args = self._since_mark()
        self.stack.append(Call(callee, tuple(args)))

    def op_inst(self, names: str) -> None:
        self.stack.append(Call(Name(*names.split(" ", 1)), tuple(self._since_mark())))

    def op_build(self, _: Any) -> None:
        target, state = self._pop(2)
        if not isinstance(target, Call):
            raise ValueError("state for what is no object")
        target.state = state
        self.stack.append(target)

    def op_binpersid(self, _: Any) -> None:
        if not self.persistent:
            raise ValueError("opcode BINPERSID is refused")
        self.stack.append(Call(PERSISTENT, (self.stack.pop(),)))

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        (target.items if isinstance(target, Call) else target).extend(items)

    def _set_items(self, items: list[Any]) -> None:
        pairs = [
            (self._key(key), value) for key, value in zip(items[::2], items[1::2], strict=True)
        ]
        target = self.stack[-1]
        if isinstance(target, Call):
            target.items.extend(pairs)
        else:
            target.update(pairs)

    def _key(self, value: Any) -> Any:
        """`value` if it is cheap to hash: a deep tuple of shared tuples would take for ever."""
        if not isinstance(value, tuple):
            return _simple(value)
        self.tuple_keys += 1  # their hashes have no secret, so that many can be made to collide
        if len(value) > _MOST_KEY_PARTS or self.tuple_keys > _MOST_TUPLE_KEYS:
            raise ValueError("too many tuples as keys, or too long ones")
        return tuple(map(_simple, value))


def _simple(value: Any) -> Any:
    plain = (str, bytes, float, type(None), Name, Call)
    if isinstance(value, plain) or (isinstance(value, int) and value.bit_length() <= 64):
        return value
    raise ValueError("a key is neither simple nor a tuple of simple values")
