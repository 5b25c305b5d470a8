"""Count objects that are inserted, updated and deleted, by wrapping three methods of a model.

Signals would change what Django does: a receiver of ``post_delete`` turns one DELETE statement
into one for each row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from django.db.models import Model

from ..directory import is_exporter
from .families import Counter, prefix
from .guard import report_loss
from .store import Slot, Store, current_store
from .switch import peer_counts

COUNTED = "_metrics_names"

# Asks whether a call did what its name says: the model that was wrapped, the object, what the
# call returned, and its arguments.
Happened = Callable[[type[Model], Model, Any, tuple[Any, ...]], bool]

# Every name that a model of this process counts under, in the order of their declaration.
_names: dict[str, None] = {}


@cache
def model_families() -> dict[str, Counter]:
    """Return the families by operation, made once in a process."""
    texts = {
        "inserts": "Objects inserted, by model.",
        "updates": "Objects updated, by model.",
        "deletes": "Objects deleted, by model.",
    }
    return {
        operation: Counter(f"{prefix()}django_model_{operation}", text, ["model"])
        for operation, text in texts.items()
    }


def count_operations(model: type[Model], name: str) -> None:
    """Count a model's objects under a name, once; its series are there at zero from now on."""
    try:
        families = model_families()
        if peer_counts() or is_exporter() or is_counted(model, name):
            return
        setattr(model, COUNTED, (*vars(model).get(COUNTED, ()), name))
        _names[name] = None
        for family in families.values():
            family.cell(name)
        wrap(model, "_do_insert", "inserts", name, was_inserted)
        wrap(model, "_do_update", "updates", name, was_updated)
        wrap(model, "delete", "deletes", name, was_deleted)
    except Exception:
        report_loss("models")


def is_counted(model: type[Model], name: str) -> bool:
    """Tell whether a model, or one that it inherits from, counts under a name already."""
    return any(name in vars(each).get(COUNTED, ()) for each in model.__mro__)


def wrap(model: type[Model], method: str, operation: str, name: str, happened: Happened) -> None:
    """Count what a method does; all else stays as it is, also for ``super()`` in subclasses."""
    own = vars(model).get(method)
    key = (operation, name)

    # With its attributes: templates must not call what is marked by alters_data.
    @wraps(getattr(model, method))
    def counting(self: Model, *args: Any, **kwargs: Any) -> Any:
        proceed = getattr(super(model, self), method) if own is None else own.__get__(self)
        result = proceed(*args, **kwargs)
        try:
            if happened(model, self, result, args):
                record(key)
        except Exception:
            report_loss("models")
        return result

    setattr(model, method, counting)


def record(key: tuple[str, str]) -> None:
    """Add one to the series of an operation and a name."""
    store = current_store()
    numbers, position = store.rows.get(key) or find_slot(store, key)
    with store.lock:
        numbers.view[position] += 1.0


def find_slot(store: Store, key: tuple[str, str]) -> Slot:
    """Return where a number stands; a fork, whose numbers are its own, has all models at zero."""
    for name in list(_names):
        for operation, family in model_families().items():
            store.rows[operation, name] = family.cell(name)
    slot: Slot = store.rows[key]
    return slot


def was_inserted(model: type[Model], instance: Model, result: Any, args: tuple[Any, ...]) -> bool:
    """Tell whether the row that was inserted is one of the model's own table."""
    return args[0].model is table_of(model, instance)


def was_updated(model: type[Model], instance: Model, result: Any, args: tuple[Any, ...]) -> bool:
    """Tell whether an UPDATE found its row: Django tries one before it inserts."""
    return bool(result) and args[0].model is table_of(model, instance)


def was_deleted(model: type[Model], instance: Model, result: Any, args: tuple[Any, ...]) -> bool:
    """Tell whether a row of the model's own table has gone."""
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
        # A delete() of the user's own returned something else; one that only marks leaves the key.
        return instance.pk is None
    table = table_of(model, instance)
    # Django tells what it deleted under the name of a proxy, where the object is one.
    deleted = type(instance) if table is table_of(type(instance), instance) else table
    return bool(result[1].get(deleted._meta.label, 0))  # noqa: SLF001


def table_of(model: type[Model], instance: Model) -> type[Model]:
    """Return whose table counts: an object of a child model has a row in each parent's as well."""
    counted = type(instance) if model._meta.abstract else model  # noqa: SLF001
    return counted._meta.concrete_model or counted  # noqa: SLF001
