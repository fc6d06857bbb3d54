"""Schemes and studies: what a user asks for, validated before anything else happens."""

from lctui.scheme.compressions import Compression, How
from lctui.scheme.models import LC, Data, LStep, Model, Mu, Objective, Reference, Scheme, Task

__all__ = ["LC", "Compression", "Data", "How", "LStep", "Model", "Mu", "Objective", "Reference", "Scheme", "Task"]
