"""Count what happens to the objects of a model.

::

    class Dog(ExportModelOperationsMixin("dog"), models.Model):
        ...

or, for a model of somebody else's, in an ``AppConfig.ready()``::

    instrument(User, "user")

Counted is what succeeds through an object: ``save()``, ``delete()``, their async variants, and
all that calls them, such as ``create()``, ``get_or_create()``, ``update_or_create()``, forms, the
admin's pages for one object, and ``loaddata``. An UPDATE that finds no row is none, and an object
of a child model counts once for each of its models that is counted. A transaction that is rolled
back later has been counted.

Not counted are statements about many rows, of which Django tells no model: ``bulk_create()``,
``bulk_update()``, ``QuerySet.update()`` and ``delete()`` (with it the admin's action for selected
objects), cascades, changes of many-to-many relations, and raw SQL. ``django_db_execute_total``
has their statements.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from .instrumentation.model_operations import count_operations


def ExportModelOperationsMixin(model_name: str) -> type:  # noqa: N802
    """Return a base class that makes a model count its operations under a name.

    The base takes itself out of the model, which is then as if it had been written without: in
    ``_meta``, managers and migrations nothing tells. Old migrations may name it as a base.
    """

    class Mixin:
        def __init_subclass__(cls, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            if issubclass(cls, Model):
                # A plain base that the user made of this one stays, and does no harm.
                cls.__bases__ = tuple(base for base in cls.__bases__ if base is not Mixin)
                instrument(cls, model_name)

    Mixin.__name__ = "ExportModelOperationsMixin"
    # How squashmigrations writes it, where old migrations name it.
    Mixin.__qualname__ = f"ExportModelOperationsMixin({model_name!r})"
    return Mixin


def instrument(model: type[Model], model_name: str) -> None:
    """Make an existing model count its operations under a name; again changes nothing."""
    count_operations(model, str(model_name))
